"""Upsampling against its definition, identities, and PyTorch where it is installed."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import run, sample
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Global, LayerError, Window
from netdsl.ir.types import TensorType
from netdsl.layers.resample import Upsample


@pytest.mark.parametrize(
    ("attributes", "given_", "made"),
    [
        ({"scale": 2}, (64, 14, 14), (64, 28, 28)),
        ({"scale": (2, 3)}, (64, 14, 14), (64, 28, 42)),
        ({"scale": 3}, (4, 5), (4, 15)),
        ({"scale": 2}, (4, 5, 6, 7), (4, 10, 12, 14)),
        ({"size": (50, 60)}, (4, 5, 6), (4, 50, 60)),
        ({"size": 3, "mode": "bilinear"}, (4, 5, 6), (4, 3, 3)),
        ({"scale": 2}, (4, None, 6), (4, None, 12)),
        ({"size": 7}, (None, None, 6), (None, 7, 7)),
    ],
)
def test_shapes(attributes, given_, made):
    assert Upsample(**attributes).infer(TensorType(given_)) == TensorType(made)


def interpolate(line: np.ndarray, o: int, mode: str, align_corners: bool) -> list[float]:
    """One line by the definition, in exact fractions up to the last step."""
    n = len(line)
    made = []
    for i in range(o):
        if mode == "nearest":
            made.append(float(line[math.floor(Fraction(i * n, o))]))
            continue
        if align_corners:
            place = Fraction(i * (n - 1), o - 1) if o > 1 else Fraction(0)
        else:
            place = (i + Fraction(1, 2)) * Fraction(n, o) - Fraction(1, 2)
        place = min(max(place, Fraction(0)), Fraction(n - 1))
        low = math.floor(place)
        t = float(place - low)
        made.append((1 - t) * float(line[low]) + t * float(line[min(low + 1, n - 1)]))
    return made


@settings(deadline=None)
@given(
    n=st.integers(1, 7), m=st.integers(1, 4), o=st.integers(1, 15), p=st.integers(1, 9),
    mode=st.sampled_from(["nearest", "bilinear"]), align=st.booleans(),
)  # fmt: skip
def test_each_line_by_the_definition(n, m, o, p, mode, align):
    align = align and mode == "bilinear"
    x = sample(2, 3, n, m)
    y = run(Upsample(size=(o, p), mode=mode, align_corners=align), x)
    expected = np.apply_along_axis(interpolate, 2, x, o, mode, align)
    expected = np.apply_along_axis(interpolate, 3, expected, p, mode, align)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    single = run(Upsample(size=(o, p), mode=mode, align_corners=align), x.astype(np.float32))
    np.testing.assert_allclose(single, expected, atol=1e-5)


def test_nearest_repeats():
    x = sample(1, 2, 3, 4)
    expected = x.repeat(2, axis=2).repeat(3, axis=3)
    np.testing.assert_array_equal(run(Upsample(scale=(2, 3)), x), expected)


def test_bilinear_doubling_mixes_three_quarters_and_one():
    y = run(Upsample(scale=2, mode="bilinear"), np.array([[[0.0, 4.0, 8.0]]]))
    assert y[0, 0].tolist() == [0, 1, 3, 5, 7, 8]


def test_aligned_corners_keep_a_ramp():
    ramp = np.arange(5.0)[None, None]
    y = run(Upsample(size=9, mode="bilinear", align_corners=True), ramp)
    np.testing.assert_allclose(y[0, 0], np.arange(9) / 2)


def test_costs_and_windows():
    x = TensorType((3, 4, 5))
    assert Upsample(scale=2).cost([x], TensorType((3, 8, 10))) == Cost()
    linear = Upsample(scale=2, mode="bilinear")
    assert linear.cost([x], linear.infer(x)) == Cost(flops=3 * (3 * 8 * 5) + 3 * (3 * 8 * 10))
    assert linear.cost([TensorType((3, None, 5))], TensorType((3, None, 10))) is None
    half = Fraction(1, 2)
    assert Upsample(scale=2).window([x]) == Window((1, 1), (half, half), (0, 0))
    assert linear.window([x]) == Window((2, 2), (half, half), (1, 1))  # output 0 lies a quarter before input 0
    assert linear.window([TensorType((3, None, None))]) == linear.window([x])
    aligned = Upsample(size=(7, 5), mode="bilinear", align_corners=True)
    assert aligned.window([x]) == Window((2, 1), (half, 1), (0, 0))
    assert aligned.window([TensorType((3, None, 5))]) == Global()


def test_what_does_not_fit():
    with pytest.raises(LayerError) as caught:
        Upsample(scale=2).infer(TensorType((10,)))
    assert caught.value.code == "E0303"
    with pytest.raises(LayerError, match="upsample has scale 2x2x2 and its input is 3x4x5") as caught:
        Upsample(scale=(2, 2, 2)).infer(TensorType((3, 4, 5)))
    assert caught.value.code == "E0305"


@pytest.mark.parametrize(
    "attributes", [{}, {"scale": 2, "size": 4}, {"scale": 0}, {"scale": 2, "align_corners": True}, {"scale": 1.5}]
)
def test_attributes_that_make_no_sense(attributes):
    with pytest.raises(ValidationError):
        Upsample(**attributes)


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_pytorch(seed):
    torch = pytest.importorskip("torch")
    choose = random.Random(seed)
    rank = choose.randint(1, 3)
    x = sample(2, 2, *[choose.randint(1, 6) for _ in range(rank)])
    size = [choose.randint(1, 12) for _ in range(rank)]
    align = choose.choice([True, False])
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]
    interpolate = torch.nn.functional.interpolate
    np.testing.assert_allclose(
        run(Upsample(size=tuple(size), mode="bilinear", align_corners=align), x),
        interpolate(torch.from_numpy(x), size=size, mode=linear, align_corners=align).numpy(),
        atol=1e-10,
    )
    np.testing.assert_array_equal(
        run(Upsample(size=tuple(size)), x), interpolate(torch.from_numpy(x), size=size, mode="nearest").numpy()
    )
