"""Sampling a batch of images through affine maps, once.

Planes have shape (C, N, H, W): uint8 with white at 255, or float32. Results are float32, those of uint8 divided by 255.
Five cases, by what the map of an image is:

1. whole pixels, mirrored or not: the pixels are copied, exactly;
2. straight (no turn, no slant), within the image, and shrinking: Pillow's resize of the box, which is antialiased;
3. straight, within the image, not shrinking: bilinear interpolation, at the edges of the image with its last pixels;
4. it shrinks by more than SHRINK: the part that is looked at is resized first, until little shrinking is left, then 5;
5. bilinear interpolation between the four nearest pixels, and the border beyond the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netdsl.data.augment.affine import Maps
from netdsl.data.augment.bilinear import bilinear
from netdsl.data.augment.borders import fill_of, folded

Planes = NDArray[Any]
Floats = NDArray[np.float32]
Size = tuple[int, int]
Border = tuple[str, float]

SHRINK = 1.5
"""How many source pixels may lie between two of the result before the source is made smaller first."""

CHUNK = 2**17
"""Pixels of results that are sampled at once: they and what is made on the way fit into a core's cache."""


def sample(planes: Planes, maps: Maps, size: Size, border: Border) -> Floats:
    """(C, N, H, W) -> float32 (C, N, *size). `border` is what lies beyond the image: (mode, fill from 0 to 1)."""
    channels, count, height, width = planes.shape
    straight = (maps.b == 0) & (maps.d == 0)
    unit = straight & (np.abs(maps.a) == 1) & (np.abs(maps.e) == 1)
    exact = unit & (maps.c == np.rint(maps.c)) & (maps.f == np.rint(maps.f))
    within = straight & _inside(maps.a, maps.c, size[1], width) & _inside(maps.e, maps.f, size[0], height)
    shrinks = np.maximum(np.hypot(maps.a, maps.b), np.hypot(maps.d, maps.e)) > SHRINK
    smaller = np.maximum(np.abs(maps.a), np.abs(maps.e)) > 1
    resized, smooth, shrunk = within & smaller & ~exact, within & ~smaller & ~exact, shrinks & ~within & ~exact
    general = ~(exact | resized | smooth | shrunk)
    result = np.empty((channels, count, *size), np.float32)
    for some in _chunks(exact, size):
        result[:, some] = _copied(planes[:, some], maps.of_some(some), size, border)
    for n in map(int, np.flatnonzero(resized)):
        result[:, n] = _resized(planes[:, n], maps.of(n), size)
    for n in map(int, np.flatnonzero(shrunk)):
        result[:, n : n + 1] = bilinear(*_shrunk(planes[:, n : n + 1], maps.of(n), size, border), size, border)
    for chosen, beyond in ((smooth, ("edge", 0.0)), (general, border)):
        for some in _chunks(chosen, size):
            part, there = planes[:, some], maps.of_some(some)
            if part.shape[1] == count:
                bilinear(part, there, size, beyond, out=result)
            else:
                result[:, some] = bilinear(part, there, size, beyond)
    if planes.dtype == np.uint8:
        result /= np.float32(255)
    return result


def _chunks(chosen: NDArray[np.bool_], size: Size) -> Iterator[slice | NDArray[np.intp]]:
    """The chosen images, as many at once as fit into the cache; a slice where they are neighbours."""
    images = np.flatnonzero(chosen)
    step = max(1, CHUNK // (size[0] * size[1]))
    for start in range(0, len(images), step):
        some = images[start : start + step]
        yield slice(some[0], some[-1] + 1) if some[-1] - some[0] == len(some) - 1 else some


def _inside(scale: NDArray[np.float64], start: NDArray[np.float64], made: int, extent: int) -> NDArray[np.bool_]:
    """Whether the edges of a straight result lie on or within the edges of its source, along one axis."""
    one, other = start + 0.5 - scale / 2, start + 0.5 + scale * (made - 0.5)
    near: NDArray[np.bool_] = (np.minimum(one, other) >= -1e-6) & (np.maximum(one, other) <= extent + 1e-6)
    return near


Coefficients = tuple[float, float, float, float, float, float]


def _copied(planes: Planes, maps: Maps, size: Size, border: Border) -> Planes:
    """Whole pixels: rows and columns by themselves; (C, N, H, W) -> (C, N, *size)."""
    channels, count, height, width = planes.shape
    a, c, e, f = (part.astype(np.intp)[:, None] for part in (maps.a, maps.c, maps.e, maps.f))
    rows, columns = e * np.arange(size[0]) + f, a * np.arange(size[1]) + c
    mode, fill = border
    y, x = folded(rows, height, mode), folded(columns, width, mode)
    top, left = y.min(), x.min()
    part = np.ascontiguousarray(planes[:, :, top : y.max() + 1, left : x.max() + 1])
    starts = (y - top + part.shape[2] * np.arange(count)[:, None]) * part.shape[3]
    index = starts[:, :, None] + (x - left)[:, None, :]
    result: Planes = part.reshape(channels, -1).take(index, axis=1)
    if mode == "constant":
        beyond = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None, :]
        if beyond.any():
            result[:, beyond] = fill_of(planes.dtype, fill)
    return result


def _resized(plane: Planes, map: Coefficients, size: Size) -> Planes:
    """Pillow's resize of a box. One whose edges lie between pixels is cut out first, as torchvision does."""
    a, _, c, _, e, f = map
    height, width = plane.shape[1:]
    left, right = _edges(a, c, size[1], width)
    top, bottom = _edges(e, f, size[0], height)
    x0, x1, y0, y1 = int(left), math.ceil(right), int(top), math.ceil(bottom)
    cut = plane[:, y0:y1, x0:x1]
    box = None
    if (left, top, right, bottom) != (x0, y0, x1, y1):
        # Pixels around the box may be read by the filter, as far as it reaches.
        reach_x, reach_y = math.ceil(abs(a)) + 1, math.ceil(abs(e)) + 1
        x0, y0 = max(0, x0 - reach_x), max(0, y0 - reach_y)
        cut = plane[:, y0 : y1 + reach_y, x0 : x1 + reach_x]
        box = (left - x0, top - y0, right - x0, bottom - y0)
    result = _resize(cut, size, box)
    return result[:, :: 1 if e > 0 else -1, :: 1 if a > 0 else -1]


def _edges(scale: float, start: float, made: int, extent: int) -> tuple[float, float]:
    """Where both edges of a straight result lie, from the edge of the source; whole numbers where they nearly are."""
    found = sorted((start + 0.5 - scale / 2, start + 0.5 + scale * (made - 0.5)))
    near = [float(round(edge)) if abs(edge - round(edge)) < 1e-6 else edge for edge in found]
    return max(0.0, near[0]), min(float(extent), near[1])


def _resize(planes: Planes, size: Size, box: tuple[float, float, float, float] | None) -> Planes:
    """(C, H, W) -> (C, *size) by Pillow's antialiasing triangle filter."""
    filter, target = Image.Resampling.BILINEAR, (size[1], size[0])
    images = (Image.fromarray(np.ascontiguousarray(plane)) for plane in planes)
    return np.stack([np.asarray(image.resize(target, filter, box)) for image in images])


def _shrunk(planes: Planes, map: Coefficients, size: Size, border: Border) -> tuple[Planes, Maps]:
    """The part of one image that a result looks at, made smaller so that little shrinking is left, and the map into it.

    What is looked at: the result's corners, and some pixels around them; the whole image where it is mirrored at its
    edges.
    """
    a, b, c, d, e, f = map
    height, width = planes.shape[2:]
    corners = [(x, y) for x in (-0.5, size[1] - 0.5) for y in (-0.5, size[0] - 0.5)]
    x0, x1, across = _part([a * x + b * y + c for x, y in corners], max(1.0, math.hypot(a, b)), width, border)
    y0, y1, down = _part([d * x + e * y + f for x, y in corners], max(1.0, math.hypot(d, e)), height, border)
    smaller = _resize(planes[:, 0, y0:y1, x0:x1], (down, across), None)[:, None]
    u, v = (x1 - x0) / across, (y1 - y0) / down
    there = (a / u, b / u, (c - x0 + 0.5) / u - 0.5, d / v, e / v, (f - y0 + 0.5) / v - 0.5)
    return smaller, Maps(*(np.array([part]) for part in there))


def _part(corners: list[float], factor: float, extent: int, border: Border) -> tuple[int, int, int]:
    """Along one axis: the first and last pixel that is looked at, and to how many pixels they are made."""
    margin = 2 * factor + 1
    first, last = math.floor(min(corners) - margin), math.ceil(max(corners) + margin) + 1
    beyond = first < 0 or last > extent
    if beyond and (border[0] in ("reflect", "symmetric") or last <= 0 or first >= extent):
        first, last = 0, extent
    first, last = max(0, first), min(extent, last)
    return first, last, max(1, round((last - first) / factor))
