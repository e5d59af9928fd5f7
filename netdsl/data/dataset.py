"""Datasets: images by number, with their labels. What a network makes of an image is `netdsl.data.inputs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netdsl.data.errors import DataError, named
from netdsl.images.apply import MAX_PIXELS, Picture
from netdsl.images.errors import ImageError
from netdsl.images.load import decode

Labels = NDArray[np.int64]
Pixels = NDArray[Any]
"""Of shape (height, width, channels): uint8, or float32 with black at 0 and white at 1."""


class Dataset(Protocol):
    """Images and labels. Numbers count from 0; nothing is read before it is asked for, and any thread may ask."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the network's outputs; empty where `targets` are given."""

    @property
    def labels(self) -> Labels:
        """The class of each image, from 0; shape (N,)."""

    @property
    def targets(self) -> NDArray[np.float32] | None:
        """What each output should be, where that is no class: shape (N, ...). None for classes."""

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB."""

    @property
    def skips_damaged(self) -> bool:
        """Whether an image that cannot be decoded is left out (`corrupt = skip`) instead of an error."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Picture:
        """A Pillow image (mode L or RGB), or float32 of shape (C, H, W). Raises ImageError, which names the file."""

    def image(self, index: int) -> Pixels:
        """The same as an array of shape (H, W, C): uint8, or float32 with black at 0 and white at 1."""

    def name(self, index: int) -> str:
        """What an image is called in messages."""

    def key(self, index: int) -> str:
        """What decides on which side of a split an image falls: the same on every machine."""

    def identity(self) -> str:
        """A digest of everything that the images and labels depend on: equal digests mean equal data."""


class Part(NamedTuple):
    """Some images of a dataset."""

    dataset: Dataset
    indices: Labels
    """Which images, by their numbers, in ascending order; shape (N,)."""


def pixels(picture: Picture) -> Pixels:
    """A picture as an array of shape (H, W, C), uint8 or float32."""
    if not isinstance(picture, Image.Image):
        return np.ascontiguousarray(picture.transpose(1, 2, 0))
    values = np.asarray(picture)
    return values[:, :, None] if values.ndim == 2 else values


class FileDataset:
    """Image files, decoded when they are asked for: 8 bits a channel, upright, gray or RGB as `channels` says."""

    targets: NDArray[np.float32] | None = None

    def __init__(
        self,
        root: Path,
        paths: Sequence[str],
        labels: Sequence[int],
        classes: Sequence[str],
        *,
        channels: int = 3,
        max_pixels: int = MAX_PIXELS,
        skips_damaged: bool = False,
    ) -> None:
        self.root = root
        self.paths = tuple(paths)
        """Relative to `root`, or absolute, with "/" between folders."""
        self.labels = np.asarray(labels, np.int64)
        self.classes = tuple(classes)
        self.channels = channels
        self.max_pixels = max_pixels
        self.skips_damaged = skips_damaged

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, index: int) -> Path:
        return self.root / self.paths[index]

    def name(self, index: int) -> str:
        return self.paths[index]

    def key(self, index: int) -> str:
        return self.paths[index]

    def picture(self, index: int) -> Picture:
        return decode(self.path(index), gray=self.channels == 1, max_pixels=self.max_pixels)

    def image(self, index: int) -> Pixels:
        return pixels(self.picture(index))

    def identity(self) -> str:
        """Paths, sizes in bytes, times of the last change, labels, classes and channels; the pixels are not read."""
        digest = blake2b(f"files/{self.channels}/{self.classes!r}\n".encode(errors="surrogateescape"), digest_size=16)
        for index, (path, label) in enumerate(zip(self.paths, self.labels, strict=True)):
            try:
                found = self.path(index).stat()
                state = f"{found.st_size}/{found.st_mtime_ns}"
            except OSError:
                state = "gone"
            digest.update(f"{path!r}/{label}/{state}\n".encode())
        return digest.hexdigest()


class ArrayDataset:
    """Images in memory: uint8 or float32 of shape (N, H, W, C), all of one size."""

    skips_damaged = False

    def __init__(
        self,
        images: Pixels,
        labels: Labels,
        classes: Sequence[str],
        *,
        source: str = "arrays",
        targets: NDArray[np.float32] | None = None,
    ) -> None:
        if images.ndim != 4 or images.dtype not in (np.uint8, np.float32) or images.shape[3] not in (1, 3):
            message = f"images are uint8 or float32 of shape (N, H, W, 1 or 3), found {images.dtype} {images.shape}"
            raise DataError("E0908", message)
        if len(labels) != len(images) or (targets is not None and len(targets) != len(images)):
            raise DataError("E0906", f"{source}: {len(images):_} images, {len(labels):_} labels")
        self.images = images
        self.labels = labels.astype(np.int64)
        self.targets = targets
        self.classes = tuple(classes)
        self.source = source

    @property
    def channels(self) -> int:
        return int(self.images.shape[3])

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"image {index} of {self.source}"

    def key(self, index: int) -> str:
        return str(index)

    def image(self, index: int) -> Pixels:
        found: Pixels = self.images[index]
        return found

    def picture(self, index: int) -> Picture:
        values = self.images[index]
        if values.dtype != np.uint8:
            return np.ascontiguousarray(values.transpose(2, 0, 1))
        return Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else np.ascontiguousarray(values))

    def identity(self) -> str:
        """The values themselves."""
        digest = blake2b(f"arrays/{self.images.dtype}/{self.images.shape}/{self.classes!r}".encode(), digest_size=16)
        for array in (self.images, self.labels, *([] if self.targets is None else [self.targets])):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass
class Damage:
    """The images of a dataset that cannot be decoded: name -> why. Threads add to it."""

    found: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, error: ImageError) -> None:
        self.found[name] = error.message

    def error(self) -> DataError:
        """The error that names them."""
        count = len(self.found)
        files = "1 image" if count == 1 else f"{count:_} images"
        help = "replace or remove them, or write `corrupt = skip` in `data` to train without them"
        return DataError("E0905", f"{files} cannot be decoded", help, named(self.found.values()))


def require_classes(dataset: Dataset, outputs: int) -> None:
    """That a network with so many outputs fits the classes. Raises DataError E0906."""
    count = len(dataset.classes)
    if dataset.targets is None and count != outputs:
        shown = ", ".join(dataset.classes[:8]) + (", ..." if count > 8 else "")
        raise DataError(
            "E0906",
            f"the data has {count} classes ({shown}), the network has {outputs} outputs",
            f"set the network's number of classes, e.g. --set classes={count}, or `for NAME(classes = {count})`",
        )
