"""The reference engine: every layer's own `train` and `backward` in NumPy, one node after the other.

It is the yardstick that faster engines are measured against. Of the activations it keeps what some `backward` reads
again and nothing else, and each only until its last reader is through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.analysis.training import Role, TrainingPlan, training_plan
from netdsl.backends.errors import RunError
from netdsl.backends.inputs import checked_inputs
from netdsl.backends.reference import needed
from netdsl.ir.layer import Gradients, LayerError, Trained
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.program.specialise import types_for
from netdsl.train.draw import PhiloxDraw
from netdsl.train.engine import Step, Targets
from netdsl.train.errors import TrainError
from netdsl.train.losses import Loss
from netdsl.train.parameters import Parameters, buffers_of
from netdsl.weights.store import WeightStore

Array = NDArray[Any]


class Kept(NamedTuple):
    """What the backward of a node reads again."""

    inputs: tuple[Array, ...]
    output: Array
    extra: tuple[Array, ...]


class ReferenceEngine:
    """Trains a network with each layer's own arithmetic; an `Engine` (netdsl/train/engine.py).

    `store` has the values of all weights, and says by its type whether float32 or float64 is computed in; `trainable`
    are the full names of the parameters that are trained; `loss` is one for all outputs, or losses by output name;
    `auxiliary` gives auxiliary heads the weight of their loss (those without one do not run).

    Raises TrainError where there is nothing to train or a gradient cannot pass, RunError E0711 for parameters without
    values.
    """

    def __init__(
        self,
        network: Network,
        store: WeightStore,
        trainable: Collection[str],
        loss: Loss | Mapping[str, Loss],
        auxiliary: Mapping[str, float] | None = None,
    ) -> None:
        self.network = network
        self.store = store
        self._plan = training_plan(network, trainable, auxiliary)
        self._losses = losses_of(self._plan, loss)
        require_values(self._plan, store)
        self._parameters = Parameters.of(store, self._plan.trainable)
        self._gradients = self._parameters.like()
        self._buffers = buffers_of(store)

    @property
    def plan(self) -> TrainingPlan:
        return self._plan

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def gradients(self) -> Parameters:
        return self._gradients

    @property
    def buffers(self) -> Mapping[str, Array]:
        return self._buffers

    def step(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int) -> Step:
        """One forward and backward pass; see `Engine.step`."""
        run = _Run(self, inputs, seed, number)
        for _ in run.forward():
            pass
        loss, gradients = self._judge(run.outputs, targets)
        self._gradients.flat[...] = 0
        for _ in run.backward(gradients, self._gradients):
            pass
        run.commit()
        return Step(loss, run.outputs)

    def evaluate(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs in evaluation mode; see `Engine.evaluate`."""
        nodes = needed(self.network, set(self.network.outputs.values()))
        arrays = checked_inputs(self.network, dict(inputs), self.store.dtype)
        readers = Counter(source for node in nodes for source in set(node.inputs))
        readers.update(self.network.outputs.values())
        values: dict[str, Array] = {}
        with np.errstate(over="ignore", under="ignore"):
            for node in nodes:
                role = self._plan.roles[node.name]
                if node.name in arrays:
                    values[node.name] = arrays[node.name]
                    continue
                taken = [values[source] for source in node.inputs]
                values[node.name] = np.asarray(node.layer.forward(np, taken, self.weights_of(role)), self.store.dtype)
                for source in set(node.inputs):
                    readers[source] -= 1
                    if not readers[source]:
                        del values[source]
        return {name: np.array(values[node]) for name, node in self.network.outputs.items()}

    def first_non_finite(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int) -> str | None:
        """The node where a number that is not finite first appears; see `Engine.first_non_finite`."""
        run = _Run(self, inputs, seed, number)
        for name, array in run.forward():
            if not np.isfinite(array).all():
                return name
        loss, gradients = self._judge(run.outputs, targets)
        if not np.isfinite(loss):
            return self._first_bad_head(run.outputs, targets)
        for name, arrays in run.backward(gradients, self._gradients.like()):
            if not all(np.isfinite(array).all() for array in arrays):
                return name
        return None

    def weights_of(self, role: Role) -> dict[str, Array]:
        """The weights of a node by their own names."""
        return {own: self.store.values[full] for own, full in role.weights.items()}

    def _judge(self, outputs: Mapping[str, Array], targets: Targets) -> tuple[float, dict[str, Array]]:
        """The loss, and by node its derivative in the outputs."""
        total = 0.0
        gradients: dict[str, Array] = {}
        for name, weight in self._plan.heads.items():
            value, gradient = self._value_and_gradient(name, outputs, targets)
            total += weight * value
            gradient = weight * gradient
            node = self._plan.outputs[name]
            gradients[node] = gradients[node] + gradient if node in gradients else gradient
        return total, gradients

    def _value_and_gradient(self, name: str, outputs: Mapping[str, Array], targets: Targets) -> tuple[float, Array]:
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            return self._losses[name].value_and_gradient(np, outputs[name], target_of(targets, name))

    def _first_bad_head(self, outputs: Mapping[str, Array], targets: Targets) -> str:
        for name in self._plan.heads:
            value, _ = self._value_and_gradient(name, outputs, targets)
            if not np.isfinite(value):
                return self._plan.outputs[name]
        return self._plan.outputs[next(iter(self._plan.heads))]


class _Run:
    """One pass over a batch: what is computed, and what is kept for the way back."""

    def __init__(self, engine: ReferenceEngine, inputs: Mapping[str, Array], seed: int, number: int) -> None:
        self._engine = engine
        self._plan = engine.plan
        self._seed, self._number = seed, number
        self._inputs = checked_inputs(engine.network, dict(inputs), engine.store.dtype)
        nodes = [role.node for role in self._plan.roles.values()]
        given = {name: TensorType(array.shape[1:]) for name, array in self._inputs.items()}
        self._types = types_for(engine.network, nodes, given)
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

    def _apply(self, role: Role, arrays: tuple[Array, ...]) -> Array:
        node, layer = role.node, role.layer
        # A batch norm that is applied twice moves its statistics twice, one after the other.
        moved = {own: self._statistics[full] for own, full in role.weights.items() if full in self._statistics}
        weights = self._engine.weights_of(role) | moved
        try:
            if role.trains:
                done = layer.train(np, arrays, weights, PhiloxDraw(self._seed, self._number, node.name))
            else:
                done = Trained(layer.forward(np, arrays, weights))
        except MemoryError:
            raise out_of_memory(role, len(arrays[0]), self._types[node.name]) from None
        except LayerError as error:
            raise TrainError(error.code, f"`{node.name}`: {error.message}", error.help) from None
        output = np.asarray(done.output, self._engine.store.dtype)
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
        weights = self._engine.weights_of(role)
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

    def commit(self) -> None:
        """Takes the statistics of the batch over."""
        for name, array in self._statistics.items():
            self._engine.buffers[name][...] = array


def hollow(array: Array) -> Array:
    """An array of the same shape and type that takes no memory; its numbers are NaN, and must not be read."""
    return np.broadcast_to(np.array(np.nan, array.dtype), array.shape)


def losses_of(plan: TrainingPlan, loss: Loss | Mapping[str, Loss]) -> dict[str, Loss]:
    """The loss of each output that has one. Raises TrainError E0954 where a mapping leaves one out."""
    if isinstance(loss, Loss):
        return dict.fromkeys(plan.heads, loss)
    for name in plan.heads:
        if name not in loss:
            raise TrainError(
                "E0954", f"output `{name}` has no loss", "give it one, or weight 0, which trains the others alone"
            )
    return {name: loss[name] for name in plan.heads}


def target_of(targets: Targets, output: str) -> Array:
    """The targets of one output. Raises TrainError E0951 where there are none."""
    if not isinstance(targets, Mapping):
        return np.asarray(targets)
    if output not in targets:
        raise TrainError("E0951", f"there are no targets for output `{output}`", f"there are: {', '.join(targets)}")
    return np.asarray(targets[output])


def require_values(plan: TrainingPlan, store: WeightStore) -> None:
    """Raises RunError E0711 where a step needs weights that have no values yet."""
    names = dict.fromkeys(full for role in plan.roles.values() for full in role.weights.values())
    empty = list(store.without_values(names))
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise RunError(
            "E0711",
            f"parameter `{empty[0]}`{more} of {plan.network.name} have no values"
            if more
            else f"parameter `{empty[0]}` of {plan.network.name} has no values",
            "load weights, or initialize them with a seed",
        )


def out_of_memory(role: Role, batch: int, type_: TensorType) -> RunError:
    return RunError(
        "E0714",
        f"not enough memory for `{role.node.name}` ({role.layer.kind}, output {batch} x {type_})",
        "train with smaller batches",
    )
