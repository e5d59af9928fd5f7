"""Archives of arrays (`.npz`) as datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.data.dataset import ArrayDataset, Labels
from netdsl.data.errors import DataError
from netdsl.data.scan import MAX_CLASSES
from netdsl.data.sources import Arrays
from netdsl.data.table import require_each, require_known
from netdsl.language.diagnostics import did_you_mean
from netdsl.weights.errors import WeightError
from netdsl.weights.npz_file import open_archive
from netdsl.weights.stored import Limits, Stored

MAX_ARRAY_BYTES = 16 * 2**30
"""Most bytes of the arrays in one archive, unpacked."""

_IMAGES = ("x", "x_train", "images", "data", "X", "train_images")
_LABELS = {
    "x": "y",
    "x_train": "y_train",
    "images": "labels",
    "data": "labels",
    "X": "y",
    "train_images": "train_labels",
}
_OTHER = (("x_validation", "y_validation"), ("x_val", "y_val"), ("x_test", "y_test"), ("test_images", "test_labels"))
_ALSO = ("y", "labels", "target", "targets", "label")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def open_arrays(
    path: Path,
    source: Arrays,
    channels: int,
    max_bytes: int = MAX_ARRAY_BYTES,
    classes: Sequence[str] | None = None,
) -> tuple[ArrayDataset, ArrayDataset | None]:
    """The dataset of an archive, and the one to validate on where the archive holds it (x_test, y_test beside x_train,
    y_train). `classes` are those of the training data, where this is other data to validate on. Raises DataError.
    """
    arrays = _open(path, max_bytes)
    images = _choose(arrays, source.images, _IMAGES, "images", path)
    usual = (_LABELS[images], *_ALSO) if images in _LABELS else _ALSO
    labels = _choose(arrays, source.labels, usual, "labels", path)
    main = _dataset(arrays, images, labels, source, channels, path, classes)
    if source.validation is None and source.images is None and images in ("x_train", "train_images"):
        for x, y in _OTHER:
            if x in arrays and y in arrays:
                return main, _dataset(arrays, x, y, source, channels, path, main.classes)
    return main, None


def _open(path: Path, max_bytes: int) -> Mapping[str, Stored]:
    try:
        if path.suffix.lower() != ".npz":
            help = "write one: numpy.savez(path, x = images, y = labels)"
            raise DataError("E0908", f"{path} is no .npz archive", help)
        return open_archive(path, Limits(bytes=max_bytes)).arrays
    except WeightError as error:
        code = "E0909" if error.code == "E0704" else "E0908"
        hint = "the caller can raise the limit `bytes`" if code == "E0909" else None
        raise DataError(code, error.message, hint) from None
    except FileNotFoundError:
        help = "a relative path starts at the recipe's folder"
        raise DataError("E0901", f"there is no archive {path}", help) from None
    except OSError as error:
        raise DataError("E0901", f"cannot read the archive {path}: {error.strerror or error}") from None


def _choose(arrays: Mapping[str, Stored], stated: str | None, usual: tuple[str, ...], what: str, path: Path) -> str:
    known = ", ".join(list(arrays)[:20])
    if stated is not None:
        if stated not in arrays:
            raise DataError(
                "E0908", f"{path} has no array `{stated}`", did_you_mean(stated, arrays) or f"it has {known}"
            )
        return stated
    for name in usual:
        if name in arrays:
            return name
    message = f"{path} has the arrays {known}, and none is called {' or '.join(usual[:4])}"
    raise DataError("E0908", message, f'say which holds the {what}: arrays(..., {what} = "NAME")')


def _read(arrays: Mapping[str, Stored], name: str, path: Path) -> NDArray[Any]:
    try:
        return arrays[name].read()
    except WeightError as error:
        raise DataError("E0908", error.message) from None
    except OSError as error:
        raise DataError("E0901", f"cannot read the archive {path}: {error.strerror or error}") from None


def _dataset(
    arrays: Mapping[str, Stored], x: str, y: str, source: Arrays, channels: int, path: Path, known: Sequence[str] | None
) -> ArrayDataset:
    images = as_images(_read(arrays, x, path), source, channels, f"`{x}` of {path}")
    if not len(images):
        raise DataError("E0902", f"`{x}` of {path} holds no image")
    count = len(known) if known else source.classes
    labels, names, targets = as_labels(_read(arrays, y, path), len(images), count, f"`{y}` of {path}")
    if targets is None and known is not None:
        require_known(names, known, f"`{y}` of {path}")
        labels = np.array([known.index(name) for name in names], np.int64)[labels]
        names = list(known)
    elif targets is None:
        require_each(names, set(np.unique(labels).tolist()), f"{path}")
    return ArrayDataset(images, labels, names, source=str(path), targets=targets)


def as_images(array: NDArray[Any], source: Arrays, channels: int, where: str) -> NDArray[Any]:
    """uint8 or float32 of shape (N, H, W, channels). Raises DataError."""
    layout = source.layout or _layout(array.shape, where)
    if array.ndim != len(layout) or (layout != "nhw" and array.shape[layout.index("c")] not in (1, 3)):
        wanted = {"nhw": "(images, height, width)", "nhwc": "(images, height, width, 1 or 3)"}
        shape = wanted.get(layout, "(images, 1 or 3, height, width)")
        raise DataError("E0908", f"{where} has shape {array.shape}, with layout {layout} expected {shape}")
    if 0 in array.shape[1:]:
        raise DataError("E0908", f"{where} has shape {array.shape}: images without pixels")
    if array.dtype.kind not in "uifb":
        raise DataError("E0908", f"{where} holds {array.dtype}, images are numbers")
    if layout == "nhw":
        array = array[..., None]
    elif layout == "nchw":
        array = array.transpose(0, 2, 3, 1)
    values = _shades(array, source.white, where)
    if values.shape[3] == channels:
        return np.ascontiguousarray(values)
    if channels == 3:
        return np.repeat(values, 3, axis=3)
    gray = (values.astype(np.float32) @ _LUMA)[..., None]
    return gray if values.dtype == np.float32 else np.rint(gray).astype(np.uint8)


def _layout(shape: tuple[int, ...], where: str) -> str:
    if len(shape) == 3:
        return "nhw"
    if len(shape) == 4:
        last, first = shape[3] in (1, 3), shape[1] in (1, 3)
        if last != first:
            return "nhwc" if last else "nchw"
    help = "say which axis is which: arrays(..., layout = nhw), nhwc or nchw (number, height, width, channels)"
    raise DataError("E0908", f"{where} has shape {shape}: which axis holds what is in doubt", help)


def _shades(array: NDArray[Any], white: float | None, where: str) -> NDArray[Any]:
    """8-bit values as they are, others as float32 with white at 1."""
    if array.dtype == np.uint8 and white in (None, 255):
        return array
    if array.dtype.kind in "iu" and white is None:
        if array.dtype != np.uint16:
            help = "arrays(..., white = 255)"
            raise DataError("E0908", f"{where} holds {array.dtype}, and nothing says which value is white", help)
        white = 65535
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise DataError("E0908", f"{where} holds NaN or infinity, first at {place}")
    return values if white in (None, 1) else values / np.float32(white)


def as_labels(
    array: NDArray[Any], images: int, classes: int | None, where: str
) -> tuple[Labels, list[str], NDArray[np.float32] | None]:
    """Numbers of classes and their names, or targets that are no classes. Raises DataError."""
    if array.ndim == 0 or len(array) != images:
        found = "one number" if array.ndim == 0 else f"{len(array):_} labels"
        raise DataError("E0906", f"{where} has {found} for {images:_} images")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # as CIFAR-10 comes with Keras
    if array.dtype.kind in "US" and array.ndim == 1:
        names, numbers = np.unique(array, return_inverse=True)
        return numbers.astype(np.int64), [_text(name) for name in names], None
    if array.dtype.kind not in "uifb":
        raise DataError("E0906", f"{where} holds {array.dtype}, labels are numbers or names")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError("E0906", f"{where} holds NaN or infinity")
        one_hot = array.ndim == 2 and bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())
        if not one_hot and (array.ndim != 1 or (array != np.rint(array)).any()):
            return np.zeros(images, np.int64), [], array.astype(np.float32)
    if array.ndim == 2:
        if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
            raise DataError("E0906", f"{where} has shape {array.shape} and rows that do not hold a single 1")
        return array.argmax(axis=1).astype(np.int64), [str(n) for n in range(array.shape[1])], None
    if array.ndim != 1:
        raise DataError("E0906", f"{where} has shape {array.shape}, expected one label for each image")
    labels = array.astype(np.int64)
    count = classes if classes is not None else int(labels.max()) + 1
    beyond = np.flatnonzero((labels < 0) | (labels >= min(count, MAX_CLASSES)))
    if len(beyond):
        first = int(beyond[0])
        what = "1 label is" if len(beyond) == 1 else f"{len(beyond):_} labels are"
        wanted = f"a whole number from 0 to {min(count, MAX_CLASSES) - 1}"
        raise DataError(
            "E0906", f"{where}: {what} out of range; the first is {labels[first]}, of image {first}", wanted
        )
    return labels, [str(number) for number in range(count)], None


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
