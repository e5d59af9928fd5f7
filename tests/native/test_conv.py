"""Convolutions of every kind of code against loops."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import CASES, Case
from maps import Map, empty, naive_conv, run

from netdsl.backends.native.steps.conv import Window, conv_step, tiling
from netdsl.backends.native.steps.window import window_step
from netdsl.backends.native.target import Target


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "residual, relu"])
def test_conv(target: Target, case: Case, fused: bool) -> None:
    numbers = np.random.default_rng(3)
    depth = case.channels // case.groups * case.kernel**2
    x = numbers.standard_normal((case.images, case.channels, case.height, case.width)).astype(np.float32)
    weight = numbers.standard_normal((case.filters, case.channels // case.groups, case.kernel, case.kernel))
    weight = (weight / depth**0.5).astype(np.float32)
    bias = numbers.standard_normal(case.filters).astype(np.float32)
    expected = naive_conv(x, weight, bias, case.stride, case.padding, case.dilation, case.groups)
    residual = Map(numbers.standard_normal(expected.shape), gap=1)
    source, out = Map(x, gap=2), empty(*expected.shape, gap=3)
    if fused:
        expected = np.maximum(expected + residual.values, 0)
    window = Window(
        (case.kernel,) * 2, (case.stride,) * 2, (case.padding,) * 2, (case.dilation,) * 2,
    )  # fmt: skip
    run(
        target,
        conv_step(
            "conv", target, source.view, out.view, window, weight, bias, groups=case.groups,
            activation=("relu",) if fused else (), residual=residual.view if fused else None,
        ),
    )  # fmt: skip
    np.testing.assert_allclose(out.values, expected, rtol=0, atol=2e-6 * max(1, depth**0.5))


DEPTHWISE = {
    "one pixel": Case(1, 1, 1, 1, 1, 1),
    "prime channels": Case(2, 37, 9, 9, 37, 3, 1, 1),
    "stride": Case(1, 16, 12, 13, 16, 3, 2, 1),
    "kernel larger than the map": Case(17, 5, 3, 3, 5, 5, 1, 2),
    "stride larger than kernel": Case(1, 24, 9, 14, 24, 2, 3),
    "dilation": Case(1, 20, 12, 13, 20, 3, 1, 2, 2),
    "wide": Case(1, 8, 2, 61, 8, 5, 1, 2),
    "no bias": Case(1, 48, 7, 7, 48, 7, 1, 3),
    "two blocks": Case(1, 16, 5, 14, 16, 5, 1, 2),
    "two blocks, stride": Case(1, 20, 6, 28, 20, 5, 2, 2),
    "last block over the one before": Case(1, 16, 3, 17, 16, 3, 1, 1),
    "padding wider than the kernel": Case(1, 8, 3, 10, 8, 3, 1, 4),
    "padding that reaches the second block": Case(1, 8, 2, 4, 8, 7, 1, 9),
}


@pytest.mark.parametrize("case", DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise(target: Target, case: Case) -> None:
    numbers = np.random.default_rng(4)
    x = numbers.standard_normal((case.images, case.channels, case.height, case.width)).astype(np.float32)
    weight = numbers.standard_normal((case.channels, 1, case.kernel, case.kernel)).astype(np.float32)
    bias = None if case.kernel == 7 else numbers.standard_normal(case.channels).astype(np.float32)
    expected = naive_conv(x, weight, bias, case.stride, case.padding, case.dilation, case.channels)
    source, out = Map(x, gap=1), empty(*expected.shape, gap=2)
    window = Window((case.kernel,) * 2, (case.stride,) * 2, (case.padding,) * 2, (case.dilation,) * 2)
    run(target, window_step("dw", target, "weigh", source.view, out.view, window, weight=weight, bias=bias))
    np.testing.assert_allclose(out.values, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pixels", [1, 2, 3, 5, 6, 13, 14, 15, 49, 3136])
@pytest.mark.parametrize("filters", [1, 3, 16, 17, 31, 33, 64, 1000])
def test_tiles_cover_the_result_and_fit_the_registers(target: Target, pixels: int, filters: int) -> None:
    tiles = tiling(target, pixels, filters)
    whole = tiles.panels - (1 if tiles.last else 0)
    covered = whole * tiles.vectors * target.width
    if tiles.last:
        covered += (tiles.last - 1) * target.width + tiles.count
        assert tiles.last <= tiles.vectors
    assert covered == filters
    assert pixels % tiles.rows == tiles.rest
    registers = 32 if target.width == 16 else 16
    assert tiles.rows * tiles.vectors + tiles.vectors + 1 <= registers
