"""Depthwise convolution kernels on the host, against the layer in double precision and its own gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from host_kernels import Host, array_of, close, empty, first, last, needs_compiler, read

from netdsl.backends.cupy.kernels import depthwise
from netdsl.backends.cupy.kernels.depthwise import Tile, Window
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.backends.cupy.kernels.view import View, dense
from netdsl.ir.layer import Layer, Passed
from netdsl.ir.types import TensorType
from netdsl.layers.activation import HardSwish, Relu6, Silu
from netdsl.layers.conv import DepthwiseConv

pytestmark = needs_compiler


@dataclass(frozen=True)
class Case:
    """One shape: N, H, W, C, the layer, and how the work is shared."""

    shape: tuple[int, int, int, int]
    layer: DepthwiseConv
    tile: tuple[int, int, int] | None = None
    dtype: str = "float32"
    activation: Layer | None = None
    residual: bool = False
    squeeze: bool = False
    gap: int = 0
    """Numbers between positions that belong to another tensor."""

    @property
    def type(self) -> TensorType:
        return TensorType((self.shape[3], *self.shape[1:3]))

    @property
    def window(self) -> Window:
        return Window.of(self.layer.slides(self.type))

    @property
    def x(self) -> View:
        return spread(dense(self.shape, self.dtype), self.gap)

    @property
    def y(self) -> View:
        c, h, w = self.layer.infer(self.type).shape
        return spread(dense((self.shape[0], h or 0, w or 0, c or 0), self.dtype), self.gap)

    def forward(self) -> Work:
        tile = next(depthwise.tiles(self.x, self.y, self.window)) if self.tile is None else Tile(*self.tile)
        residual = self.y if self.residual else None
        return depthwise.forward(
            self.x, self.y, self.window, tile,
            bias=self.layer.bias, activation=self.activation, residual=residual, squeeze=self.squeeze,
        )  # fmt: skip


def spread(view: View, gap: int) -> View:
    _, h, w, c = view.shape
    return replace(view, strides=(h * w * (c + gap), w * (c + gap), c + gap))


def conv(kernel: Any, **options: Any) -> DepthwiseConv:
    return DepthwiseConv(kernel=kernel, **{"padding": "half", "bias": True} | options)


CASES = [
    Case((2, 6, 7, 8), conv(3), activation=Relu6()),
    Case((1, 1, 1, 8), conv(3), dtype="float16", activation=Silu()),
    Case((17, 2, 3, 1), conv(5, stride=2), activation=HardSwish()),
    Case((2, 9, 8, 7), conv(3, stride=2), residual=True),
    Case((1, 5, 6, 13), conv(7, bias=False), tile=(1, 2, 4)),
    Case((2, 7, 9, 16), conv(3, dilation=2), dtype="bfloat16", residual=True, activation=Relu6()),
    Case((1, 9, 9, 4), conv((2, 3), stride=(4, 3), padding=0), squeeze=True),
    Case((2, 10, 11, 8), conv(3), dtype="float16", squeeze=True, activation=Silu(), tile=(4, 1, 1)),
    Case((1, 8, 9, 264), conv(5, padding="same", stride=2), dtype="bfloat16", squeeze=True),
    Case((2, 5, 5, 12), conv(3), gap=4, residual=True),
    Case((1, 4, 6, 4), conv(1, padding=0)),
    Case((1, 6, 12, 8), conv(3, bias=False), tile=(2, 1, 8), dtype="float16"),
]
BACK = [case for case in CASES if case.activation is None or case.dtype != "float32"]


@pytest.fixture(scope="module")
def host() -> Host:
    works = [case.forward() for case in CASES] + [work for case in BACK for work in backward(case)]
    return Host(kernel for work in works for kernel in work.kernels)


def numbers(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of the memory that kernels get."""
    draw = np.random.default_rng([seed, *case.shape])
    y, c = case.y, case.shape[3]
    return {
        "x": array_of(case.x, draw.standard_normal(case.shape)),
        "weight": array_of(dense((1, 1, case.window.taps, c), case.dtype), draw.standard_normal((1, 1, case.window.taps, c))),
        "bias": draw.standard_normal(c).astype(np.float32),
        "residual": array_of(y, draw.standard_normal(y.shape)),
        "dy": array_of(y, draw.standard_normal(y.shape)),
        "plus": array_of(case.x, draw.standard_normal(case.shape)),
    }  # fmt: skip


def weights(case: Case, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As the layer takes them."""
    taps = given["weight"].astype(np.float64).reshape(case.window.y.f, case.window.x.f, 1, -1)
    found = {"weight": taps.transpose(3, 2, 0, 1)}
    return found | ({"bias": given["bias"].astype(np.float64)} if case.layer.bias else {})


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_forward(host: Host, case: Case) -> None:
    given, work = numbers(case), case.forward()
    made = {"y": empty(case.y)}
    if case.squeeze:
        count = depthwise.chunks_of(case.y, Tile(*map(int, work.tile.split("+")[0].split("x"))))
        made["sums"] = np.full((case.shape[0], count, case.shape[3]), np.nan, np.float32)
    found = host.run(work, {name: given[name] for name in work.arguments if name not in made}, made)
    wanted = case.layer.forward(np, [first(read(case.x, given["x"]))], weights(case, given))
    if case.residual:
        wanted = wanted + first(read(case.y, given["residual"]))
    if case.activation is not None:
        wanted = case.activation.forward(np, [wanted], {})
    close(read(case.y, found["y"]), last(wanted), case.dtype)
    if case.squeeze:
        close(found["sums"].sum(1, dtype=np.float64), wanted.sum((2, 3)), "float32", 4)


def backward(case: Case) -> tuple[Work, Work]:
    plus = case.x if case.residual else None
    return (
        depthwise.input_gradient(case.y, case.x, case.window, plus),
        depthwise.weight_gradient(case.x, case.y, case.window, bias=case.layer.bias, add=case.residual),
    )


@pytest.mark.parametrize("case", BACK, ids=range(len(BACK)))
def test_backward(host: Host, case: Case) -> None:
    given, (by_input, by_weight) = numbers(case, 1), backward(case)
    c = case.shape[3]
    wanted = case.layer.derive(
        np,
        first(read(case.y, given["dy"])),
        Passed(
            (first(read(case.x, given["x"])),), np.zeros(()), (), weights(case, given),
            (True,), frozenset({"weight", "bias"} if case.layer.bias else {"weight"}),
        ),
    )  # fmt: skip
    made = {"dx": empty(case.x)}
    found = host.run(by_input, {name: given[name] for name in by_input.arguments if name != "dx"}, made)
    dx = last(wanted.inputs[0]) + (read(case.x, given["plus"]) if case.residual else 0)
    close(read(case.x, found["dx"]), dx, case.dtype)
    before = np.ones((c, case.window.taps), np.float32)
    made = {"dweight": before} | ({"dbias": np.full(c, np.nan, np.float32)} if case.layer.bias else {})
    found = host.run(by_weight, {"x": given["x"], "dy": given["dy"]}, made)
    close(found["dweight"].astype(np.float64) - case.residual, wanted.weights["weight"].reshape(c, -1), "float32", 4)
    if case.layer.bias:
        close(found["dbias"].astype(np.float64), wanted.weights["bias"], "float32", 4)
