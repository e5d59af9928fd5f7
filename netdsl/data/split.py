"""Splitting a dataset in two, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from netdsl.data.dataset import Dataset, Labels
from netdsl.data.errors import DataError


def split(dataset: Dataset, fraction: float, seed: int = 0) -> tuple[Labels, Labels]:
    """The numbers of the images to train on and of those kept apart, both ascending.

    Of each class with n images round(n * fraction) are kept apart (halves up), at least one and at most n - 1; a
    class of one image is trained on. Which ones follows from `seed` and the image's own path or number: the images of
    a class are put in the order of a hash of both, and the first are kept apart. So the split is the same on every
    machine, and a file that is added or removed moves at most one other of its class to the other side. Raises
    DataError.
    """
    if not 0 < fraction < 1:
        raise DataError(
            "E0911", f"validation is {fraction:.0%} of the data, expected more than 0 % and less than 100 %"
        )
    apart: list[int] = []
    for members in _by_class(dataset):
        count = min(len(members) - 1, max(1, int(len(members) * fraction + 0.5)))
        ranked = sorted(members, key=lambda index: (_rank(dataset.key(index), seed), index))
        apart += ranked[:count]
    if not apart:
        message = f"no class has two images, so {fraction:.0%} of {len(dataset)} images cannot be kept apart"
        raise DataError("E0911", message, 'add images, or name other data: validation = "PATH"')
    kept = np.zeros(len(dataset), bool)
    kept[apart] = True
    return np.flatnonzero(~kept), np.flatnonzero(kept)


def take(dataset: Dataset, indices: Labels, count: int, seed: int = 0) -> Labels:
    """`count` images of each class out of `indices` (all of a class that has fewer), chosen by `seed`, ascending.

    A larger count holds the images of a smaller one: for curves over the number of labels.
    """
    chosen: list[int] = []
    for members in _by_class(dataset, indices.tolist()):
        ranked = sorted(members, key=lambda index: (_rank(dataset.key(index), seed), index))
        chosen += ranked[:count]
    return np.array(sorted(chosen), np.int64)


def _by_class(dataset: Dataset, indices: Sequence[int] | None = None) -> list[list[int]]:
    """The images of each class. Data without classes is one class."""
    if dataset.targets is not None:
        return [list(range(len(dataset)) if indices is None else indices)]
    groups: list[list[int]] = [[] for _ in dataset.classes]
    labels = dataset.labels.tolist()
    for index in range(len(dataset)) if indices is None else indices:
        groups[labels[index]].append(index)
    return [group for group in groups if group]


def _rank(key: str, seed: int) -> bytes:
    return blake2b(key.encode(errors="surrogatepass"), digest_size=16, key=seed.to_bytes(8, "little")).digest()
