"""What a phase needs of an engine that trains on a device, and the parts of it that checkpoints hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from netdsl.train import recipe_parts as parts
from netdsl.train.engine import Targets
from netdsl.train.parameters import Parameters

Array = NDArray[Any]


class Done(Protocol):
    """What one step did."""

    @property
    def loss(self) -> float: ...

    @property
    def outputs(self) -> dict[str, Array]: ...

    @property
    def norm(self) -> float: ...

    @property
    def taken(self) -> bool: ...


@runtime_checkable
class DeviceSteps(Protocol):
    """An engine whose parameters and optimiser live on a device."""

    def resident(
        self, optimizer: parts.Optimizer, undecayed: Sequence[tuple[int, int]], clip: parts.Part | None,
        average: float | None,
    ) -> Any:  # fmt: skip
        """Makes the optimiser there; its `updater` has the vectors."""
        ...

    def train(
        self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int, lr: float, scale: float
    ) -> Done:
        """One step: forward, backward, update."""
        ...

    def settle(self) -> None:
        """Gives parameters and statistics to the host."""
        ...


class DeviceOptimizer:
    """The optimiser's vectors as the host sees them: copies."""

    def __init__(self, updater: Any) -> None:
        self._updater = updater

    @property
    def steps(self) -> int:
        return int(self._updater.steps)

    @steps.setter
    def steps(self, value: int) -> None:
        self._updater.steps = value

    @property
    def state(self) -> dict[str, Array]:
        found: dict[str, Array] = self._updater.fetched()
        return found

    def restore(self, vectors: Mapping[str, Array]) -> None:
        self._updater.restore(vectors, self.steps)


class DeviceAverage:
    """The moving average as the host sees it: copies, by name."""

    def __init__(self, updater: Any, parameters: Parameters) -> None:
        self._updater, self._parameters = updater, parameters

    @property
    def steps(self) -> int:
        return int(self._updater.average_steps)

    @steps.setter
    def steps(self, value: int) -> None:
        self._updater.average_steps = value

    @property
    def values(self) -> dict[str, Array]:
        own = self._parameters.like()
        own.flat[...] = self._updater.fetch(self._updater.averages[""])[: own.size]
        others = {name: self._updater.fetch(array) for name, array in self._updater.averages.items() if name}
        return {**own.views, **others}

    def restore(self, values: Mapping[str, Array]) -> None:
        own = self._parameters.like()
        for name, view in own.views.items():
            view[...] = values[name]
        if own.size:
            self._updater.put(self._updater.averages[""], own.flat)
        for name, array in self._updater.averages.items():
            if name:
                self._updater.put(array, values[name])
