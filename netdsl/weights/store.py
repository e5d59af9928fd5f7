"""The weights of one network: where they came from, and whether it may run on them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.ir.network import Network
from netdsl.weights import files
from netdsl.weights.convert import converted
from netdsl.weights.errors import WeightError
from netdsl.weights.initial import fresh
from netdsl.weights.inventory import Slot, inventory
from netdsl.weights.mapping import release
from netdsl.weights.match import by_position as matched_by_position
from netdsl.weights.match import compare
from netdsl.weights.patterns import Patterns, excepted
from netdsl.weights.report import LoadReport, mismatch
from netdsl.weights.rules import Rules, read_rules
from netdsl.weights.stored import Limits, Stored, in_memory

Source = str | os.PathLike[str] | Mapping[str, Any]
"""A file of weights, or arrays by name."""


class Named(NamedTuple):
    """What a file offers to a network."""

    arrays: Mapping[str, Stored]
    """By the names that the network has for them, or would have."""
    left: Collection[str]
    """Names, of either side, that are to be left as they are."""
    origin: Mapping[str, str]
    """Name -> name in the file."""


class WeightStore:
    """Values for the weights of a network, by full name.

    What the spec states has its values from the start, and so have buffers; parameters have none until they are
    loaded or initialized. Shapes never change.
    """

    def __init__(self, network: Network, dtype: Literal["float32", "float64"] = "float32") -> None:
        self.dtype = dtype
        self.slots: dict[str, Slot] = inventory(network)
        self._values: dict[str, NDArray[Any]] = {}
        self._loaded: set[str] = set()
        self.version = 0
        """Counts changes: what was folded or packed from values of another version is void."""
        for name, slot in self.slots.items():
            if slot.fixed or slot.weight.role == "buffer":
                self._values[name] = fresh(name, slot.weight, 0, dtype)

    @property
    def values(self) -> Mapping[str, NDArray[Any]]:
        """All weights that have values. The mapping cannot be changed; take care not to write into its arrays."""
        return MappingProxyType(self._values)

    def load(
        self,
        source: Source,
        *,
        except_: Patterns = (),
        rules: Rules | str | os.PathLike[str] | None = None,
        by_position: bool = False,
        limits: Limits | None = None,
    ) -> LoadReport:
        """Takes weights from a file (`.safetensors`, `.npz`, `.pth`, `.pt`) or from a mapping of arrays.

        Everything must fit: a weight that is missing, unexpected or of another shape is an error unless an `except_`
        pattern covers it. `rules` (or a file of them) say how the names of the file become those of the network;
        `by_position` goes by the order instead. Nothing changes when an error is raised. float32 weights of a file may
        stay views of the mapped file, which is read when they are used. Raises WeightError.
        """
        stored, shown = offered(source, limits)
        named = self.named(stored, shown, except_=except_, rules=rules, by_position=by_position)
        report = compare(self.slots, *named)
        if not report.fits:
            raise mismatch(report, self.slots, shown)
        arrays: dict[str, NDArray[Any]] = {}
        for name in report.loaded:
            arrays[name] = converted(name, named.arrays[name], self._dtype_of(name), shown)
            # Checking has read all of it; until it is used it need not stay in memory.
            release(arrays[name])
        self._take(arrays)
        return report

    def named(
        self,
        stored: Mapping[str, Stored],
        source: str,
        *,
        except_: Patterns = (),
        rules: Rules | str | os.PathLike[str] | None = None,
        by_position: bool = False,
    ) -> Named:
        """The arrays of a file under the names that the network may have for them. Raises WeightError."""
        origin: Mapping[str, str] = {name: name for name in stored}
        if rules is not None:
            renamed = (rules if isinstance(rules, Rules) else read_rules(rules)).apply(stored, source)
            stored, origin = renamed.arrays, renamed.origin
        left = excepted(dict.fromkeys([*self.slots, *stored]), except_)
        if by_position:
            stored, places = matched_by_position(self.slots, stored, source, left)
            origin = {name: origin[found] for name, found in places.items()}
        return Named(stored, left, origin)

    def _dtype_of(self, name: str) -> str:
        kind = self.slots[name].weight.dtype
        return self.dtype if kind == "float32" else kind

    def initialize(self, seed: int, *, everything: bool = False) -> tuple[str, ...]:
        """Gives fresh values to the weights that were not loaded, and returns their names.

        The values depend on the seed and on the weight's name, shape and way of initialization alone. Values that the
        spec states are kept. `everything` replaces loaded weights as well.
        """
        names = [
            name for name, slot in self.slots.items() if not slot.fixed and (everything or name not in self._loaded)
        ]
        for name in names:
            self._values[name] = fresh(name, self.slots[name].weight, seed, self.dtype)
            self._loaded.discard(name)
        self.version += 1
        return tuple(names)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes every weight into a file (`.safetensors`, `.npz`, `.pth`), in full or not at all.

        Raises WeightError, also while parameters have no values.
        """
        empty = list(self.without_values(self.slots))
        if empty:
            raise WeightError("E0709", f"cannot write {path}: {len(empty)} weights have no values yet")
        files.write(path, {name: self._values[name] for name in self.slots})

    def bind(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Makes arrays the values of weights as they are, without a copy: who writes into one changes the weight.

        Raises KeyError for an unknown name, ValueError for another shape or type than the weight has.
        """
        for name, array in arrays.items():
            expected = (self.slots[name].weight.shape, np.dtype(self._dtype_of(name)))
            if (array.shape, array.dtype) != expected:
                raise ValueError(f"{name}: an array of {array.shape} {array.dtype}, expected {expected}")
        self._take(arrays)

    def _take(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._values.update(arrays)
        self._loaded.update(arrays)
        self.version += 1

    def without_values(self, names: Iterable[str]) -> Iterator[str]:
        """Those of `names` that have been neither loaded nor initialized nor stated in the spec."""
        return (name for name in names if name not in self._values)


def offered(source: Source, limits: Limits | None = None) -> tuple[Mapping[str, Stored], str]:
    """The arrays of a source by name, and what the source is called in an error. Raises WeightError."""
    if isinstance(source, Mapping):
        return {name: in_memory(name, array) for name, array in source.items()}, "the mapping"
    return files.open_archive(source, limits).arrays, os.fspath(source)
