"""From files to the arrays that a network reads.

Files are hostile until shown otherwise: only formats that Pillow decodes by itself (none that starts another program),
a bound on pixels before anything is unpacked, no pickles.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from netdsl.images.apply import MAX_PIXELS, Array, Picture, preprocess, size_of
from netdsl.images.errors import ImageError
from netdsl.images.steps import Step
from netdsl.ir.types import TensorType

FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""The formats that are read, by Pillow's names (MPO is what many cameras call their JPEG)."""

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".mpo", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".npy"}
)
"""Which files of a folder are inputs."""

MAX_ARRAY_BYTES = 4 * 2**30
"""Largest `.npy` input."""

MAX_NPY_HEADER_BYTES = 10_000

_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Pillow's modes of more than 8 bits; all of them are gray."""


def load_input(
    path: str | os.PathLike[str], type_: TensorType, steps: Sequence[Step] = (), *, max_pixels: int = MAX_PIXELS
) -> NDArray[Any]:
    """What a network with an input of `type_` reads from a file: float32 of shape (N, C, H, W).

    An image goes through `steps` and gives a batch of one. A `.npy` array is taken as it is, with or without a batch
    axis. Raises ImageError, also where the result does not fit `type_`.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        array = load_array(path)
        return array[None] if array.ndim == type_.rank else array
    if type_.rank != 3 or type_.channels not in (None, 1, 3):
        raise ImageError(
            "E0724",
            f"{path}: an image has 1 or 3 channels, height and width; the network wants {type_}",
            "pass a .npy array",
        )
    picture = decode(path, gray=type_.channels == 1, max_pixels=max_pixels)
    try:
        array = preprocess(picture, steps, max_pixels)
    except ImageError as error:
        raise ImageError(error.code, f"{path}: {error.message}", error.help) from None
    if not _fits(array.shape, type_):
        raise _wrong_size(path, picture, array, type_, steps)
    return array[None]


def _fits(shape: tuple[int, ...], type_: TensorType) -> bool:
    return all(wanted in (None, found) for found, wanted in zip(shape, type_.shape, strict=True))


def _wrong_size(path: Path, picture: Picture, array: Array, type_: TensorType, steps: Sequence[Step]) -> ImageError:
    if steps:
        chain = " -> ".join(map(str, steps))
        return ImageError(
            "E0724",
            f"{path} is {'x'.join(map(str, array.shape))} after `preprocess {chain}`, the network wants {type_}",
            "change the last sizes in `preprocess` to fit the input",
        )
    size = "x".join(map(str, size_of(picture)))
    message = f"{path} has {size} pixels (height x width), the network wants {type_} and its spec has no `preprocess`"
    _, height, width = type_.shape
    if height is None or width is None:
        return ImageError("E0724", message)
    if height == width:
        # Photographs are shown with a margin around the crop, as for ImageNet; small pictures as large as they can be.
        shorter = round(height * 256 / 224) if height >= 96 else height
        suggestion = f"resize({shorter}) -> center_crop({height})"
    else:
        suggestion = f"resize({height}x{width})"
    return ImageError("E0724", message, f"add to the network: preprocess {suggestion}")


def decode(path: str | os.PathLike[str], *, gray: bool = False, max_pixels: int = MAX_PIXELS) -> Picture:
    """The pixels of an image file, upright (EXIF orientation), transparency over white, the first frame.

    An image of 8 bits or fewer comes as a Pillow image, mode RGB, or L where `gray`. A gray one of more bits comes as
    float32 of shape (3 or 1, H, W): 16-bit values divided by 65535, floating-point ones as they are. Above about 178
    million pixels Pillow has a bound of its own, `PIL.Image.MAX_IMAGE_PIXELS`. Raises ImageError.
    """
    path = Path(path)
    _require_file(path)
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # a Pillow may be built without some
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of many pixels and of odd metadata; pixels are counted here
            with Image.open(path, formats=formats) as image:
                _require_pixels(path, image, max_pixels)
                image.load()
                return _deep(path, image, gray) if image.mode in _DEEP else _upright(_eight_bit(image, gray), image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            "E0722", f"{path} is not an image that netdsl reads", f"formats: {', '.join(FORMATS)}, and .npy arrays"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError("E0723", f"{path}: {error}", "PIL.Image.MAX_IMAGE_PIXELS raises Pillow's own limit") from None
    except PermissionError:
        raise ImageError("E0721", f"cannot read {path}: permission denied") from None
    except Exception as error:  # decoders meet damage in many ways, with errors of as many classes
        raise ImageError("E0722", f"{path} is damaged or truncated: {error}") from None


def _require_pixels(path: Path, image: Image.Image, most: int) -> None:
    if image.width * image.height > most:
        raise ImageError(
            "E0723",
            f"{path} has {image.width} x {image.height} pixels, more than the limit of {most:_}",
            "if you trust the file, raise the limit: max_pixels",
        )


def _eight_bit(image: Image.Image, gray: bool) -> Image.Image:
    """Any mode of 8 bits or fewer as L or RGB; what is transparent shows white."""
    mode = "L" if gray else "RGB"
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(canvas, layer)
    return image.convert("RGB").convert(mode) if image.mode not in ("L", "1") else image.convert(mode)


def _upright(converted: Image.Image, original: Image.Image) -> Image.Image:
    """The converted image turned as the camera was held. Orientation that cannot be read turns nothing."""
    try:
        transposition = _TURNS.get(int(original.getexif().get(_ORIENTATION, 1)))
    except Exception:
        return converted
    return converted if transposition is None else converted.transpose(transposition)


_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation -> what sets the image upright (Exif 2.32, section 4.6.4)."""


def _deep(path: Path, image: Image.Image, gray: bool) -> Array:
    """Gray of more than 8 bits as float32 in [0, 1]."""
    values = np.asarray(_upright(image, image), dtype=np.float32)
    if image.mode != "F":
        values = values / np.float32(65535)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise ImageError(
            "E0722",
            f"{path} holds values from {values.min():g} to {values.max():g}, beyond black (0) and white (1)",
            "scale it, or pass it as a .npy array",
        )
    return np.repeat(values[None], 1 if gray else 3, axis=0)


def load_array(path: str | os.PathLike[str], *, max_bytes: int = MAX_ARRAY_BYTES) -> NDArray[Any]:
    """The array of a `.npy` file. Raises ImageError."""
    path = Path(path)
    _require_file(path)
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = header(file, max_header_size=MAX_NPY_HEADER_BYTES)
            claimed, there = int(np.prod(shape, dtype=object)) * dtype.itemsize, path.stat().st_size - file.tell()
            if dtype.hasobject:
                raise ImageError("E0726", f"{path} holds Python objects, which netdsl does not unpickle")
            if claimed != there:
                raise ImageError(
                    "E0726", f"{path} is damaged: {shape} of {dtype} takes {claimed:_} bytes, {there:_} are there"
                )
            if claimed > max_bytes:
                raise ImageError("E0723", f"{path} holds {claimed:_} bytes, and the limit is {max_bytes:_}")
            file.seek(0)
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False, max_header_size=MAX_NPY_HEADER_BYTES)
            return array
    except (ImageError, MemoryError):
        raise
    except OSError as error:
        raise ImageError("E0721", f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # NumPy evaluates the header as Python text, so nonsense raises errors of many classes
        raise ImageError("E0726", f"{path} is not a .npy array: {error}") from None


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise ImageError("E0721", f"{path} is a folder, not an image")
    if not path.is_file():
        raise ImageError(
            "E0721", f"cannot read {path}: {'it is no file' if path.exists() else 'there is no such file'}"
        )


def find_inputs(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files to run on: each file as it is given, and the images and arrays of each folder, sorted by name.

    Raises ImageError for a folder without any.
    """
    found: list[Path] = []
    for given in map(Path, paths):
        if not given.is_dir():
            found.append(given)
            continue
        inside = sorted(path for path in given.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        if not inside:
            raise ImageError(
                "E0721", f"the folder {given} holds no image", f"it looks for {', '.join(sorted(SUFFIXES))}"
            )
        found += inside
    return found
