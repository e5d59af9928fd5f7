"""Bilinear interpolation of a batch through affine maps.

    value = (1 - v) ((1 - u) p[y, x] + u p[y, x + 1]) + v ((1 - u) p[y + 1, x] + u p[y + 1, x + 1])

for the coordinates x + u, y + v with whole x, y and u, v in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.data.augment.affine import Maps
from netdsl.data.augment.borders import fill_of, folded


def bilinear(planes: NDArray[Any], maps: Maps, size: tuple[int, int], border: tuple[str, float]) -> NDArray[np.float32]:
    """(C, N, H, W) -> float32 (C, N, *size), in the units of the planes.

    With a constant border an image fades into it over one pixel, as if the border's pixels stood around it.
    """
    mode, fill = border
    channels, count = planes.shape[:2]
    xs, ys = np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64)
    x = _coordinates(maps.a, maps.b, maps.c, xs, ys)
    y = _coordinates(maps.d, maps.e, maps.f, xs, ys)
    if mode == "constant":
        value = fill_of(planes.dtype, fill)
        planes = np.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=value)
        x += np.float32(1)
        y += np.float32(1)
    elif planes.shape[2] == 1 or planes.shape[3] == 1:
        planes = np.pad(planes, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge")
    height, width = planes.shape[2:]
    whole_x, u = _split(folded(x, width, mode), width)
    whole_y, v = _split(folded(y, height, mode), height)
    index = whole_y * width + whole_x
    index += (np.arange(count) * (height * width))[:, None, None]
    flat = np.ascontiguousarray(planes).reshape(channels, -1)
    result = np.empty((channels, count, *size), np.float32)
    # Image by image planes stay in the cache; the corners beside a pixel lie 1, width and width + 1 behind it.
    for channel in range(channels):
        plane = flat[channel]
        above = _between(plane, index, 1, u)
        index += width
        below = _between(plane, index, 1, u)
        index -= width
        below -= above
        below *= v
        np.add(above, below, out=result[channel])
    return result


def _coordinates(
    across: NDArray[np.float64],
    down: NDArray[np.float64],
    start: NDArray[np.float64],
    xs: NDArray[Any],
    ys: NDArray[Any],
) -> NDArray[np.float32]:
    """across x + down y + start for every pixel of every image; shape (N, rows, columns)."""
    columns = across[:, None] * xs
    rows = down[:, None] * ys + start[:, None]
    places: NDArray[np.float32] = rows.astype(np.float32)[:, :, None] + columns.astype(np.float32)[:, None, :]
    return places


def _split(places: NDArray[np.float32], extent: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The pixel in front of each coordinate, never the last one, and how far behind it the coordinate lies."""
    whole = np.minimum(places, np.float32(extent - 2)).astype(np.intp)
    places -= whole
    return whole, places


def _between(plane: NDArray[Any], index: NDArray[np.intp], step: int, part: NDArray[np.float32]) -> NDArray[np.float32]:
    """Between each pixel and the one `step` behind it."""
    first = plane.take(index).astype(np.float32, copy=False)
    index += step
    second = plane.take(index).astype(np.float32, copy=False)
    index -= step
    second -= first
    second *= part
    second += first
    return second
