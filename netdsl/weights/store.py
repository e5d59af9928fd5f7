"""The weights of one network: where they came from, and whether it may run on them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

from numpy.typing import NDArray

from netdsl.ir.network import Network
from netdsl.weights import files
from netdsl.weights.convert import converted
from netdsl.weights.errors import WeightError
from netdsl.weights.initial import fresh
from netdsl.weights.inventory import Slot, inventory
from netdsl.weights.match import LoadReport, Patterns, compare, mismatch
from netdsl.weights.stored import Limits, Stored, in_memory

Source = str | os.PathLike[str] | Mapping[str, Any]
"""A file of weights, or arrays by name."""


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
        for name, slot in self.slots.items():
            if slot.fixed or slot.weight.role == "buffer":
                self._values[name] = fresh(name, slot.weight, 0, dtype)

    @property
    def values(self) -> Mapping[str, NDArray[Any]]:
        """All weights that have values. The mapping cannot be changed; take care not to write into its arrays."""
        return MappingProxyType(self._values)

    def load(self, source: Source, *, except_: Patterns = (), limits: Limits | None = None) -> LoadReport:
        """Takes weights from a file (`.npz`, `.safetensors`) or from a mapping of arrays.

        Everything must fit: a weight that is missing, unexpected or of another shape is an error unless an `except_`
        pattern covers it. Nothing changes when an error is raised. Raises WeightError.
        """
        if isinstance(source, Mapping):
            return self._take({name: in_memory(name, array) for name, array in source.items()}, except_, "the mapping")
        with files.opened(source, limits) as stored:
            return self._take(stored, except_, os.fspath(source))

    def _take(self, stored: Mapping[str, Stored], except_: Patterns, source: str) -> LoadReport:
        report = compare(self.slots, stored, except_)
        if not report.fits:
            raise mismatch(report, self.slots, source)
        arrays = {name: converted(name, stored[name], self._dtype_of(name), source) for name in report.loaded}
        self._values.update(arrays)
        self._loaded.update(arrays)
        return report

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
        return tuple(names)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes every weight into a `.npz` or `.safetensors` file, in full or not at all.

        Raises WeightError, also while parameters have no values.
        """
        empty = list(self.without_values(self.slots))
        if empty:
            raise WeightError("E0709", f"cannot write {path}: {len(empty)} weights have no values yet")
        files.write(path, {name: self._values[name] for name in self.slots})

    def without_values(self, names: Iterable[str]) -> Iterator[str]:
        """Those of `names` that have been neither loaded nor initialized nor stated in the spec."""
        return (name for name in names if name not in self._values)
