"""Windows that take the largest number or the mean, against loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from maps import Map, empty, run

from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.window import window_step
from netdsl.backends.native.target import Target

# images, channels, height, width, kernel, stride, padding
CASES = [
    (1, 1, 1, 1, 1, 1, 0),
    (2, 37, 9, 8, 3, 2, 1),
    (17, 5, 4, 4, 2, 2, 0),
    (1, 16, 5, 40, 3, 1, 1),
    (1, 3, 11, 11, 2, 5, 0),
    (1, 20, 7, 7, 7, 7, 0),
    (1, 18, 14, 13, 13, 1, 6),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("operation", ["max", "mean"])
def test_pool(target: Target, case: tuple[int, ...], operation: str) -> None:
    images, channels, height, width, kernel, stride, padding = case
    x = np.random.default_rng(5).standard_normal((images, channels, height, width)).astype(np.float32)
    oy, ox = ((n + 2 * padding - kernel) // stride + 1 for n in (height, width))
    expected, inverse = np.empty((images, channels, oy, ox)), np.empty((oy, ox))
    for i, j in product(range(oy), range(ox)):
        top, left = i * stride - padding, j * stride - padding
        part = x[:, :, max(0, top) : top + kernel, max(0, left) : left + kernel].astype(np.float64)
        expected[:, :, i, j] = part.max(axis=(2, 3)) if operation == "max" else part.mean(axis=(2, 3))
        inverse[i, j] = 1 / (part.shape[2] * part.shape[3])
    source, out = Map(x, gap=1), empty(*expected.shape, gap=2)
    window = Window((kernel,) * 2, (stride,) * 2, (padding,) * 2)
    step = window_step(
        "pool", target, operation, source.view, out.view, window, inverse=inverse if operation == "mean" else None
    )  # type: ignore[arg-type]
    run(target, step)
    np.testing.assert_allclose(out.values, expected, rtol=0, atol=1e-6)


def test_the_largest_is_nan_where_one_is_nan(target: Target) -> None:
    x = np.zeros((1, 3, 4, 4), dtype=np.float32)
    x[0, 1, 2, 2] = np.nan
    source, out = Map(x), empty(1, 3, 2, 2)
    run(target, window_step("max", target, "max", source.view, out.view, Window((2, 2), (2, 2))))
    assert np.isnan(out.values[0, 1, 1, 1]) and np.isnan(out.values).sum() == 1
