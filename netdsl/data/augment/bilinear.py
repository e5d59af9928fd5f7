"""Bilinear interpolation of a batch through affine maps.

    value = (1 - v) ((1 - u) p[y, x] + u p[y, x + 1]) + v ((1 - u) p[y + 1, x] + u p[y + 1, x + 1])

for the coordinates x + u, y + v with whole x, y and u, v in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.data.augment.affine import Maps, Numbers
from netdsl.data.augment.borders import fill_of, folded
from netdsl.data.augment.scratch import scratch

Floats = NDArray[np.float32]

_EXACT = 2**24
"""Whole numbers up to this are exact in float32."""


def bilinear(
    planes: NDArray[Any], maps: Maps, size: tuple[int, int], border: tuple[str, float], out: Floats | None = None
) -> Floats:
    """(C, N, H, W) -> float32 (C, N, *size), in the units of the planes; into `out` if it is given.

    With a constant border an image fades into it over one pixel, as if the border's pixels stood around it.
    """
    mode, fill = border
    # In coordinates that count from a rim of border pixels, where there is one.
    rim = int(mode == "constant")
    shape = (planes.shape[1], *size)
    xs, ys = np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64)
    u, v, x, y = (scratch(name, shape) for name in "uvxy")
    _coordinates(maps.a, maps.b, maps.c + rim, xs, ys, u)
    _coordinates(maps.d, maps.e, maps.f + rim, xs, ys, v)
    _split(u, planes.shape[3] + 2 * rim, mode, x)
    _split(v, planes.shape[2] + 2 * rim, mode, y)
    # Only the part that is looked at is made ready. Whole numbers are exact, so this changes no bit.
    top, left = int(y.min()), int(x.min())
    part = _part(planes, top - rim, int(y.max()) + 2 - rim, left - rim, int(x.max()) + 2 - rim, mode, fill)
    channels, count, height, width = part.shape
    x -= left
    y -= top
    index = scratch("index", shape, np.intp)
    if height * width <= _EXACT:
        y *= width
        y += x
        index[...] = y
    else:
        index[...] = y
        index *= width
        index += x.astype(np.intp)
    if count > 1:
        index += (np.arange(count) * (height * width))[:, None, None]
    result = np.empty((channels, *shape), np.float32) if out is None else out
    for plane, made in zip(part.reshape(channels, -1), result, strict=True):
        # A pixel's neighbours lie 1, width, and width + 1 behind it. `x` is not needed any more.
        _between(plane, plane[1:], index, u, made)
        _between(plane[width:], plane[width + 1 :], index, u, x)
        x -= made
        x *= v
        made += x
    return result


def _part(planes: NDArray[Any], top: int, bottom: int, left: int, right: int, mode: str, fill: float) -> Floats:
    """Rows and columns of the planes as float32; those beyond hold the border, or the last pixels."""
    channels, count, height, width = planes.shape
    result = scratch("planes", (channels, count, bottom - top, right - left))
    y0, y1, x0, x1 = max(0, top), min(height, bottom), max(0, left), min(width, right)
    if (y0, y1, x0, x1) != (top, bottom, left, right):
        if mode != "constant":
            rows, columns = np.arange(top, bottom).clip(0, height - 1), np.arange(left, right).clip(0, width - 1)
            result[...] = planes[:, :, rows[:, None], columns]
            return result
        result[...] = fill_of(planes.dtype, fill)
    if y0 < y1 and x0 < x1:
        result[:, :, y0 - top : y1 - top, x0 - left : x1 - left] = planes[:, :, y0:y1, x0:x1]
    return result


def _coordinates(
    across: Numbers, down: Numbers, start: Numbers, xs: NDArray[Any], ys: NDArray[Any], out: Floats
) -> None:
    """across x + down y + start for every pixel of every image; shape (N, rows, columns)."""
    columns = across[:, None] * xs
    rows = down[:, None] * ys + start[:, None]
    np.add(rows.astype(np.float32)[:, :, None], columns.astype(np.float32)[:, None, :], out=out)


def _split(places: Floats, extent: int, mode: str, whole: NDArray[Any]) -> None:
    """Writes the pixel in front of each coordinate to `whole`, never the last one of several.

    What is left of the coordinate is how far it lies behind that pixel.
    """
    folded(places, extent, mode, places)
    np.minimum(places, np.float32(max(0, extent - 2)), out=whole)
    np.floor(whole, out=whole)
    places -= whole


def _between(first: Floats, second: Floats, index: NDArray[np.intp], part: Floats, result: Floats) -> None:
    """(1 - part) first[index] + part second[index]"""
    # Nothing is beyond the planes, so nothing is clipped; with other modes a copy of the result would be made.
    start = first.take(index, out=scratch("start", index.shape), mode="clip")
    second.take(index, out=result, mode="clip")
    result -= start
    result *= part
    result += start
