"""One pass over a batch, forwards and backwards, with each layer's own `train` and `backward`.

Of the activations it keeps what some `backward` reads again and nothing else, and each only until its last reader is
through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.analysis.training import Role, TrainingPlan
from netdsl.backends.errors import RunError
from netdsl.backends.inputs import checked_inputs
from netdsl.ir.layer import Gradients, LayerError, Trained
from netdsl.ir.types import TensorType
from netdsl.program.specialise import types_for
from netdsl.train.draw import PhiloxDraw
from netdsl.train.errors import TrainError
from netdsl.train.parameters import Parameters
from netdsl.weights.store import WeightStore

Array = NDArray[Any]


class Kept(NamedTuple):
    """What the backward of a node reads again."""

    inputs: tuple[Array, ...]
    output: Array
    extra: tuple[Array, ...]


class OnePass:
    """One pass over a batch: what is computed, and what is kept for the way back."""

    def __init__(
        self, plan: TrainingPlan, store: WeightStore, inputs: Mapping[str, Array], seed: int, number: int
    ) -> None:
        """Raises RunError for inputs that do not fit."""
        self._plan = plan
        self._store = store
        self._seed, self._number = seed, number
        self._inputs = checked_inputs(plan.network, dict(inputs), store.dtype)
        nodes = [role.node for role in self._plan.roles.values()]
        given = {name: TensorType(array.shape[1:]) for name, array in self._inputs.items()}
        self._types = types_for(plan.network, nodes, given)
        self._kept: dict[str, Kept] = {}
        self._statistics: dict[str, Array] = {}
        self.outputs: dict[str, Array] = {}

    def forward(self) -> Iterator[tuple[str, Array]]:
        """Computes all nodes in order and yields the name and output of each."""
        roles = self._plan.roles.values()
        readers = Counter(source for role in roles for source in set(role.node.inputs))
        values: dict[str, Array] = {}
        wanted = set(self._plan.outputs.values())
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            for role in roles:
                node = role.node
                if node.name in self._inputs:
                    values[node.name] = self._inputs[node.name]
                else:
                    values[node.name] = self._apply(role, tuple(values[source] for source in node.inputs))
                yield node.name, values[node.name]
                for source in set(node.inputs):
                    readers[source] -= 1
                    if not readers[source] and source not in wanted:
                        del values[source]
        self.outputs = {name: np.array(values[node]) for name, node in self._plan.outputs.items()}

    def statistics_are_finite(self, name: str) -> bool:
        """False where the running statistics of a node overflowed: its output is finite all the same then."""
        moved = (self._statistics.get(full) for full in self._plan.roles[name].weights.values())
        return all(array is None or bool(np.isfinite(array).all()) for array in moved)

    def _apply(self, role: Role, arrays: tuple[Array, ...]) -> Array:
        node, layer = role.node, role.layer
        # A batch norm that is applied twice moves its statistics twice, one after the other.
        moved = {own: self._statistics[full] for own, full in role.weights.items() if full in self._statistics}
        weights = weights_of(self._store, role) | moved
        try:
            if role.trains:
                done = layer.train(np, arrays, weights, PhiloxDraw(self._seed, self._number, node.name))
            else:
                done = Trained(layer.forward(np, arrays, weights))
        except MemoryError:
            raise out_of_memory(role, len(arrays[0]), self._types[node.name]) from None
        except LayerError as error:
            raise TrainError(error.code, f"`{node.name}`: {error.message}", error.help) from None
        output = np.asarray(done.output, self._store.dtype)
        expected = (len(arrays[0]), *self._types[node.name].shape)
        if output.shape != expected:
            raise RunError(
                "E0715",
                f"`{node.name}` ({layer.kind}) computed shape {output.shape}, its rule says {expected}",
                "this is a defect of the layer",
            )
        for own, array in done.buffers.items():
            self._statistics[role.weights[own]] = array
        if role.gradient:
            self._kept[node.name] = Kept(
                arrays if role.keeps_inputs else tuple(map(hollow, arrays)),
                output if role.keeps_output else hollow(output),
                done.extra,
            )
        return output

    def backward(self, gradients: Mapping[str, Array], into: Parameters) -> Iterator[tuple[str, list[Array]]]:
        """Adds the derivatives in the parameters up in `into`; yields each node and all derivatives it computed.

        `gradients` are those of the loss in the outputs, by node.
        """
        arriving = dict(gradients)
        own: set[str] = set()  # gradients that are sums: nobody else has them, so they may be written into
        for name, role in reversed(list(self._plan.roles.items())):
            if not role.gradient or name not in arriving:
                continue
            dy = arriving.pop(name)
            kept = self._kept.pop(name)
            if not any(role.wanted) and not role.wanted_weights:
                continue
            found = self._derive(role, dy, kept)
            made: list[Array] = []
            for source, wanted, dx in zip(role.node.inputs, role.wanted, found.inputs, strict=True):
                if not wanted:
                    continue
                assert dx is not None, f"{role.layer.kind} gives no gradient of an input"
                made.append(dx)
                if source not in arriving:
                    arriving[source] = dx
                elif source in own:
                    arriving[source] += dx
                else:
                    arriving[source] = arriving[source] + dx
                    own.add(source)
            for weight in sorted(role.wanted_weights):
                made.append(found.weights[weight])
                into.views[role.weights[weight]][...] += found.weights[weight]
            yield name, made

    def _derive(self, role: Role, dy: Array, kept: Kept) -> Gradients:
        weights = weights_of(self._store, role)
        try:
            with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
                found = role.layer.backward(
                    np, dy, kept.inputs, kept.output, kept.extra, weights, role.wanted, role.wanted_weights
                )
        except MemoryError:
            raise out_of_memory(role, len(dy), self._types[role.node.name]) from None
        for array, dx, wanted in zip(kept.inputs, found.inputs, role.wanted, strict=True):
            if wanted and (dx is None or dx.shape != array.shape):
                raise RunError(
                    "E0715",
                    f"`{role.node.name}` ({role.layer.kind}) computed a gradient of shape "
                    f"{None if dx is None else dx.shape} for an input of shape {array.shape}",
                    "this is a defect of the layer",
                )
        return found

    def commit(self, buffers: Mapping[str, Array]) -> None:
        """Takes the statistics of the batch over."""
        for name, array in self._statistics.items():
            buffers[name][...] = array


def weights_of(store: WeightStore, role: Role) -> dict[str, Array]:
    """The weights of a node by their own names."""
    return {own: store.values[full] for own, full in role.weights.items()}


def hollow(array: Array) -> Array:
    """An array of the same shape and type that takes no memory; its numbers are NaN, and must not be read."""
    return np.broadcast_to(np.array(np.nan, array.dtype), array.shape)


def out_of_memory(role: Role, batch: int, type_: TensorType) -> RunError:
    return RunError(
        "E0714",
        f"not enough memory for `{role.node.name}` ({role.layer.kind}, output {batch} x {type_})",
        "train with smaller batches",
    )
