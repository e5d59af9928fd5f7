"""Batches, made in worker threads ahead of the step that reads them.

Pillow and NumPy let go of the interpreter's lock while they work, so threads are enough. What a batch holds follows
from the seed, the epoch and its number alone; the number of workers, and where an epoch is begun, change nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.cores import usable_cores
from netdsl.data.augment.mix import mixed
from netdsl.data.counter import shuffled
from netdsl.data.dataset import Labels
from netdsl.data.inputs import Floats, Inputs, different_sizes

AHEAD = 3
"""How many batches are made, or being made, ahead of the one in hand."""


class Batch(NamedTuple):
    """What one step reads."""

    inputs: Mapping[str, Floats]
    """By the name of the network's input: float32 of shape (N, C, H, W), C-contiguous."""
    targets: NDArray[np.int64] | Floats
    """Labels, shape (N,); or soft labels (N, classes) where images are mixed; or the dataset's own targets (N, ...)."""
    indices: Labels
    """The numbers of the images in the dataset, shape (N,)."""
    number: int
    """Which batch of the epoch it is, from 0. `Loader(start=number + 1)` goes on behind it."""


class Loader:
    """The batches of one epoch. Iterate it as often as wanted: each time gives the same.

    | argument    | meaning                                                                                      |
    |-------------|----------------------------------------------------------------------------------------------|
    | `inputs`    | makes the arrays; keeps small datasets in memory, so use one for all epochs                  |
    | `indices`   | which images of its dataset                                                                  |
    | `batch`     | images in a batch; the last one may be smaller                                               |
    | `seed`, `epoch` | what the order and the augmentation are drawn from                                       |
    | `shuffle`   | an order drawn for each epoch; without it the order of `indices`                             |
    | `drop_last` | leave out a last batch that is not full                                                      |
    | `start`     | the number of the first batch, to go on within an epoch                                      |
    | `workers`   | threads; 0 makes a batch when it is asked for; default: the usable cores, 1 for images in memory |
    | `name`      | the name of the network's input                                                              |

    Errors of the workers (ImageError and DataError, which name the file, and any other with a note) reach whoever
    iterates. Leaving the loop, by `break`, an error or Ctrl-C, ends the threads. Where the dataset skips damaged
    images a batch has fewer, and a batch without any is left out; `inputs.damage.found` names them.
    """

    def __init__(
        self,
        inputs: Inputs,
        indices: Labels,
        batch: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        start: int = 0,
        workers: int | None = None,
        name: str = "image",
    ) -> None:
        if batch < 1:
            raise ValueError(f"a batch holds at least 1 image, not {batch}")
        self.inputs = inputs
        self.batch = batch
        self.seed = seed
        self.epoch = epoch
        self.start = start
        self.name = name
        indices = np.asarray(indices, np.int64)
        if workers is None:
            # What is in memory takes microseconds an image: more threads than one only wait for each other.
            workers = 1 if inputs.holds(indices) else usable_cores()
        self.workers = workers
        self.order = shuffled(indices, seed, epoch) if shuffle else indices
        """The images in the order of this epoch."""
        self.batches = len(indices) // batch if drop_last else -(-len(indices) // batch)
        """How many batches the whole epoch has."""

    def __len__(self) -> int:
        """How many batches come from `start` on."""
        return max(0, self.batches - self.start)

    def __iter__(self) -> Iterator[Batch]:
        if self.workers == 0:
            for number in range(self.start, self.batches):
                made = self._batch(number, [self._make(*part) for part in self._parts(number)])
                if made is not None:
                    yield made
            return
        pool = ThreadPoolExecutor(self.workers, "netdsl-loader")
        waiting: deque[Future[Batch | None]] = deque()
        numbers = iter(range(self.start, self.batches))
        try:
            while True:
                while len(waiting) <= AHEAD and (upcoming := next(numbers, None)) is not None:
                    parts = [pool.submit(self._make, *part) for part in self._parts(upcoming)]
                    waiting.append(pool.submit(self._gather, upcoming, parts))
                if not waiting:
                    return
                made = waiting.popleft().result()
                if made is not None:
                    yield made
        finally:
            # What runs now ends in milliseconds; what has not begun never does.
            pool.shutdown(wait=True, cancel_futures=True)

    def _gather(self, number: int, parts: list[Future[tuple[Floats, Labels]]]) -> Batch | None:
        """Waits for the pieces. They were given out before this, so other threads have them: nothing deadlocks."""
        return self._batch(number, [part.result() for part in parts])

    def _parts(self, number: int) -> list[tuple[Labels, Floats | None]]:
        """A batch as the pieces that workers make: at once what is in memory, else a few images each.

        With each piece comes its place in the batch, where the size of the images is known.
        """
        indices = self.order[number * self.batch : (number + 1) * self.batch]
        pieces = 1 if self.inputs.holds(indices) else min(len(indices), 4 * self.workers)
        shares = np.array_split(indices, max(1, pieces))
        channels, height, width = self.inputs.shape
        if height is None or width is None:
            return [(share, None) for share in shares]
        room = np.empty((len(indices), channels, height, width), np.float32)
        ends = np.cumsum([len(share) for share in shares])
        return [(share, room[end - len(share) : end]) for share, end in zip(shares, ends, strict=True)]

    def _make(self, indices: Labels, room: Floats | None) -> tuple[Floats, Labels]:
        try:
            return self.inputs.make(indices, self.seed, self.epoch, room)
        except Exception as error:
            names = [self.inputs.dataset.name(index) for index in indices.tolist()]
            error.add_note(f"while these were loaded: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}")
            raise

    def _batch(self, number: int, parts: list[tuple[Floats, Labels]]) -> Batch | None:
        """The pieces as one batch, its images mixed; None where all of its images are damaged."""
        indices = np.concatenate([part for _, part in parts])
        if not len(indices):
            return None
        arrays = _joined([array for array, _ in parts if len(array)])
        dataset = self.inputs.dataset
        targets: NDArray[np.int64] | Floats = dataset.labels[indices]
        if dataset.targets is not None:
            targets = dataset.targets[indices]
        pipeline = self.inputs.pipeline
        if pipeline and pipeline.mixing:
            arrays, targets = mixed(arrays, targets, len(dataset.classes), pipeline, self.seed, self.epoch, number)
        return Batch({self.name: arrays}, targets, indices, number)


def _joined(parts: list[Floats]) -> Floats:
    """Pieces of a batch, each (n, C, H, W), as one: without a copy where they lie behind each other in one array."""
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise different_sizes(shapes)
    if len(parts) == 1:
        return parts[0]
    room = parts[0].base
    if isinstance(room, np.ndarray) and all(part.base is room for part in parts) and len(room) == sum(map(len, parts)):
        return room
    return np.concatenate(parts)
