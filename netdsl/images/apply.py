"""What the preprocessing steps do. The models are in `netdsl.images.steps`.

Legend: C channels, H height, W width. A picture is a Pillow image of 8 bits (mode L or RGB), or a float32 array of
shape (C, H, W) with black at 0 and white at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from netdsl.images import steps as vocabulary
from netdsl.images.errors import ImageError
from netdsl.images.steps import Step

Array = NDArray[np.float32]
Picture = Image.Image | Array

MAX_PIXELS = 100_000_000
"""Most pixels of a picture, decoded or made by a step."""

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
_STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5,), (0.5,)),
    "caffe": ((103.939, 116.779, 123.68), (1.0,)),
}
_LUMA = np.array([0.299, 0.587, 0.114], np.float32).reshape(3, 1, 1)


def preprocess(picture: Picture, steps: Sequence[Step], max_pixels: int = MAX_PIXELS) -> Array:
    """Runs the steps in order and returns float32 of shape (C, H, W). Raises ImageError."""
    return to_array(run_steps(picture, steps, max_pixels))


def run_steps(picture: Picture, steps: Sequence[Step], max_pixels: int = MAX_PIXELS) -> Picture:
    """Runs the steps in order; a picture of 8 bits stays one as long as they only move and mix pixels.

    Raises ImageError.
    """
    for step in steps:
        try:
            picture = _APPLY[type(step)](picture, step, max_pixels)
        except ImageError as error:
            message = f"`{step}` on an image of {described(picture)}: {error.message}"
            raise ImageError(error.code, message, error.help) from None
    return picture


def to_array(picture: Picture) -> Array:
    """Float32 of shape (C, H, W); the 8-bit values of an image are divided by 255."""
    if not isinstance(picture, Image.Image):
        return picture
    values = np.asarray(picture)
    values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    result = np.ascontiguousarray(values, dtype=np.float32)
    result /= np.float32(255)
    return result


def size_of(picture: Picture) -> tuple[int, int]:
    """Height and width."""
    if isinstance(picture, Image.Image):
        return picture.height, picture.width
    return picture.shape[1], picture.shape[2]


def channels_of(picture: Picture) -> int:
    return len(picture.getbands()) if isinstance(picture, Image.Image) else len(picture)


def described(picture: Picture) -> str:
    """The shape of a picture as a spec would write it: channels x height x width."""
    return "x".join(map(str, (channels_of(picture), *size_of(picture))))


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _require_pixels(height: int, width: int, most: int) -> None:
    if height * width > most:
        raise ImageError("E0723", f"it would become {height}x{width}, more than {most:_} pixels")


def _resize(picture: Picture, step: Step, most: int) -> Picture:
    assert isinstance(step, vocabulary.Resize)
    height, width = size_of(picture)
    if isinstance(step.size, tuple):
        new_height, new_width = step.size
    else:
        longer = int(step.size * max(height, width) / min(height, width))
        new_height, new_width = (longer, step.size) if width <= height else (step.size, longer)
    if (new_height, new_width) == (height, width):
        return picture
    _require_pixels(new_height, new_width, most)
    size, how = (new_width, new_height), _FILTERS[step.interpolation]
    if isinstance(picture, Image.Image):
        return picture.resize(size, how)
    return np.stack([np.asarray(Image.fromarray(channel).resize(size, how)) for channel in picture])


def _center_crop(picture: Picture, step: Step, most: int) -> Picture:
    assert isinstance(step, vocabulary.CenterCrop)
    crop_height, crop_width = _pair(step.size)
    height, width = size_of(picture)
    _require_pixels(max(crop_height, height), max(crop_width, width), most)
    above, left = max(crop_height - height, 0) // 2, max(crop_width - width, 0) // 2
    padded = _pasted(picture, (max(crop_height, height), max(crop_width, width)), (above, left), 0)
    height, width = size_of(padded)
    top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
    if isinstance(padded, Image.Image):
        return padded.crop((left, top, left + crop_width, top + crop_height))
    return padded[:, top : top + crop_height, left : left + crop_width]


def _pad_to(picture: Picture, step: Step, most: int) -> Picture:
    assert isinstance(step, vocabulary.PadTo)
    new_height, new_width = _pair(step.size)
    height, width = size_of(picture)
    if new_height < height or new_width < width:
        raise ImageError(
            "E0725", f"it is larger than {new_height}x{new_width}", f"put `resize({new_height}x{new_width})` before"
        )
    _require_pixels(new_height, new_width, most)
    return _pasted(picture, (new_height, new_width), ((new_height - height) // 2, (new_width - width) // 2), step.value)


def _pasted(picture: Picture, size: tuple[int, int], corner: tuple[int, int], value: float) -> Picture:
    """The picture on a canvas of `size`, with its first pixel at `corner`; `value` in [0, 1] surrounds it."""
    if size == size_of(picture):
        return picture
    if isinstance(picture, Image.Image):
        color = round(value * 255)
        canvas = Image.new(picture.mode, (size[1], size[0]), color if picture.mode == "L" else (color,) * 3)
        canvas.paste(picture, (corner[1], corner[0]))
        return canvas
    height, width = size_of(picture)
    array = np.full((len(picture), *size), value, np.float32)
    array[:, corner[0] : corner[0] + height, corner[1] : corner[1] + width] = picture
    return array


def _grayscale(picture: Picture, step: Step, most: int) -> Picture:
    assert isinstance(step, vocabulary.Grayscale)
    if isinstance(picture, Image.Image):
        gray = picture.convert("L")
        return gray if step.channels == 1 else Image.merge("RGB", (gray,) * 3)
    mixed = picture[:1] if len(picture) == 1 else (picture * _LUMA).sum(axis=0, keepdims=True)
    return np.repeat(mixed, step.channels, axis=0)


def _invert(picture: Picture, step: Step, most: int) -> Picture:
    return ImageOps.invert(picture) if isinstance(picture, Image.Image) else 1 - picture


def _normalize(picture: Picture, step: Step, most: int) -> Picture:
    assert isinstance(step, vocabulary.Normalize)
    x = to_array(picture)
    mean: Sequence[float]
    std: Sequence[float]
    if step.statistics is not None:
        mean, std = _STATISTICS[step.statistics]
    else:
        mean, std = _sequence(step.mean), _sequence(1.0 if step.std is None else step.std)
    for values, name in ((mean, "means"), (std, "deviations")):
        if len(values) not in (1, len(x)):
            raise ImageError("E0725", f"there are {len(values)} {name} for {_count(len(x))}")
    if step.statistics == "caffe":
        x = x[::-1] * np.float32(255)
    centered: Array = x - _column(mean)
    centered /= _column(std)
    return centered


def _rescale(picture: Picture, step: Step, most: int) -> Picture:
    assert isinstance(step, vocabulary.Rescale)
    return to_array(picture) * np.float32(step.scale) + np.float32(step.offset)


def _sequence(value: float | tuple[float, ...] | None) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (cast(float, value),)


def _column(values: Sequence[float]) -> Array:
    """One number for each channel, against (C, H, W)."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)


def _count(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


_APPLY: dict[type[Step], Callable[[Picture, Step, int], Picture]] = {
    vocabulary.Resize: _resize,
    vocabulary.CenterCrop: _center_crop,
    vocabulary.PadTo: _pad_to,
    vocabulary.Grayscale: _grayscale,
    vocabulary.Invert: _invert,
    vocabulary.Normalize: _normalize,
    vocabulary.Rescale: _rescale,
}
