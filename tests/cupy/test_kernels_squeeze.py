"""Squeeze and excitation, layouts, resampling and the second stage of sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from host_kernels import DTYPES, Host, array_of, close, empty, first, last, needs_compiler, read

from netdsl.backends.cupy.kernels import layout, resample, squeeze
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.backends.cupy.kernels.reduce import fold
from netdsl.backends.cupy.kernels.squeeze import Excitation
from netdsl.backends.cupy.kernels.view import View, dense
from netdsl.ir.layer import Passed
from netdsl.layers.activation import HardSigmoid, Relu, Relu6, Sigmoid, Silu
from netdsl.layers.resample import Upsample

pytestmark = needs_compiler


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int]
    excitation: Excitation
    dtype: str = "float32"
    parts: int = 0
    after: Any = None
    gap: int = 0
    """Numbers between positions."""
    gate_only: bool = False

    @property
    def x(self) -> View:
        _, h, w, c = self.shape
        return View(self.shape, (h * w * (c + self.gap), w * (c + self.gap), c + self.gap), self.dtype)

    @property
    def y(self) -> View | None:
        return None if self.gate_only else self.x


CASES = [
    Case((3, 5, 4, 16), Excitation(4, Silu(), Sigmoid(), True, True)),
    Case((2, 7, 7, 96), Excitation(5, Relu(), HardSigmoid(), True, False), dtype="float16", after=Relu6()),
    Case((17, 1, 1, 3), Excitation(1, Relu(), Sigmoid(), False, True)),
    Case((1, 3, 3, 520), Excitation(24, Silu(), Sigmoid(), True, True), dtype="bfloat16", parts=9),
    Case((2, 4, 4, 13), Excitation(7, Relu(), Sigmoid(), True, True), gap=3, parts=2, gate_only=True),
    Case((1, 4, 4, 1032), Excitation(8, Relu(), Sigmoid(), True, True), gate_only=True),
]


def one(case: Case) -> Work:
    return squeeze.one_block(case.x, case.excitation, y=case.y, parts=case.parts, after=case.after, threads=256)


def few(case: Case) -> Work:
    return squeeze.few_images(case.x, case.excitation, y=case.y, parts=case.parts, after=case.after)


LAYOUTS = [
    (2, 3, 35, "float32", "float16", 0, 0),
    (1, 33, 65, "bfloat16", "float32", 0, 0),
    (3, 1, 1, "float32", "float32", 0, 0),
    (2, 40, 9, "float32", "float32", 3, 5),
    (1, 3, 70, "uint8", "float32", 0, 0),
    (2, 50, 4, "bfloat16", "float32", 4, 2),
    (2, 8, 8, "float32", "bfloat16", 0, 0),
]
RESAMPLED = [
    ((2, 4, 5, 8), Upsample(scale=2), "float32"),
    ((1, 7, 6, 5), Upsample(size=(3, 11)), "float32"),
    ((2, 4, 5, 8), Upsample(scale=(2, 3), mode="bilinear"), "float32"),
    ((1, 7, 6, 4), Upsample(size=(3, 4), mode="bilinear"), "float16"),
    ((1, 5, 4, 3), Upsample(size=(9, 4), mode="bilinear", align_corners=True), "float32"),
    ((1, 1, 1, 2), Upsample(size=(3, 1), mode="bilinear", align_corners=True), "float32"),
    ((1, 9, 13, 2), Upsample(size=(2, 1), mode="bilinear", align_corners=True), "float32"),
    ((2, 13, 2, 16), Upsample(size=(31, 17), mode="bilinear"), "bfloat16"),
]


def turned(case: Any) -> Work:
    n, a, b, source, target, gap, target_gap = case
    return layout.turned(n, a, b, source, target, factor=0.5, gap=gap, target_gap=target_gap)


def resampled(case: Any, backward: bool = False) -> tuple[Work, View, View]:
    shape, layer, dtype = case
    x = dense(shape, dtype)
    y = dense((shape[0], *(o for _, o in sizes(case)), shape[3]), dtype)
    options = {"bilinear": layer.mode == "bilinear", "align": layer.align_corners}
    if backward:
        return resample.resample(y, x, backward=True, plus=x, **options), x, y
    return resample.resample(x, y, **options), x, y


def sizes(case: Any) -> list[tuple[int, int]]:
    shape, layer, _ = case
    y = layer.forward(np, [np.zeros((1, 1, *shape[1:3]))], {})
    return list(zip(shape[1:3], y.shape[2:], strict=True))


FOLDS = {
    "sum": fold(2, 37, 13, factor=0.25),
    "largest": fold(1, 3, 40, maximum=True, dtype="float16"),
    "weights": fold(1, 5, 12, taps=3, channels=4),
}


@pytest.fixture(scope="module")
def host() -> Host:
    works = [work for case in CASES for work in (one(case), few(case))]
    works += [turned(case) for case in LAYOUTS]
    works += [resampled(case, back)[0] for case in RESAMPLED for back in (False, True)]
    return Host([*(kernel for work in works for kernel in work.kernels), *FOLDS.values()])


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_squeeze_and_excitation(host: Host, case: Case) -> None:
    draw = np.random.default_rng([*case.shape])
    n, _, _, c = case.shape
    e, dtype = case.excitation, DTYPES[case.dtype]
    x = array_of(case.x, draw.standard_normal(case.shape))
    w1 = draw.standard_normal((e.hidden, c)).astype(dtype)
    w2 = draw.standard_normal((c, e.hidden)).astype(dtype)
    b1, b2 = draw.standard_normal(e.hidden).astype(np.float32), draw.standard_normal(c).astype(np.float32)
    images = read(case.x, x)
    mean = images.mean((1, 2))
    parts = draw.standard_normal((n, max(1, case.parts), c))
    if case.parts:
        parts = parts.astype(np.float32)
        mean = parts.astype(np.float64).sum(1) / case.x.positions
    hidden = e.inner.forward(np, [mean @ w1.astype(np.float64).T + (b1 if e.bias1 else 0)], {})
    gate = e.outer.forward(np, [hidden @ w2.astype(np.float64).T + (b2 if e.bias2 else 0)], {})
    scaled = images * gate[:, None, None]
    wanted = gate if case.gate_only else scaled if case.after is None else case.after.forward(np, [scaled], {})
    for work, second in ((one(case), w2.T), (few(case), w2)):
        given = {"x": x, "weight1": w1, "bias1": b1, "weight2": second, "bias2": b2, "sums": parts}
        given = {name: given[name] for name in work.arguments if name in given and name not in work.rooms}
        made = {"gate": np.full((n, c), np.nan, dtype)} if case.gate_only else {"y": empty(case.x)}
        found = host.run(work, given, made)
        result = found["gate"].astype(np.float64) if case.gate_only else read(case.x, found["y"])
        close(result, wanted, case.dtype, 4)


def test_too_many_channels_for_a_block_are_refused() -> None:
    with pytest.raises(ValueError, match="shared memory"):
        squeeze.one_block(dense((1, 1, 1, 14000)), replace(CASES[0].excitation, hidden=4))


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts(host: Host, case: Any) -> None:
    n, a, b, source, target, gap, target_gap = case
    draw = np.random.default_rng(0)
    x = (100 * draw.random((n, a, b + gap))).astype(DTYPES[source])
    made = np.full((n, b, a + target_gap), 7, DTYPES[target])
    found = host.run(turned(case), {"x": x}, {"y": made})["y"].astype(np.float64)
    close(found[..., :a], 0.5 * x[..., :b].astype(np.float64).swapaxes(1, 2), target)
    assert (found[..., a:] == 7).all()


@pytest.mark.parametrize("case", RESAMPLED, ids=range(len(RESAMPLED)))
def test_resampling(host: Host, case: Any) -> None:
    layer, dtype = case[1:]
    draw = np.random.default_rng(0)
    work, x, y = resampled(case)
    values = array_of(x, draw.standard_normal(x.shape))
    found = host.run(work, {"x": values}, {"y": empty(y)})
    wanted = layer.forward(np, [first(read(x, values))], {})
    close(read(y, found["y"]), last(wanted), dtype)
    dy, plus = array_of(y, draw.standard_normal(y.shape)), array_of(x, draw.standard_normal(x.shape))
    passed = Passed((first(read(x, values)),), wanted, (), {}, (True,), frozenset())
    slopes = layer.derive(np, first(read(y, dy)), passed)
    back = host.run(resampled(case, True)[0], {"dy": dy, "plus": plus}, {"dx": empty(x)})
    close(read(x, back["dx"]), last(slopes.inputs[0]) + read(x, plus), dtype, 2)


def test_folds(host: Host) -> None:
    draw = np.random.default_rng(0)
    parts = draw.standard_normal((2, 37, 13)).astype(np.float32)
    found = host.run(Work((FOLDS["sum"],)), {"parts": parts}, {"out": np.zeros((2, 13), np.float32)})["out"]
    close(found.astype(np.float64), parts.astype(np.float64).sum(1) / 4, "float32")
    parts = draw.standard_normal((1, 3, 40)).astype(np.float32)
    found = host.run(Work((FOLDS["largest"],)), {"parts": parts}, {"out": np.zeros(40, np.float16)})["out"]
    assert (found == parts.max((0, 1)).astype(np.float16)).all()
    parts = draw.standard_normal((5, 3, 4)).astype(np.float32)
    found = host.run(Work((FOLDS["weights"],)), {"parts": parts}, {"out": np.zeros((4, 3), np.float32)})["out"]
    close(found.astype(np.float64), parts.astype(np.float64).sum(0).T, "float32")
