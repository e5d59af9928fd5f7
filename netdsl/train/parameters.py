"""The numbers that training changes, in one stretch of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netdsl.weights.store import WeightStore

Array = NDArray[Any]


class Parameters:
    """Arrays by name, that lie one after the other in one vector.

    `flat` is the vector, of shape (size,); `views` are the arrays, by name, in PyTorch's layout: writing into one
    changes the other. Neither is ever replaced by another array, so both may be kept.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: DTypeLike = np.float32) -> None:
        """Zeros of the given shapes, in the order of the mapping."""
        self.slices: dict[str, slice] = {}
        end = 0
        for name, shape in shapes.items():
            self.slices[name] = slice(end, end + prod(shape))
            end += prod(shape)
        self.flat: Array = np.zeros(end, dtype)
        self.views: Mapping[str, Array] = MappingProxyType(
            {name: self.flat[self.slices[name]].reshape(shape) for name, shape in shapes.items()}
        )

    @classmethod
    def of(cls, store: WeightStore, names: Iterable[str]) -> Parameters:
        """Takes parameters over from a store: they have the store's values, and the store's arrays are the views from
        now on, so that whoever reads the store sees what training makes of them. Raises KeyError for a weight that has
        no values."""
        names = list(names)
        parameters = cls({name: store.values[name].shape for name in names}, store.dtype)
        for name, view in parameters.views.items():
            view[...] = store.values[name]
        store.bind(parameters.views)
        return parameters

    def like(self) -> Parameters:
        """Zeros with the same names and shapes: for gradients, or what an optimizer remembers."""
        return Parameters({name: view.shape for name, view in self.views.items()}, self.flat.dtype)

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.flat.size

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.views)

    def __getitem__(self, name: str) -> Array:
        return self.views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.views)

    def __len__(self) -> int:
        return len(self.views)


def buffers_of(store: WeightStore) -> dict[str, Array]:
    """The buffers of a store (running means and the like) as arrays that may be written into, which are the store's
    own from now on: a file that was mapped stays as it is."""
    copies = {name: np.array(store.values[name]) for name, slot in store.slots.items() if slot.weight.role == "buffer"}
    store.bind(copies)
    return copies
