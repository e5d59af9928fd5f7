"""Batches of cached features, in place of batches of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.data.counter import shuffled
from netdsl.data.dataset import Part
from netdsl.data.open import Data
from netdsl.train.features import FeatureCache
from netdsl.train.feed import Fed
from netdsl.train.recipe import Recipe

Array = NDArray[Any]


class FeatureFeed:
    """Batches of features, in the order in which the images would come."""

    def __init__(self, cache: FeatureCache, recipe: Recipe, data: Data, first_epoch: int) -> None:
        self._cache = cache
        self._batch, self._seed = recipe.batch, recipe.seed
        self._data = data
        self._rows = {index: row for row, index in enumerate(data.training.indices.tolist())}
        self._training = cache.arrays("training")
        self._validation = cache.arrays("validation") if data.validation is not None else []
        self._first_epoch = first_epoch
        self.images = len(data.training.indices)
        left = self.images % self._batch
        batch_norm = any(node.layer.kind == "batch_norm" for node in cache.network.nodes())
        self.steps = self.images // self._batch + (left > 0 and not (left == 1 and self._batch > 1 and batch_norm))

    def epoch(self, number: int, start: int) -> Iterator[Fed]:
        indices = self._data.training.indices
        order = shuffled(indices, self._seed, number)
        view = (number - self._first_epoch) % self._cache.views
        for batch in range(start, self.steps):
            chosen = order[batch * self._batch : (batch + 1) * self._batch]
            rows = np.array([self._rows[index] for index in chosen.tolist()]) + view * len(indices)
            yield Fed(self._taken(self._training, rows), _targets(self._data.training, chosen), batch)

    def validation(self) -> Iterator[Fed]:
        if self._data.validation is None:
            return
        indices = self._data.validation.indices
        for batch, first in enumerate(range(0, len(indices), self._batch)):
            rows = np.arange(first, min(first + self._batch, len(indices)))
            yield Fed(self._taken(self._validation, rows), _targets(self._data.validation, indices[rows]), batch)

    def _taken(self, arrays: Sequence[Array], rows: Array) -> dict[str, Array]:
        """The features of some rows, in memory."""
        return {
            node: np.ascontiguousarray(array[rows]) for node, array in zip(self._cache.frontier, arrays, strict=True)
        }


def _targets(part: Part, indices: Array) -> Array:
    dataset = part.dataset
    found: Array = dataset.labels[indices] if dataset.targets is None else dataset.targets[indices]
    return found
