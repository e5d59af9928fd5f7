"""Opens what `data` of a recipe names: datasets, checked, with the part to validate on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netdsl.cores import usable_cores
from netdsl.data.archive import MAX_ARRAY_BYTES, open_arrays
from netdsl.data.dataset import Dataset, FileDataset, Part
from netdsl.data.digits import open_digits
from netdsl.data.errors import DataError
from netdsl.data.scan import CHECKED_BYTES, MAX_FILES, class_folders, examine
from netdsl.data.sources import Arrays, Csv, DataSource, Digits, Files, Folder
from netdsl.data.split import split, take
from netdsl.data.table import classes_of, read_table, require_each, require_known
from netdsl.images.apply import MAX_PIXELS


@dataclass(frozen=True)
class DataLimits:
    """How much data may claim. Pass larger ones to use what is larger."""

    pixels: int = MAX_PIXELS
    """Most pixels of an image, decoded."""
    files: int = MAX_FILES
    bytes: int = MAX_ARRAY_BYTES
    """Most bytes of the arrays of an archive, unpacked."""
    checked_bytes: int = CHECKED_BYTES
    """Files of so many bytes together are decoded once when they are opened; of more, only the headers are read."""


@dataclass(frozen=True)
class Data:
    """What `open_data` found."""

    training: Part
    validation: Part | None
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Damaged files that are left out (`corrupt = skip`): name -> why."""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.training.dataset.classes

    def identity(self) -> str:
        """A digest of all images and labels, and of the split."""
        parts = [self.training, *([] if self.validation is None else [self.validation])]
        return "-".join(f"{part.dataset.identity()}.{_digest(part.indices.tobytes())}" for part in parts)


def _digest(data: bytes) -> str:
    from hashlib import blake2b

    return blake2b(data, digest_size=8).hexdigest()


def open_data(
    source: DataSource, base: str | os.PathLike[str] = ".", channels: int = 3, limits: DataLimits | None = None
) -> Data:
    """The images to train on and those to validate on.

    `base` is the folder that relative paths start at, the folder of the recipe's file. `channels` is what the network's
    input wants: 1 for gray, 3 for RGB; images are converted. Raises DataError, which names what is wrong.
    """
    limits = limits or DataLimits()
    if channels not in (1, 3):
        raise DataError("E0908", f"images have 1 or 3 channels, the network's input has {channels}")
    base = Path(base)
    dataset, other, skipped = _open(source, base, channels, limits, None)
    everything = np.arange(len(dataset))
    if isinstance(source.validation, str):
        there = source.model_copy(update={"path": source.validation, "validation": None, "per_class": None})
        if not hasattr(source, "path"):
            raise DataError("E0901", f"`{source.kind}` has no other data to validate on", "write validation = 20%")
        other, _, more = _open(there, base, channels, limits, dataset.classes)
        skipped = {**skipped, **more}
    training, validation = everything, None
    if other is not None:
        validation = Part(other, np.arange(len(other)))
    elif source.validation:
        training, apart = split(dataset, float(source.validation), source.seed)
        validation = Part(dataset, apart)
    if source.per_class is not None:
        training = take(dataset, training, source.per_class, source.seed)
    return Data(Part(dataset, training), validation, skipped)


def _open(
    source: DataSource, base: Path, channels: int, limits: DataLimits, classes: tuple[str, ...] | None
) -> tuple[Dataset, Dataset | None, Mapping[str, str]]:
    """The dataset, one to validate on that comes with it, and what was skipped. `classes`: those it has to have."""
    if isinstance(source, Digits):
        return open_digits(source, channels), None, {}
    if isinstance(source, Arrays):
        return *open_arrays(base / source.path, source, channels, limits.bytes, classes), {}
    assert isinstance(source, Files)
    if isinstance(source, Folder):
        files = _folder(source, base, limits, complete=classes is None)
    else:
        files = _table(source, base, limits, classes)
    if classes is not None and files.classes != classes:
        files = _renumbered(files, classes)
    files.channels, files.max_pixels, files.skips_damaged = channels, limits.pixels, source.corrupt == "skip"
    return _without_damage(files, source, limits, complete=classes is None)


def _folder(source: Folder, base: Path, limits: DataLimits, complete: bool) -> FileDataset:
    root = base / source.path
    classes = class_folders(root, limits.files, complete)
    paths = [path for found in classes.values() for path in found]
    labels = [number for number, found in enumerate(classes.values()) for _ in found]
    return FileDataset(root, paths, labels, list(classes))


def _table(source: Files, base: Path, limits: DataLimits, classes: tuple[str, ...] | None) -> FileDataset:
    assert isinstance(source, Csv)
    table = base / source.path
    rows = read_table(table, source, limits.files)
    twice: dict[str, str] = {}
    for path, label in rows:
        if twice.setdefault(path, label) != label:
            raise DataError("E0906", f"{table} gives `{path}` two labels: {twice[path]} and {label}")
    if classes is None:
        numbers, names = classes_of([label for _, label in rows], str(table))
    else:
        require_known(sorted({label for _, label in rows}), classes, str(table))
        numbers, names = [classes.index(label) for _, label in rows], list(classes)
    root = table.parent if source.root is None else base / source.root
    if not root.is_dir():
        raise DataError("E0901", f"the folder {root} of the images does not exist", "root is where the paths start")
    return FileDataset(root, [path for path, _ in rows], numbers, names)


def _renumbered(files: FileDataset, classes: tuple[str, ...]) -> FileDataset:
    """Data to validate on, with the classes of the data to train on."""
    require_known(files.classes, classes, str(files.root))
    labels = [classes.index(files.classes[label]) for label in files.labels.tolist()]
    return FileDataset(files.root, files.paths, labels, classes)


def _without_damage(
    files: FileDataset, source: Files, limits: DataLimits, complete: bool
) -> tuple[Dataset, Dataset | None, Mapping[str, str]]:
    damage = examine(files, checked_bytes=limits.checked_bytes, workers=usable_cores())
    if not damage.found:
        return files, None, {}
    if source.corrupt == "refuse":
        raise damage.error()
    kept = [index for index in range(len(files)) if files.name(index) not in damage.found]
    if not kept:
        raise damage.error()
    left = FileDataset(
        files.root, [files.paths[index] for index in kept], files.labels[kept].tolist(), files.classes,
        channels=files.channels, max_pixels=files.max_pixels, skips_damaged=True,
    )  # fmt: skip
    if complete:
        require_each(left.classes, set(np.unique(left.labels).tolist()), f"{files.root} without its damaged images")
    return left, None, damage.found
