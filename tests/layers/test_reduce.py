"""Reductions against loops over the numbers that meet, and the joins that they are made for."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from loops import run, sample
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Global, LayerError
from netdsl.ir.types import TensorType
from netdsl.layers.reduce import Reduce

HOW = {"mean": lambda values: math.fsum(values) / len(values), "max": max, "min": min, "sum": math.fsum}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("shape", "axis", "axes"),
    [
        ((4, 3, 5), "channels", {0}), ((4, 3, 5), "height", {1}), ((4, 3, 5), 2, {2}), ((4, 3, 5), "positions", {1, 2}),
        ((4, 3, 5), ("width", "channels"), {0, 2}), ((6,), "channels", {0}), ((4, 5), "length", {1}),
        ((2, 3, 2, 4), ("depth", 3), {1, 3}),
    ],
    ids=str,
)  # fmt: skip
def test_the_numbers_that_meet(how: str, shape: tuple[int, ...], axis: object, axes: set[int]) -> None:
    x = sample(2, *shape)
    y = run(Reduce(how=how, axis=axis), x)
    assert y.shape == (2, *(1 if i in axes else n for i, n in enumerate(shape)))
    for image, *place in product(*(range(n) for n in y.shape)):
        spans = [range(n) if i in axes else [place[i]] for i, n in enumerate(shape)]
        values = [float(x[(image, *source)]) for source in product(*spans)]
        assert y[(image, *place)] == pytest.approx(HOW[how](values), rel=1e-13, abs=1e-14)
    np.testing.assert_allclose(run(Reduce(how=how, axis=axis), x.astype(np.float32)), y, rtol=1e-5, atol=1e-5)


def test_shape_and_cost() -> None:
    x = TensorType((64, 7, None))
    assert Reduce(how="max").infer(x) == TensorType((1, 7, None))
    assert Reduce(how="max", axis="width").infer(x) == TensorType((64, 7, 1))
    assert Reduce(how="max").cost([x], TensorType((1, 7, None))) is None
    image, map_ = TensorType((64, 7, 7)), TensorType((1, 7, 7))
    # 63 comparisons at each of 49 positions; a mean has 63 additions and a division.
    assert Reduce(how="max").cost([image], map_) == Reduce(how="sum").cost([image], map_) == Cost(flops=49 * 63)
    assert Reduce(how="mean").cost([image], map_) == Cost(flops=49 * 64)


def test_window() -> None:
    x = TensorType((4, 3, 1))
    assert Reduce(how="max").window([x]) is None
    assert Reduce(how="max", axis="width").window([x]) is None
    assert Reduce(how="max", axis="positions").window([x]) == Global()


def test_board() -> None:
    x = TensorType((64, 7, 8))
    lines = Reduce(how="mean", axis="positions").board([x], TensorType((64, 1, 1)))["output"]
    assert lines[0] == "height and width: the mean of 7 * 8 = 56"
    assert Reduce(how="max").board([x], TensorType((1, 7, 8)))["output"][0] == "channels: the max of 64"


@pytest.mark.parametrize(
    ("axis", "shape", "said"),
    [("height", (8,), "works along the height"), ("positions", (8,), "spatial axis"), (3, (4, 5, 6), "axis 3"),
     ((1, "height"), (4, 5, 6), "names the height twice")],
)  # fmt: skip
def test_axes_that_are_not_there(axis: object, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(LayerError, match=said) as caught:
        Reduce(how="sum", axis=axis).infer(TensorType(shape))
    assert caught.value.code == "E0315"


@pytest.mark.parametrize("wrong", [{}, {"how": "median"}, {"how": "max", "axis": ()}, {"how": "max", "axis": -1}])
def test_attributes_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Reduce(**wrong)


@pytest.mark.peer
def test_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = sample(2, 6, 4, 5)
    t = torch.from_numpy(x)
    for axis, dim in (("channels", 1), ("height", 2), ("positions", (2, 3)), ((0, 2), (1, 3))):
        np.testing.assert_allclose(run(Reduce(how="mean", axis=axis), x), t.mean(dim, keepdim=True), rtol=1e-12)
        np.testing.assert_allclose(run(Reduce(how="sum", axis=axis), x), t.sum(dim, keepdim=True), rtol=1e-12)
        np.testing.assert_array_equal(run(Reduce(how="max", axis=axis), x), t.amax(dim, keepdim=True))
        np.testing.assert_array_equal(run(Reduce(how="min", axis=axis), x), t.amin(dim, keepdim=True))
