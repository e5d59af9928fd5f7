"""What an epoch adds up: losses, right answers, images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Sums:
    """Sums over batches. They are float64 and saved with a checkpoint, so that a resumed epoch reports the same."""

    def __init__(self, saved: Mapping[str, float] | None = None) -> None:
        self.values: dict[str, float] = {"loss": 0.0, "right": 0.0, "judged": 0.0, "images": 0.0, **(saved or {})}

    def add(self, loss: float, outputs: Array, targets: Array) -> None:
        """Takes in a batch: its mean loss, outputs (N, ...), targets as the loss has them."""
        count = len(outputs)
        self.values["loss"] += loss * count
        self.values["images"] += count
        right = right_answers(outputs, targets)
        if right is not None:
            self.values["right"] += float(np.count_nonzero(right))
            self.values["judged"] += right.size

    @property
    def images(self) -> int:
        return int(self.values["images"])

    @property
    def loss(self) -> float | None:
        """The mean over the images; None without any."""
        return self.values["loss"] / self.values["images"] if self.values["images"] else None

    @property
    def accuracy(self) -> float | None:
        """Which part of the answers is right; None where there are no classes."""
        return self.values["right"] / self.values["judged"] if self.values["judged"] else None


def right_answers(outputs: Array, targets: Array) -> Array | None:
    """For each label whether the largest output is there; None where targets are no classes.

    Outputs (N, K, ...) and labels (N, ...), or soft labels (N, K, ...), whose largest counts.
    """
    if outputs.ndim < 2 or outputs.shape[1] < 2:
        return None
    if targets.dtype.kind in "iub":
        labels = targets
    elif targets.shape == outputs.shape and outputs.ndim == 2:
        labels = targets.argmax(axis=1)
    else:
        return None
    found = outputs.argmax(axis=1)
    if found.shape != labels.shape:
        if found.size != labels.size:
            return None
        labels = labels.reshape(found.shape)
    right: Array = found == labels
    return right
