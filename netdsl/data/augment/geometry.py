"""What each geometric step draws, as affine maps. One file with all of them: each is a few lines.

`u` are uniform numbers in [0, 1) of shape (draws, N); `size` is (height, width) before the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.data.augment import affine, steps
from netdsl.data.augment.affine import Maps, Numbers
from netdsl.data.counter import uniforms

Uniforms = NDArray[np.float64]
Size = tuple[int, int]

TRIES = 10
"""How often a box that does not fit is drawn again."""


class Kind(NamedTuple):
    """How many uniform numbers a step takes for each image, and what it makes of them."""

    draws: int
    maps: Callable[[Any, Uniforms, Size], tuple[Maps, Size]]


def geometry(
    run: tuple[steps.Augmentation, ...],
    first: int,
    size: Size,
    numbers: NDArray[np.int64],
    seed: int,
    epoch: int,
    view: Size | None = None,
) -> tuple[Maps, Size]:
    """The composed maps of a run of geometric steps, from the result to the source, and the size of the result.

    `first` is the place of the first step in its pipeline: each step draws from a stream of its own. `view` is the size
    of the middle part of the source that the first step sees.
    """
    maps = affine.identity(len(numbers))
    if view is not None:
        top, left = (np.full(len(numbers), float(_center(*both))) for both in zip(size, view, strict=True))
        maps, size = affine.shift(left, top), view
    for place, step in enumerate(run, first):
        kind = KINDS[type(step)]
        step_maps, size = kind.maps(step, uniforms(seed, epoch, numbers, place, kind.draws), size)
        maps = maps.then(step_maps)
    return maps, size


def _center(extent: int, crop: int) -> int:
    """Where `center_crop` begins: as in netdsl/images/apply.py, in front of the image where that is smaller."""
    return round((extent - crop) / 2) if crop <= extent else -((crop - extent) // 2)


def _middle(size: Size) -> tuple[float, float]:
    return (size[1] - 1) / 2, (size[0] - 1) / 2


def between(u: Numbers, least: float, most: float) -> Numbers:
    return least + u * (most - least)


def _flip(step: steps.RandomFlip, u: Uniforms, size: Size) -> tuple[Maps, Size]:
    return affine.mirror(size[1], True, u[0] < step.probability), size


def _vertical_flip(step: steps.RandomVerticalFlip, u: Uniforms, size: Size) -> tuple[Maps, Size]:
    return affine.mirror(size[0], False, u[0] < step.probability), size


def _crop(step: steps.RandomCrop, u: Uniforms, size: Size) -> tuple[Maps, Size]:
    crop = pair(step.size)
    corner = []
    for draw, extent, wanted in zip(u, size, crop, strict=True):
        ends = sorted((-step.padding, extent + step.padding - wanted))
        corner.append(ends[0] + np.floor(draw * (ends[1] - ends[0] + 1)))
    return affine.shift(corner[1], corner[0]), crop


def _resized_crop(step: steps.RandomResizedCrop, u: Uniforms, size: Size) -> tuple[Maps, Size]:
    crop = pair(step.size)
    boxes = np.array([_try_boxes(column, size, step) for column in u.T.tolist()])
    top, left, height, width = boxes.T
    return affine.box(left, top, width, height, crop), crop


def _try_boxes(u: list[float], size: Size, step: steps.RandomResizedCrop) -> tuple[int, int, int, int]:
    """Top, left, height, width of the first of ten boxes that fits; else of the largest one in the middle."""
    height, width = size
    for place in range(0, 4 * TRIES, 4):
        area, ratio, down, across = u[place : place + 4]
        found = shape_of(area, ratio, height * width, step.scale, step.ratio)
        if 0 < found[0] <= width and 0 < found[1] <= height:
            w, h = found
            return int(down * (height - h + 1)), int(across * (width - w + 1)), h, w
    if width / height < step.ratio[0]:
        w, h = width, min(height, round(width / step.ratio[0]))
    elif width / height > step.ratio[1]:
        w, h = min(width, round(height * step.ratio[1])), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def shape_of(
    u: float, v: float, area: float, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int]:
    """A pair of extents whose product is a part of `area` in the range `scale`, and whose quotient is in `ratio`."""
    part = area * (scale[0] + u * (scale[1] - scale[0]))
    low, high = math.log(ratio[0]), math.log(ratio[1])
    quotient = math.exp(low + v * (high - low))
    return round(math.sqrt(part * quotient)), round(math.sqrt(part / quotient))


def _rotate(step: steps.Rotate, u: Uniforms, size: Size) -> tuple[Maps, Size]:
    least, most = step.degrees if isinstance(step.degrees, tuple) else (-step.degrees, step.degrees)
    maps = affine.rotation(between(u[1], least, most), _middle(size))
    return maps.where(u[0] < step.probability), size


def _shear(step: steps.Shear, u: Uniforms, size: Size) -> tuple[Maps, Size]:
    across = between(u[1], -step.degrees, step.degrees)
    down = between(u[2], -step.vertical, step.vertical)
    return affine.slant(across, down, _middle(size)).where(u[0] < step.probability), size


def _translate(step: steps.Translate, u: Uniforms, size: Size) -> tuple[Maps, Size]:
    most_x = step.fraction * size[1]
    most_y = (step.fraction if step.vertical is None else step.vertical) * size[0]
    left, top = np.rint(between(u[1], -most_x, most_x)), np.rint(between(u[2], -most_y, most_y))
    return affine.shift(left, top).where(u[0] < step.probability), size


def _scale(step: steps.Scale, u: Uniforms, size: Size) -> tuple[Maps, Size]:
    return affine.zoom(between(u[1], step.least, step.most), _middle(size)).where(u[0] < step.probability), size


def pair(size: int | Size) -> Size:
    return (size, size) if isinstance(size, int) else size


KINDS: dict[type[steps.Augmentation], Kind] = {
    steps.RandomFlip: Kind(1, _flip),
    steps.RandomVerticalFlip: Kind(1, _vertical_flip),
    steps.RandomCrop: Kind(2, _crop),
    steps.RandomResizedCrop: Kind(4 * TRIES, _resized_crop),
    steps.Rotate: Kind(2, _rotate),
    steps.Shear: Kind(3, _shear),
    steps.Translate: Kind(3, _translate),
    steps.Scale: Kind(2, _scale),
}
