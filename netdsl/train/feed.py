"""Where a phase takes its batches from: the images, or features of them that are kept on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from netdsl.data.inputs import Inputs
from netdsl.data.loader import Loader
from netdsl.data.open import Data
from netdsl.ir.network import Network
from netdsl.train.errors import TrainError
from netdsl.train.recipe import Phase

Array = NDArray[Any]


class Fed(NamedTuple):
    """What one step reads."""

    inputs: Mapping[str, Array]
    targets: Array
    number: int
    """Which batch of the epoch it is, from 0."""


def awaited(items: Iterator[Fed]) -> Iterator[tuple[Fed, float]]:
    """Each batch with the seconds that were waited for it: near nothing where they are made faster than used."""
    while True:
        began = time.monotonic()
        fed = next(items, None)
        if fed is None:
            return
        yield fed, time.monotonic() - began


class Feed(Protocol):
    """Batches for training and validation. What they hold follows from the epoch and the number of the batch alone."""

    images: int
    """Images of an epoch."""
    steps: int
    """Batches of an epoch."""

    def epoch(self, number: int, start: int) -> Iterator[Fed]:
        """The batches of an epoch of the whole run, from batch `start` on."""

    def validation(self) -> Iterator[Fed]:
        """The images to validate on, in their order; nothing where there are none."""


class ImageFeed:
    """Batches of images, read and augmented ahead of the step."""

    def __init__(
        self,
        network: Network,
        data: Data,
        phase: Phase,
        *,
        batch: int,
        seed: int,
        workers: int | None,
        drop_last: bool = False,
    ) -> None:
        name, shape = image_input(network)
        self._name, self._data, self._batch, self._seed, self._workers = name, data, batch, seed, workers
        self._drop_last = drop_last
        self.training = Inputs(data.training.dataset, shape, network.preprocess, phase.augment or None)
        self.judged = None if data.validation is None else Inputs(data.validation.dataset, shape, network.preprocess)
        self.images = len(data.training.indices)
        loader = self._loader(0, 0)
        self.steps = loader.batches
        if not self.steps:
            raise TrainError(
                "E0961", f"an epoch has no batch: there are {self.images} images", "take a smaller `batch`"
            )

    def _loader(self, number: int, start: int) -> Loader:
        return Loader(
            self.training, self._data.training.indices, self._batch, seed=self._seed, epoch=number,
            drop_last=self._drop_last, start=start, workers=self._workers, name=self._name,
        )  # fmt: skip

    def epoch(self, number: int, start: int) -> Iterator[Fed]:
        for batch in self._loader(number, start):
            yield Fed(batch.inputs, batch.targets, batch.number)

    def validation(self) -> Iterator[Fed]:
        if self.judged is None or self._data.validation is None:
            return
        indices = self._data.validation.indices
        for batch in Loader(self.judged, indices, self._batch, shuffle=False, workers=self._workers, name=self._name):
            yield Fed(batch.inputs, batch.targets, batch.number)


def require_sizes(network: Network, data: Data, phases: Sequence[Phase]) -> None:
    """That the first image of each part, prepared as each phase does, is what the network reads.

    Raises DataError (E0912) and ImageError; data of images that fit and others is found out about as it is read.
    """
    _, shape = image_input(network)
    for augment in {str(phase.augment): phase.augment for phase in phases}.values():
        part = data.training
        Inputs(part.dataset, shape, network.preprocess, augment or None).make(part.indices[:1])
    if data.validation is not None:
        part = data.validation
        Inputs(part.dataset, shape, network.preprocess).make(part.indices[:1])


def image_input(network: Network) -> tuple[str, tuple[int, int | None, int | None]]:
    """The name and shape of the input that images go to. Raises TrainError for a network that reads something else."""
    types = network.input_types()
    if len(types) != 1:
        shown = ", ".join(f"`{name}`" for name in types)
        raise TrainError(
            "E0961",
            f"{network.name} has {len(types)} inputs ({shown}), and `data` gives images for one",
            "train it from Python: netdsl.train.fast.build_engine takes any inputs",
        )
    ((name, type_),) = types.items()
    if type_.rank != 3 or type_.channels not in (1, 3):
        message = f"the input `{name}` of {network.name} is {type_}, and images have 1 or 3 channels, height and width"
        raise TrainError("E0961", message)
    channels, height, width = type_.shape
    assert channels is not None
    return name, (channels, height, width)


def outputs_of(network: Network) -> tuple[str, tuple[int | None, ...]]:
    """The main output: its name and shape."""
    name, node = next(iter(network.outputs.items()))
    return name, network.type_of(node).shape


def require_fit(network: Network, data: Data, loss: str) -> None:
    """That what the data gives is what the network makes: as many classes as outputs, or targets of its shape.

    Raises CodedError E0906.
    """
    name, shape = outputs_of(network)
    dataset = data.training.dataset
    if dataset.targets is not None:
        found = dataset.targets.shape[1:]
        if len(found) != len(shape) or any(e is not None and e != f for e, f in zip(shape, found, strict=True)):
            raise TrainError(
                "E0906",
                f"the targets have shape {_written(found)}, the output `{name}` of {network.name} {_written(shape)}",
            )
        return
    classes = len(dataset.classes)
    outputs = shape[0] if shape else None
    if loss == "mean_squared_error":
        raise TrainError(
            "E0906",
            "mean_squared_error compares outputs with targets of their shape, and the data has labels of classes",
            "take cross_entropy, or data with targets: `arrays`",
        )
    if loss == "binary_cross_entropy" and classes == 2 and outputs == 1:
        return
    if outputs != classes:
        shown = ", ".join(dataset.classes[:8]) + (", ..." if classes > 8 else "")
        raise TrainError(
            "E0906",
            f"the data has {classes} classes ({shown}), the network has {outputs} outputs",
            f"set the number of classes: `for {network.name}(classes = {classes})`, or --set classes={classes}",
        )


def _written(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if extent is None else str(extent) for extent in shape) or "scalar"
