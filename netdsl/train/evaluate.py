"""How well a network answers: loss, top-1 and top-5, per class, and what is taken for what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netdsl.data.dataset import Part
from netdsl.data.inputs import Inputs
from netdsl.data.loader import Loader
from netdsl.ir.network import Network
from netdsl.train.errors import TrainError
from netdsl.train.feed import image_input, outputs_of

Array = NDArray[Any]

TOP = 5


class Runner(Protocol):
    """A model (`netdsl.backends`)."""

    def run(self, x: object, tap: Sequence[str] = ()) -> tuple[dict[str, Array], dict[str, Array]]: ...


class OfClass(NamedTuple):
    """How well one class is known."""

    name: str
    images: int
    right: int
    taken: int
    """Images that the network took for it."""

    @property
    def recall(self) -> float | None:
        """Which part of its images was found; None without any."""
        return self.right / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """Which part of what was taken for it is of it; None where nothing was."""
        return self.right / self.taken if self.taken else None

    @property
    def f1(self) -> float | None:
        """2 precision recall / (precision + recall) = 2 right / (images + taken)."""
        return 2 * self.right / (self.images + self.taken) if self.images + self.taken else None


class Evaluation(NamedTuple):
    """What was found on some images."""

    images: int
    loss: float
    """Cross-entropy, the mean over the images; or the mean squared error, where the data has targets."""
    top1: float | None
    top5: float | None
    """None where there are no more than five classes, or none at all."""
    classes: tuple[OfClass, ...]
    confusion: Array
    """How often images of a class (row) were taken for a class (column); shape (classes, classes)."""

    def json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "images": self.images,
            "loss": self.loss,
            "top1": self.top1,
            "top5": self.top5,
            "classes": [
                {**each._asdict(), "recall": each.recall, "precision": each.precision, "f1": each.f1}
                for each in self.classes
            ],
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    network: Network,
    model: Runner,
    part: Part,
    *,
    batch: int = 64,
    workers: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Runs a network, in evaluation mode, on images with labels.

    `watch` is told how many of how many images are done. Raises DataError and TrainError where data and network do not
    fit.
    """
    found = _Counts(network, part)
    done = 0
    for inputs, targets in batches(network, part, batch, workers):
        outputs, _ = model.run(inputs)
        found.add(outputs[outputs_of(network)[0]], targets)
        done += len(targets)
        if watch is not None:
            watch(done, len(part.indices))
    if not done:
        raise TrainError("E0906", "there are no images to evaluate on")
    return found.evaluation()


def batches(network: Network, part: Part, batch: int, workers: int | None) -> Iterator[tuple[dict[str, Array], Array]]:
    """The images of a part in their order, as the network reads them, and their targets."""
    name, shape = image_input(network)
    inputs = Inputs(part.dataset, shape, network.preprocess)
    for made in Loader(inputs, part.indices, batch, shuffle=False, workers=workers, name=name):
        yield dict(made.inputs), made.targets


class _Counts:
    """What the batches add up to."""

    def __init__(self, network: Network, part: Part) -> None:
        name, shape = outputs_of(network)
        self._names = part.dataset.classes
        self._has_labels = part.dataset.targets is None
        self._ends_in_softmax = network.node(network.outputs[name]).layer.kind == "softmax"
        classes = len(self._names)
        if self._has_labels and (not shape or shape[0] != classes or any(e != 1 for e in shape[1:])):
            found = "x".join("?" if extent is None else str(extent) for extent in shape)
            message = f"the data has {classes} classes, the output `{name}` of {network.name} is {found}"
            raise TrainError("E0906", message, f"set the number of classes, e.g. --set classes={classes}")
        self._confusion = np.zeros((classes, classes), np.int64)
        self._loss, self._images, self._top = 0.0, 0, 0

    def add(self, outputs: Array, targets: Array) -> None:
        self._images += len(outputs)
        if not self._has_labels:
            if outputs.shape != targets.shape:
                raise TrainError("E0906", f"the targets have shape {targets.shape}, the output {outputs.shape}")
            error = (outputs.astype(np.float64) - targets) ** 2
            self._loss += float(error.mean()) * len(outputs)
            return
        scores = outputs.reshape(len(outputs), -1).astype(np.float64)
        rows = np.arange(len(scores))
        if self._ends_in_softmax:
            logarithms = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
        else:
            shifted = scores - scores.max(axis=1, keepdims=True)
            logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self._loss -= float(logarithms[rows, targets].sum())
        np.add.at(self._confusion, (targets, scores.argmax(axis=1)), 1)
        better = (scores > scores[rows, targets][:, None]).sum(axis=1)
        self._top += int((better < TOP).sum())

    def evaluation(self) -> Evaluation:
        matrix = self._confusion
        classes = tuple(
            OfClass(name, int(matrix[i].sum()), int(matrix[i, i]), int(matrix[:, i].sum()))
            for i, name in enumerate(self._names)
        )
        return Evaluation(
            images=self._images,
            loss=self._loss / self._images,
            top1=float(np.trace(matrix)) / self._images if self._has_labels else None,
            top5=self._top / self._images if self._has_labels and len(classes) > TOP else None,
            classes=classes if self._has_labels else (),
            confusion=matrix,
        )
