"""Finding the image files of a folder, and looking into their headers. What lies there is not trusted."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from netdsl.data.dataset import Damage, FileDataset
from netdsl.data.errors import DataError, named
from netdsl.images.errors import ImageError
from netdsl.images.load import FORMATS, SUFFIXES

MAX_FILES = 20_000_000
"""Most image files of a dataset."""

MAX_CLASSES = 100_000
"""Most classes of a dataset."""

MAX_DEPTH = 32
"""How many folders may lie in each other in the folder of a class."""

CHECKED_BYTES = 64 * 2**20
"""Files of so many bytes together are decoded once before training, so that damage shows at once; of more files only
the headers are read, and damage behind them shows in the first epoch."""

IMAGE_SUFFIXES = SUFFIXES - {".npy"}
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def class_folders(root: Path, max_files: int = MAX_FILES, complete: bool = True) -> dict[str, list[str]]:
    """Class -> its images, as paths relative to `root` with "/" between folders; both sorted as text.

    Raises DataError: no folder, no images, one class, a class without images, more than a limit. With `complete` false
    one class and classes without images are no errors: for data to validate on.
    """
    if not root.is_dir():
        found = "is a file" if root.is_file() else "does not exist"
        raise DataError("E0901", f"the folder {root} {found}", "a relative path starts at the recipe's own folder")
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError("E0901", f"cannot read the folder {root}: {error.strerror or error}") from None
    names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    loose = [entry.name for entry in entries if _is_image(entry.name) and not entry.is_dir()]
    if not names:
        help = "make a folder for each class and put its images there"
        if loose:
            message = f"{root} holds {len(loose):_} images and no folder; which class are they?"
            raise DataError("E0902", message, help)
        raise DataError("E0902", f"{root} holds no folder, so no class and no image", help)
    if len(names) > MAX_CLASSES:
        raise DataError("E0909", f"{root} holds {len(names):_} folders; a dataset has at most {MAX_CLASSES:_} classes")
    classes: dict[str, list[str]] = {}
    count = 0
    for name in names:
        classes[name] = []
        for path in _images(root / name, name, set(), 0):
            count += 1
            if count > max_files:
                message = f"{root} holds more than {max_files:_} images"
                raise DataError("E0909", message, "the caller can raise the limit `max_files`")
            classes[name].append(path)
        classes[name].sort()
    _require_classes(root, classes, complete)
    return classes


def _require_classes(root: Path, classes: dict[str, list[str]], complete: bool) -> None:
    names = list(classes)
    parts = [name for name in names if name.lower() in _SPLITS]
    if parts and len(parts) >= len(names) - 1:
        train = next((name for name in parts if name.lower().startswith("train")), parts[0])
        others = [name for name in parts if name != train]
        other = next((name for name in others if name.lower().startswith("val")), (*others, "validation")[0])
        message = f"{root} holds the folders {', '.join(names)}, which look like parts of a dataset, not like classes"
        raise DataError("E0903", message, f'write folder("{root.name}/{train}", validation = "{root.name}/{other}")')
    if not any(classes.values()):
        message = f"there is no image in the {len(names)} folders of {root}"
        raise DataError("E0902", message, f"it looks for {', '.join(sorted(IMAGE_SUFFIXES))}")
    if not complete:
        return
    empty = [name for name, paths in classes.items() if not paths]
    if empty:
        what = "1 class has" if len(empty) == 1 else f"{len(empty)} classes have"
        help = "put images there or remove the folder"
        raise DataError("E0904", f"{what} no image", help, named(f"{root / name}" for name in empty))
    if len(names) < 2:
        message = f"{root} holds one class, `{names[0]}`"
        raise DataError("E0903", message, "a network learns to tell two or more classes apart: a folder for each")


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _images(folder: Path, shown: str, above: set[tuple[int, int]], depth: int) -> Iterator[str]:
    """The image files in a folder and those in it. A link back to a folder above is not followed again."""
    try:
        state = folder.stat()
        place = (state.st_dev, state.st_ino)
        if place in above:
            return
        if depth > MAX_DEPTH:
            raise DataError("E0909", f"folders lie in each other more than {MAX_DEPTH} deep: {folder}")
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    yield from _images(folder / entry.name, f"{shown}/{entry.name}", above | {place}, depth + 1)
                elif _is_image(entry.name):
                    yield f"{shown}/{entry.name}"
    except OSError as error:
        raise DataError("E0901", f"cannot read the folder {folder}: {error.strerror or error}") from None


def examine(dataset: FileDataset, *, checked_bytes: int = CHECKED_BYTES, workers: int = 2) -> Damage:
    """The files that cannot be read: by their headers, and by decoding them where they are small together.

    An image of more pixels than the dataset's `max_pixels` is found by its header, before anything is unpacked.
    """
    small = 0
    for index in range(len(dataset)):
        try:
            small += dataset.path(index).stat().st_size
        except OSError:
            continue
        if small > checked_bytes:
            break
    damage = Damage()

    def look(index: int) -> None:
        try:
            if small <= checked_bytes:
                dataset.picture(index)
            else:
                read_header(dataset.path(index), dataset.max_pixels)
        except ImageError as error:
            damage.add(dataset.name(index), error)

    with ThreadPoolExecutor(max(1, workers), "netdsl-examine") as pool:
        try:
            for _ in pool.map(look, range(len(dataset))):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    damage.found = {name: damage.found[name] for name in sorted(damage.found)}
    return damage


def read_header(path: Path, max_pixels: int) -> tuple[int, int]:
    """Height and width of an image file as its header states them. Raises ImageError."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=formats) as image:
                width, height = image.size
    except FileNotFoundError:
        raise ImageError("E0721", f"cannot read {path}: there is no such file") from None
    except UnidentifiedImageError:
        raise ImageError("E0722", f"{path} is not an image that netdsl reads") from None
    except Image.DecompressionBombError as error:
        raise ImageError("E0723", f"{path}: {error}") from None
    except OSError as error:
        raise ImageError("E0721", f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # decoders meet damage in many ways, with errors of as many classes
        raise ImageError("E0722", f"{path} is damaged: {error}") from None
    if width * height > max_pixels:
        message = f"{path} has {width} x {height} pixels, more than the limit of {max_pixels:_}"
        raise ImageError("E0723", message, "if you trust the file, raise the limit: max_pixels")
    return height, width
