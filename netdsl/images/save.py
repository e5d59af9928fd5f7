"""Activations and outputs as files: pictures to look at, arrays to compute with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netdsl.atomic import replacing
from netdsl.images.errors import ImageError


class Range(NamedTuple):
    """Which values a picture shows as black and as white."""

    black: float
    white: float


def save_map(path: str | os.PathLike[str], array: NDArray[Any], *, range: Range | None = None) -> Range | None:
    """Writes a tensor into a `.npy` or `.png` file, in full or not at all.

    `.npy` holds the array as it is. `.png` shows one image: (H, W), (C, H, W) or (1, C, H, W) with 1 or 3 channels, in
    8 bits. Values in [0, 1] are shown as they are, 1 as white; any others are stretched, the smallest to black and the
    largest to white; `range` sets both ends instead, and values beyond them are clipped. Returns what was shown as
    black and as white, None for an array. Raises ImageError.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".png"):
        raise ImageError("E0727", f"cannot write {path}: the suffix says the format, .png or .npy")
    ends = None
    if suffix == ".png":
        image, ends = picture(array, range)
    try:
        with replacing(path) as temporary:
            if suffix == ".png":
                image.save(temporary, format="PNG")
            else:
                with temporary.open("wb") as file:
                    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    except OSError as error:
        raise ImageError("E0727", f"cannot write {path}: {error.strerror or error}") from None
    return ends


def picture(array: NDArray[Any], range: Range | None = None) -> tuple[Image.Image, Range]:
    """A tensor as an 8-bit image, and what it shows as black and white; see `save_map`. Raises ImageError."""
    array = np.asarray(array)
    image = array[0] if array.ndim == 4 and len(array) == 1 else array
    image = image[None] if image.ndim == 2 else image
    if image.ndim != 3 or len(image) not in (1, 3) or 0 in image.shape:
        raise ImageError(
            "E0727",
            f"a picture has 1 or 3 channels, the tensor has shape ({', '.join(map(str, array.shape))})",
            "write it as a .npy array",
        )
    if not np.isfinite(image).all():
        raise ImageError(
            "E0727", "the tensor holds NaN or infinity, which no picture shows", "write it as a .npy array"
        )
    values = image.astype(np.float64)
    smallest, largest = float(values.min()), float(values.max())
    if range is None:
        range = Range(0.0, 1.0) if smallest >= 0 and largest <= 1 else Range(smallest, largest)
    span = range.white - range.black
    shown = (values - range.black) / span if span else np.zeros_like(values)
    pixels = np.rint(shown.clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))), range
