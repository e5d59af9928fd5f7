"""What a network reads: images of a dataset through `augment` and `preprocess`, as float32 of shape (N, C, H, W).

Without augmentation an image goes through `preprocess` exactly as `netdsl run` takes it. With it, the steps of
`preprocess` that move and mix 8-bit pixels come first, then the augmentation, then the rest (`normalize`, `rescale` and
what follows). How a crop of the augmentation and those of `preprocess` go together is told at `plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.data.augment.apply import augment, gray_lighting
from netdsl.data.augment.geometry import pair
from netdsl.data.augment.pipeline import Pipeline
from netdsl.data.augment.steps import Lighting, RandomCrop, RandomResizedCrop
from netdsl.data.dataset import Damage, Dataset, Labels, Pixels, pixels
from netdsl.data.errors import DataError
from netdsl.images.apply import MAX_PIXELS, preprocess, run_steps
from netdsl.images.errors import ImageError
from netdsl.images.steps import CenterCrop, Grayscale, Normalize, PadTo, Rescale, Resize, Step

MEMORY = 2**30
"""Bytes of images that are kept in memory, decoded and through the steps that are the same in each epoch."""

TOGETHER = 2**18
"""Bytes of images that are augmented at once: few small ones would keep the interpreter busy, many large ones miss the
cache."""

Shape = tuple[int, int | None, int | None]
"""Channels, height and width of a network's input; None where any extent will do."""

Floats = NDArray[np.float32]


class Plan(NamedTuple):
    """The steps of `preprocess` in front of the augmentation, and behind it."""

    before: tuple[Step, ...]
    view: CenterCrop | None
    """The crop in front of an augmentation that begins by moving pixels. What a turn or a shift brings into view is the
    rest of the image then, and the border only beyond it."""
    after: tuple[Step, ...]

    @property
    def view_size(self) -> tuple[int, int] | None:
        """Height and width of the view."""
        return None if self.view is None else pair(self.view.size)


def plan(steps: Sequence[Step], pipeline: Pipeline | None) -> Plan:
    """Where the augmentation stands among the steps of `preprocess`: in front of the first that is about values.

    `random_resized_crop` takes the place of `resize`, `center_crop` and `pad_to`; `random_crop` without padding that of
    the last `center_crop`. A `center_crop` right in front of steps that move pixels becomes the first of them.
    """
    steps = tuple(steps)
    if not pipeline:
        return Plan(steps, None, ())
    cut = next((place for place, step in enumerate(steps) if isinstance(step, Normalize | Rescale)), len(steps))
    before, after = steps[:cut], steps[cut:]
    if any(isinstance(step, RandomResizedCrop) for step in pipeline):
        before = tuple(step for step in before if not isinstance(step, Resize | CenterCrop | PadTo))
    elif any(isinstance(step, RandomCrop) and not step.padding for step in pipeline):
        crops = [place for place, step in enumerate(before) if isinstance(step, CenterCrop)]
        before = tuple(step for place, step in enumerate(before) if place not in crops[-1:])
    last = before[-1] if before else None
    if isinstance(last, CenterCrop) and pipeline.runs and pipeline.runs[0].is_geometric:
        return Plan(before[:-1], last, after)
    return Plan(before, None, after)


class Inputs:
    """Makes what a network reads of the images of a dataset. Any thread may ask.

    Images that fit into `memory` bytes are decoded once. Raises DataError for a pipeline that cannot give `shape`.
    """

    def __init__(
        self,
        dataset: Dataset,
        shape: Shape,
        preprocess: Sequence[Step] = (),
        augment: Pipeline | None = None,
        *,
        memory: int = MEMORY,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.dataset = dataset
        self.shape = shape
        self.preprocess = tuple(preprocess)
        self.pipeline = augment
        self.plan = plan(preprocess, augment)
        self.damage = Damage()
        """Images that could not be decoded so far, where the dataset skips them."""
        self._max_pixels = max_pixels
        self._room = memory
        self._kept: dict[int, Pixels | Floats] = {}
        self._require_crop()
        self._require_color()

    def _require_crop(self) -> None:
        crops = [s for s in self.pipeline or () if isinstance(s, RandomCrop | RandomResizedCrop)]
        if not crops or any(isinstance(step, Resize | CenterCrop | PadTo) for step in self.plan.after):
            return
        size = crops[-1].size
        found = pair(size)
        if any(wanted not in (None, extent) for wanted, extent in zip(self.shape[1:], found, strict=True)):
            message = f"`{crops[-1]}` makes images of {found[0]}x{found[1]}, the network reads {_written(self.shape)}"
            raise DataError("E0912", message, f"write {crops[-1].kind}({self.shape[1]}x{self.shape[2]}, ...)")

    def _require_color(self) -> None:
        grays = [step.channels for step in self.plan.before if isinstance(step, Grayscale)]
        if (grays[-1] if grays else self.dataset.channels) == 1:
            for step in self.pipeline or ():
                if isinstance(step, Lighting):
                    raise gray_lighting(step)

    def __len__(self) -> int:
        return len(self.dataset)

    def holds(self, indices: Labels) -> bool:
        """Whether these images are in memory, so that they are best made at once rather than one by one."""
        return all(index in self._kept for index in indices.tolist())

    def make(self, indices: Labels, seed: int = 0, epoch: int = 0, out: Floats | None = None) -> tuple[Floats, Labels]:
        """The inputs of some images, shape (N, C, H, W), and the numbers of those that could be decoded.

        The numbers drawn for an image follow from (seed, epoch, its number). `out` takes the arrays, from its start.
        Raises ImageError, which names the file, and DataError.
        """
        found: list[tuple[int, Pixels | Floats]] = []
        for index in indices.tolist():
            try:
                found.append((index, self._prepared(index)))
            except ImageError as error:
                if not self.dataset.skips_damaged:
                    raise
                self.damage.add(self.dataset.name(index), error)
        groups: dict[tuple[object, ...], list[int]] = {}
        for place, (_, array) in enumerate(found):
            groups.setdefault((array.shape, array.dtype.str), []).append(place)
        numbers = np.array([index for index, _ in found], np.int64)
        result = None if out is None else out[: len(found)]
        for places in groups.values():
            step = max(1, TOGETHER // found[places[0]][1].nbytes)
            for start in range(0, len(places), step):
                some = places[start : start + step]
                arrays = found[some[0]][1][None] if len(some) == 1 else np.stack([found[place][1] for place in some])
                made = self._finish(arrays, numbers[some], seed, epoch)
                if result is None:
                    result = np.empty((len(found), *made.shape[1:]), np.float32)
                if made.shape[1:] != result.shape[1:]:
                    raise different_sizes({made.shape[1:], result.shape[1:]})
                result[some if len(groups) > 1 else slice(some[0], some[-1] + 1)] = made
        return (
            np.empty((0, *(extent or 0 for extent in self.shape)), np.float32) if result is None else result
        ), numbers

    def _prepared(self, index: int) -> Pixels | Floats:
        """An image through the steps that are the same in each epoch.

        Pixels (H, W, C) where it goes on to be augmented, else what the network reads, (C, H, W).
        """
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        picture = self.dataset.picture(index)
        try:
            if self.pipeline:
                array = pixels(run_steps(picture, self.plan.before, self._max_pixels))
            else:
                array = preprocess(picture, self.plan.before, self._max_pixels)
                self._require_shape(array.shape, index)
        except ImageError as error:
            raise DataError(error.code, f"{self.dataset.name(index)}: {error.message}", error.help) from None
        if array.nbytes <= self._room:  # threads may overdraw this by an image each
            self._room -= array.nbytes
            self._kept[index] = array
        return array

    def _finish(self, arrays: NDArray[np.generic], numbers: Labels, seed: int, epoch: int) -> Floats:
        """Augmentation and the steps behind it for images of one size; (N, H, W, C) -> (N, C, H', W')."""
        if not self.pipeline:
            return arrays  # type: ignore[return-value]
        values = augment(arrays, self.pipeline, numbers, seed, epoch, view=self.plan.view_size, name=self.dataset.name)
        channels, count, height, width = values.shape
        if all(isinstance(step, Normalize | Rescale) for step in self.plan.after):
            # Such steps know only channels: the batch is one tall image to them.
            tall = preprocess(values.reshape(channels, count * height, width), self.plan.after, 2**62)
            result = tall.reshape(channels, count, height, width).swapaxes(0, 1)
        else:
            result = np.stack([preprocess(values[:, n], self.plan.after, self._max_pixels) for n in range(count)])
        self._require_shape(result.shape[1:], int(numbers[0]))
        return result

    def _require_shape(self, shape: tuple[int, ...], index: int) -> None:
        if any(wanted not in (None, found) for found, wanted in zip(shape, self.shape, strict=True)):
            written, name = "x".join(map(str, shape)), self.dataset.name(index)
            view = () if self.plan.view is None else (self.plan.view,)
            chain = " -> ".join(map(str, (*self.plan.before, *view, *(self.pipeline or ()), *self.plan.after)))
            height, width = self.shape[1:]
            help = None
            if height is not None and width is not None:
                crop = f"{height}x{width}"
                help = f"add to the network: preprocess resize({crop})"
                if self.pipeline:
                    help += f"; or end `augment` with random_resized_crop({crop})"
            message = f"{name} is {written} after `{chain}`" if chain else f"{name} has {written} pixels"
            raise DataError("E0912", f"{message}, the network reads {_written(self.shape)}", help)


def different_sizes(shapes: set[tuple[int, ...]]) -> DataError:
    """The error for images of several sizes in a batch: the network takes any, and a batch holds one."""
    shown = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes)[:2])
    help = "give `augment` or the network's `preprocess` a crop or a size, or train with batch 1"
    return DataError("E0912", f"images of one batch have different sizes: {shown}", help)


def _written(shape: Shape) -> str:
    return "x".join("?" if extent is None else str(extent) for extent in shape)
