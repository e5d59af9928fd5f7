"""Erasing: a rectangle of each image is covered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netdsl.data.augment.geometry import TRIES, shape_of
from netdsl.data.augment.steps import Erase
from netdsl.data.counter import uniforms

ERASE_DRAWS = 1 + 4 * TRIES

NOISE = 2**30
"""Added to the stream of a step: the stream of what covers the rectangle."""


def erase(
    planes: NDArray[np.float32],
    step: Erase,
    u: NDArray[np.float64],
    numbers: NDArray[np.int64],
    seed: int,
    epoch: int,
    stream: int,
) -> NDArray[np.float32]:
    """Planes (C, N, H, W) with a rectangle of each image covered, in place. `u` has shape (ERASE_DRAWS, N)."""
    channels, _, height, width = planes.shape
    for n, column in enumerate(u.T.tolist()):
        if column[0] >= step.probability:
            continue
        found = _rectangle(column[1:], height, width, step)
        if found is None:
            continue
        top, left, h, w = found
        if step.value == "noise":
            noise = uniforms(seed, epoch, numbers[n : n + 1], stream + NOISE, channels * h * w)
            planes[:, n, top : top + h, left : left + w] = noise.reshape(channels, h, w)
        else:
            planes[:, n, top : top + h, left : left + w] = step.value
    return planes


def _rectangle(u: list[float], height: int, width: int, step: Erase) -> tuple[int, int, int, int] | None:
    """Top, left, height, width of the first of ten rectangles that fits."""
    for place in range(0, 4 * TRIES, 4):
        area, ratio, down, across = u[place : place + 4]
        h, w = shape_of(area, ratio, height * width, step.scale, step.ratio)
        if 0 < h < height and 0 < w < width:
            return int(down * (height - h + 1)), int(across * (width - w + 1)), h, w
    return None
