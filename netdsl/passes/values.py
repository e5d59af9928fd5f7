"""Values of weights that are computed when they are asked for.

Passes change weights (a folded batch norm scales a whole convolution), and back-ends pack what comes out into a form of
their own. Had each its copy at the same time, a network would take three times the memory of its weights. So a pass
leaves a recipe, and only the step that is being packed has its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from netdsl.ir.layer import Array
from netdsl.weights.mapping import release


class Recipe(NamedTuple):
    """How the values of one weight are made of others."""

    shape: tuple[int, ...]
    sources: tuple[Array, ...]
    """The stored arrays that they are made of."""
    make: Callable[[], Array]
    """The values, an array of this shape."""


Value = Array | Recipe


class Values(Mapping[str, Array]):
    """Arrays by full name. Those that there is a recipe for are computed anew each time."""

    def __init__(self, entries: Mapping[str, Value]) -> None:
        self._entries: dict[str, Value] = dict(entries._entries if isinstance(entries, Values) else entries)

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        return entry.make() if isinstance(entry, Recipe) else entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, without computing it. Raises KeyError."""
        return self._entries[name].shape

    def sources(self, name: str) -> tuple[Array, ...]:
        """The stored arrays that an array is, or is made of. Raises KeyError."""
        entry = self._entries[name]
        return entry.sources if isinstance(entry, Recipe) else (entry,)

    def chosen(self, names: Iterable[str]) -> Values:
        """Some of them. Raises KeyError."""
        return Values({name: self._entries[name] for name in names})

    def extended(self, more: Mapping[str, Value]) -> Values:
        """These and others, which take the place of those of the same name."""
        return Values({**self._entries, **more})

    def derived(self, name: str, shape: tuple[int, ...], change: Callable[[Array], Array]) -> Recipe:
        """A recipe: `change` of the array called `name`. Raises KeyError."""
        return Recipe(shape, self.sources(name), lambda: change(self[name]))


class Weights(Mapping[str, Array]):
    """The weights of one node by their own names: computed when asked for, kept until they are forgotten."""

    def __init__(self, values: Values, names: Mapping[str, str]) -> None:
        """`names`: own name -> full name."""
        self._values = values
        self._names = dict(names)
        self._found: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._found:
            self._found[name] = self._values[self._names[name]]
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a weight, without computing it. Raises KeyError."""
        return self._values.shape(self._names[name])

    def derived(self, name: str, shape: tuple[int, ...], change: Callable[[Array], Array]) -> Recipe:
        """A recipe: `change` of the weight called `name`. Raises KeyError."""
        return self._values.derived(self._names[name], shape, change)

    def forget(self) -> None:
        """Lets go of what was computed, and of the pages of files that it was made of. It can be asked for again."""
        self._found.clear()
        for name in self._names.values():
            for array in self._values.sources(name):
                release(array)


def forget(weights: Mapping[str, Array]) -> None:
    """Says that the weights of a step have been packed; nothing happens to a plain mapping."""
    if isinstance(weights, Weights):
        weights.forget()
