"""What the steps of a pipeline do to images. The models are in `netdsl.data.augment.steps`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.data.augment.color import COLOR_DRAWS, LIGHTING_DRAWS, color, lighting
from netdsl.data.augment.cover import ERASE_DRAWS, erase
from netdsl.data.augment.geometry import geometry
from netdsl.data.augment.pipeline import Pipeline
from netdsl.data.augment.sample import sample
from netdsl.data.augment.steps import Augmentation, Color, Erase, Lighting
from netdsl.data.counter import uniforms
from netdsl.data.errors import DataError

Floats = NDArray[np.float32]

TOLERANCE = 1e-3
"""How far values may lie beyond black (0) and white (1) where colours are changed."""


def augment(
    images: NDArray[Any],
    pipeline: Pipeline,
    numbers: NDArray[np.int64],
    seed: int = 0,
    epoch: int = 0,
    *,
    view: tuple[int, int] | None = None,
    name: Callable[[int], str] = str,
) -> Floats:
    """Images of one size, uint8 or float32 of shape (N, H, W, C), through the steps that work on single images.

    Returns float32 of shape (C, N, H', W'), 8-bit values divided by 255. `numbers` are the images' numbers in their
    dataset: an image's random numbers follow from (seed, epoch, its number) alone, so that the images beside it change
    nothing, not even a bit. `view` is the size of the middle part that a first run of geometric steps starts from: they
    may bring in what lies around it. Raises DataError for a step that does not fit the images, which `name` names.
    """
    planes: NDArray[Any] = images.transpose(3, 0, 1, 2)
    is_ours = False  # the steps behind the first change an array of ours in place
    for run in pipeline.runs:
        if run.is_geometric:
            size = (planes.shape[2], planes.shape[3])
            maps, size = geometry(run.steps, run.first, size, numbers, seed, epoch, view)
            planes = sample(planes, maps, size, run.border)
        else:
            assert view is None
            planes = _one(planes if is_ours else unit(planes), run.steps[0], numbers, seed, epoch, run.first, name)
        view, is_ours = None, True
    return planes if is_ours else unit(planes)


def unit(planes: NDArray[Any]) -> Floats:
    """8-bit values with white at 1, others as they are, as a new C-contiguous array of float32."""
    result = np.array(planes, np.float32, order="C")
    if planes.dtype == np.uint8:
        result /= np.float32(255)
    return result


def _one(
    planes: Floats,
    step: Augmentation,
    numbers: NDArray[np.int64],
    seed: int,
    epoch: int,
    stream: int,
    name: Callable[[int], str],
) -> Floats:
    if isinstance(step, Erase):
        u = uniforms(seed, epoch, numbers, stream, ERASE_DRAWS)
        return erase(planes, step, u, numbers, seed, epoch, stream)
    _require_range(planes, step, numbers, name)
    if isinstance(step, Color):
        return color(planes, step, uniforms(seed, epoch, numbers, stream, COLOR_DRAWS))
    assert isinstance(step, Lighting)
    if len(planes) != 3:
        raise gray_lighting(step)
    return lighting(planes, step, uniforms(seed, epoch, numbers, stream, LIGHTING_DRAWS))


def gray_lighting(step: Lighting) -> DataError:
    """The error for a change of light of gray images."""
    message = f"`{step}` moves along the main colours of photographs, the images are gray"
    return DataError("E0913", message, "color(brightness = 0.2) changes the light of gray images")


def _require_range(planes: Floats, step: Augmentation, numbers: NDArray[np.int64], name: Callable[[int], str]) -> None:
    least, most = planes.min(), planes.max()
    if least >= -TOLERANCE and most <= 1 + TOLERANCE:
        return
    for n, number in enumerate(numbers.tolist()):
        image = planes[:, n]
        if image.min() < -TOLERANCE or image.max() > 1 + TOLERANCE:
            message = f"`{step}` works on values from 0 (black) to 1 (white); {name(number)} holds {image.min():g} to "
            help = "say which value is white: arrays(..., white = 255); `normalize` in `preprocess` comes afterwards"
            raise DataError("E0913", f"{message}{image.max():g}", help)
