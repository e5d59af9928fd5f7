"""Winograd's form against the direct one, computed with loops."""

from __future__ import annotations

import numpy as np
import pytest
from maps import Map, empty, naive_conv, run

from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.view import dense_view
from netdsl.backends.native.steps.winograd import pays, transform, winograd_step
from netdsl.backends.native.target import Target

# images, channels, height, width, filters, padding
CASES = [
    (1, 32, 14, 14, 32, 1),
    (2, 32, 13, 7, 48, 1),
    (1, 64, 4, 5, 80, 0),
    (3, 16, 9, 9, 16, 2),
    (1, 32, 1, 1, 32, 1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "residual, relu"])
@pytest.mark.parametrize("shares", [1, 3])
def test_winograd(target: Target, case: tuple[int, ...], fused: bool, shares: int) -> None:
    images, channels, height, width, filters, padding = case
    numbers = np.random.default_rng(9)
    x = numbers.standard_normal((images, channels, height, width)).astype(np.float32)
    weight = (numbers.standard_normal((filters, channels, 3, 3)) / (9 * channels) ** 0.5).astype(np.float32)
    bias = numbers.standard_normal(filters).astype(np.float32)
    expected = naive_conv(x, weight, bias, 1, padding, 1, 1)
    residual = Map(numbers.standard_normal(expected.shape), gap=2)
    source, out = Map(x, gap=1), empty(*expected.shape, gap=3)
    if fused:
        expected = np.maximum(expected + residual.values, 0)
    run(
        target,
        winograd_step(
            "conv", target, source.view, out.view, Window((3, 3), before=(padding, padding)), weight, bias,
            activation=("relu",) if fused else (), residual=residual.view if fused else None, shares=shares,
        ),
    )  # fmt: skip
    # The inputs of the products are up to 100 times as large as the result (B has rows like 4, -5, 1).
    np.testing.assert_allclose(out.values, expected, rtol=0, atol=5e-5)


def test_the_transform_of_one_kernel() -> None:
    """Lavin & Gray 2016: the corner of G g G' is g / 16 at its first entry, the last is g at its last."""
    kernel = np.zeros((1, 1, 3, 3), dtype=np.float32)
    kernel[0, 0, 0, 0], kernel[0, 0, 2, 2] = 16, 1
    turned = transform(kernel, 1).reshape(6, 6)
    assert turned[0, 0] == 1
    assert turned[5, 5] == 1
    assert turned[0, 5] == turned[5, 0] == 0


def test_it_is_used_where_it_pays(target: Target) -> None:
    def ask(channels: int, size: int, filters: int, window: Window, groups: int = 1) -> bool:
        x, out = (dense_view(0, 1, size, size, count) for count in (channels, filters))
        return pays(window, x, out, groups, target)

    plain = Window((3, 3), before=(1, 1))
    assert ask(64, 56, 64, plain)
    assert ask(256, 14, 256, plain) is not target.matrix  # many weights: the matrix unit is faster
    assert not ask(64, 7, 64, plain)  # 4 patches
    assert not ask(3, 56, 64, plain)
    assert not ask(64, 56, 64, plain, groups=2)
    assert not ask(64, 56, 64, Window((3, 3), stride=(2, 2), before=(1, 1)))
    assert not ask(64, 56, 64, Window((3, 3), before=(2, 2), dilation=(2, 2)))
    assert not ask(64, 56, 64, Window((5, 5), before=(2, 2)))
