"""Convolutions with the matrix unit, in the precision of float32."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import CASES, Case
from maps import Map, empty, naive_conv, run

from netdsl.backends.native.steps.amx import amx_step, pays
from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.view import Array, dense_view
from netdsl.backends.native.target import Target, choose, runnable

MATRIX = [target for target in runnable() if target.matrix]

MORE = {
    "several chunks": Case(1, 70, 13, 14, 40, 3, 1, 1),
    "last half tile": Case(1, 32, 7, 6, 48, 1),
    "last tile of one pixel": Case(1, 48, 3, 11, 16, 1),
    "groups of several panels": Case(2, 96, 5, 5, 144, 3, 2, 1, 1, 2),
    "images across tiles": Case(5, 40, 5, 5, 33, 1),
}


@pytest.fixture
def matrix() -> Target:
    if not MATRIX:
        pytest.skip("this processor has no matrix unit (AMX)")
    return MATRIX[0]


def _computed(target: Target, case: Case, x: Array, weight: Array, bias: Array, threads: int, fused: bool) -> Array:
    """(output, expected) of the unit."""
    expected = naive_conv(x, weight, bias, case.stride, case.padding, case.dilation, case.groups)
    residual = Map(np.random.default_rng(4).standard_normal(expected.shape), gap=1)
    source, out = Map(x, gap=2), empty(*expected.shape, gap=3)
    if fused:
        expected = np.maximum(expected + residual.values, 0)
    window = Window((case.kernel,) * 2, (case.stride,) * 2, (case.padding,) * 2, (case.dilation,) * 2)
    step = amx_step(
        "conv", target, source.view, out.view, window, weight, bias, groups=case.groups, shares=4 * threads,
        activation=("relu",) if fused else (), residual=residual.view if fused else None,
    )  # fmt: skip
    run(target, step, threads=threads)
    return np.stack([out.values, expected])


@pytest.mark.parametrize("case", (CASES | MORE).values(), ids=(CASES | MORE))
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "residual, relu"])
def test_amx(matrix: Target, case: Case, fused: bool) -> None:
    numbers = np.random.default_rng(3)
    depth = case.channels // case.groups * case.kernel**2
    x = numbers.standard_normal((case.images, case.channels, case.height, case.width)).astype(np.float32)
    weight = numbers.standard_normal((case.filters, case.channels // case.groups, case.kernel, case.kernel))
    weight = (weight / depth**0.5).astype(np.float32)
    bias = numbers.standard_normal(case.filters).astype(np.float32)
    one = _computed(matrix, case, x, weight, bias, 1, fused)
    np.testing.assert_allclose(one[0], one[1], rtol=0, atol=2e-6 * max(1, depth**0.5))
    two = _computed(matrix, case, x, weight, bias, 2, fused)
    np.testing.assert_allclose(two[0], two[1], rtol=0, atol=2e-6 * max(1, depth**0.5))


def test_single_products(matrix: Target) -> None:
    """One product a sum: what is left out is less than 2 x 2^-7 x 2^-15, and six sums are rounded."""
    numbers = np.random.default_rng(5)
    x = (numbers.standard_normal((1, 1, 40, 25)) * 10.0 ** numbers.integers(-12, 12, (1, 1, 40, 25))).astype(np.float32)
    weight = numbers.standard_normal((32, 1, 1, 1)).astype(np.float32)
    y, expected = _computed(matrix, Case(1, 1, 40, 25, 32, 1), x, weight, np.zeros(32, dtype=np.float32), 1, False)
    assert (np.abs(y / expected - 1) < 2.0**-21 + 6 * 2.0**-24).all()


def test_nan_stays(matrix: Target) -> None:
    x = np.ones((1, 32, 8, 8), dtype=np.float32)
    x[0, 7, 3, 4] = np.nan
    y, _ = _computed(matrix, Case(1, 32, 8, 8, 32, 1), x, np.ones((32, 32, 1, 1), np.float32), np.zeros(32), 1, False)
    assert np.isnan(y[0, :, 3, 4]).all()
    assert np.isnan(y).sum() == 32


def test_vectors_are_used_where_there_is_no_unit() -> None:
    x, out = dense_view(0, 1, 56, 56, 256), dense_view(0, 1, 56, 56, 256)
    assert not pays(x, out, Window((1, 1)), 1, choose("generic"))
