"""Pools, both ways, against the layers in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from host_kernels import Host, array_of, close, empty, first, last, needs_compiler, read

from netdsl.backends.cupy.kernels import pool
from netdsl.backends.cupy.kernels.depthwise import Window
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.backends.cupy.kernels.view import View, dense
from netdsl.ir.layer import Passed
from netdsl.ir.types import TensorType
from netdsl.layers.activation import Relu
from netdsl.layers.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool, GlobalAvgPool, GlobalMaxPool
from netdsl.layers.pool import AvgPool, MaxPool

pytestmark = needs_compiler


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int]
    layer: Any
    dtype: str = "float32"
    gap: int = 0

    @property
    def type(self) -> TensorType:
        return TensorType((self.shape[3], *self.shape[1:3]))

    @property
    def x(self) -> View:
        return self._gapped(self.shape)

    @property
    def y(self) -> View:
        c, h, w = self.layer.infer(self.type).shape
        return self._gapped((self.shape[0], h, w, c))

    def _gapped(self, shape: Any) -> View:
        _, h, w, c = shape
        return View(shape, (h * w * (c + self.gap), w * (c + self.gap), c + self.gap), self.dtype)

    @property
    def maximum(self) -> bool:
        return isinstance(self.layer, MaxPool)

    @property
    def window(self) -> Window:
        return Window.of(self.layer.slides(self.type))

    @property
    def include(self) -> bool:
        if self.maximum:
            return False
        said: bool | None = self.layer.count_include_pad
        return self.layer.padding != "same" if said is None else said

    def forward(self, places: bool = False) -> Work:
        return pool.slide(
            self.x, self.y, self.window, maximum=self.maximum, include_pad=self.include, places=places,
            activation=None if places else Relu(),
        )  # fmt: skip

    def backward(self, plus: bool = False) -> Work:
        return pool.slide_gradient(
            self.y, self.x, self.window, maximum=self.maximum, include_pad=self.include, plus=self.x if plus else None
        )


SLIDING = [
    Case((2, 8, 9, 8), MaxPool(kernel=3, stride=2, padding=1)),
    Case((2, 7, 7, 16), MaxPool(kernel=3, stride=2, ceil_mode=True), dtype="bfloat16"),
    Case((1, 9, 7, 3), MaxPool(kernel=(3, 2), stride=(1, 2), padding=1, dilation=(2, 1))),
    Case((17, 2, 2, 1), MaxPool(kernel=2)),
    Case((1, 10, 10, 4), MaxPool(kernel=2, stride=3), dtype="float16"),
    Case((1, 13, 13, 8), MaxPool(kernel=13, stride=1), gap=8),
    Case((2, 8, 9, 8), AvgPool(kernel=3, stride=2, padding=1)),
    Case((2, 8, 9, 8), AvgPool(kernel=3, stride=2, padding=1, count_include_pad=False)),
    Case((2, 7, 8, 5), AvgPool(kernel=3, stride=2, padding=1, ceil_mode=True)),
    Case((1, 6, 6, 8), AvgPool(kernel=3, stride=1, padding="same"), dtype="float16"),
    Case((2, 5, 5, 12), AvgPool(kernel=2, stride=2, ceil_mode=True), gap=4),
    Case((1, 1, 1, 2), AvgPool(kernel=1)),
]
ADAPTIVE = [
    Case((2, 7, 9, 8), AdaptiveAvgPool(size=(3, 4))),
    Case((1, 3, 2, 4), AdaptiveAvgPool(size=(7, 5)), dtype="float16"),
    Case((2, 7, 9, 5), AdaptiveMaxPool(size=(2, 3))),
    Case((17, 1, 1, 1), AdaptiveAvgPool(size=(1, 1))),
]
GLOBAL = [
    Case((2, 7, 7, 8), GlobalAvgPool()),
    Case((1, 56, 57, 16), GlobalAvgPool(), dtype="bfloat16"),
    Case((3, 5, 5, 13), GlobalMaxPool(), gap=3),
    Case((17, 1, 1, 1), GlobalMaxPool()),
    Case((2, 30, 31, 4), GlobalMaxPool(), dtype="float16"),
]


def adaptive(case: Case, backward: bool = False) -> Work:
    if backward:
        return pool.adaptive(case.y, case.x, maximum=False, backward=True, plus=case.x)
    return pool.adaptive(case.x, case.y, maximum=isinstance(case.layer, AdaptiveMaxPool))


def whole(case: Case) -> Work:
    maximum = isinstance(case.layer, GlobalMaxPool)
    factor = 1.0 if maximum else 1 / case.x.positions
    return pool.sums(case.x, maximum=maximum, factor=factor, dtype=case.dtype)


def column_sums(case: Case) -> Work:
    """Over all images, added to what is there: the gradient of a bias."""
    return pool.sums(case.x, per_image=False, add=True)


@pytest.fixture(scope="module")
def host() -> Host:
    works = [work for case in SLIDING for work in (case.forward(), case.forward(True), case.backward(True))]
    works += [adaptive(case) for case in ADAPTIVE]
    works += [adaptive(case, True) for case in ADAPTIVE if isinstance(case.layer, AdaptiveAvgPool)]
    works += [work for case in GLOBAL for work in (whole(case), column_sums(case), spread(case))]
    return Host(kernel for work in works for kernel in work.kernels)


def spread(case: Case) -> Work:
    return pool.spread(case.y, case.x, plus=case.x)


def drawn(case: Case, seed: int = 0) -> np.ndarray:
    """Whole numbers, so that there are equal ones."""
    draw = np.random.default_rng([seed, *case.shape])
    return array_of(case.x, draw.integers(-9, 9, case.shape).astype(float))


def slope(case: Case, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """d(x), (N, H, W, C)"""
    x, dy = first(read(case.x, x)), first(read(case.y, dy))
    passed = Passed((x,), case.layer.forward(np, [x], {}), (), {}, (True,), frozenset())
    return last(case.layer.derive(np, dy, passed).inputs[0])


@pytest.mark.parametrize("case", SLIDING, ids=range(len(SLIDING)))
def test_windows_that_slide(host: Host, case: Case) -> None:
    x = drawn(case)
    wanted = case.layer.forward(np, [first(read(case.x, x))], {})
    found = host.run(case.forward(), {"x": x}, {"y": empty(case.y)})
    close(read(case.y, found["y"]), last(np.maximum(wanted, 0)), case.dtype)
    made = {"y": empty(case.y)} | ({"places": np.full(case.y.size, 255, np.uint8)} if case.maximum else {})
    if case.maximum:
        found = host.run(case.forward(True), {"x": x}, made)
        close(read(case.y, found["y"]), last(wanted), case.dtype)
    dy = array_of(case.y, np.random.default_rng(5).standard_normal(case.y.shape))
    plus = drawn(case, 1)
    given = {"dy": dy, "plus": plus} | ({"places": found["places"]} if case.maximum else {})
    back = host.run(case.backward(True), given, {"dx": empty(case.x)})
    close(read(case.x, back["dx"]), slope(case, x, dy) + read(case.x, plus), case.dtype)


def test_the_largest_of_windows_with_nan_is_nan(host: Host) -> None:
    case = SLIDING[0]
    x = drawn(case)
    x[100] = np.nan
    with np.errstate(invalid="ignore"):
        wanted = last(case.layer.forward(np, [first(read(case.x, x))], {}))
    found = host.run(case.forward(True), {"x": x}, {"y": empty(case.y), "places": np.zeros(case.y.size, np.uint8)})
    assert np.isnan(wanted).any()
    np.testing.assert_array_equal(read(case.y, found["y"]), wanted)


@pytest.mark.parametrize("case", ADAPTIVE, ids=range(len(ADAPTIVE)))
def test_windows_of_a_grid(host: Host, case: Case) -> None:
    x = drawn(case)
    found = host.run(adaptive(case), {"x": x}, {"y": empty(case.y)})
    close(read(case.y, found["y"]), last(case.layer.forward(np, [first(read(case.x, x))], {})), case.dtype)
    if isinstance(case.layer, AdaptiveAvgPool):
        dy = array_of(case.y, np.random.default_rng(5).standard_normal(case.y.shape))
        plus = drawn(case, 1)
        back = host.run(adaptive(case, True), {"dy": dy, "plus": plus}, {"dx": empty(case.x)})
        close(read(case.x, back["dx"]), slope(case, x, dy) + read(case.x, plus), case.dtype)


@pytest.mark.parametrize("case", GLOBAL, ids=range(len(GLOBAL)))
def test_whole_maps(host: Host, case: Case) -> None:
    x, plus = drawn(case), drawn(case, 1)
    y = dense((case.shape[0], case.shape[3]), case.dtype)
    found = host.run(whole(case), {"x": x}, {"y": empty(y)})
    wanted = case.layer.forward(np, [first(read(case.x, x))], {})
    close(read(y, found["y"]), last(wanted), case.dtype)
    found = host.run(column_sums(case), {"x": x}, {"y": np.ones(case.shape[3], np.float32)})
    close(found["y"].astype(np.float64), 1 + read(case.x, x).sum((0, 1, 2)), "float32")
    dy = array_of(case.y, np.random.default_rng(5).standard_normal(case.y.shape))
    back = host.run(spread(case), {"dy": dy, "plus": plus}, {"dx": empty(case.x)})
    wanted = read(case.y, dy) / case.x.positions + read(case.x, plus)
    close(read(case.x, back["dx"]), wanted, case.dtype)
