"""The reference engine: every layer's own `train` and `backward` in NumPy, one node after the other.

It is the yardstick that faster engines are measured against. What is kept between the two directions: see
netdsl/train/one_pass.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.analysis.training import TrainingPlan, training_plan
from netdsl.backends.errors import RunError
from netdsl.backends.inputs import checked_inputs
from netdsl.backends.reference import needed
from netdsl.ir.network import Network
from netdsl.train.engine import Step, Targets
from netdsl.train.errors import TrainError
from netdsl.train.losses import Loss
from netdsl.train.one_pass import OnePass, weights_of
from netdsl.train.parameters import Parameters, buffers_of
from netdsl.weights.store import WeightStore

Array = NDArray[Any]


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
        run = OnePass(self._plan, self.store, inputs, seed, number)
        for _ in run.forward():
            pass
        loss, gradients = self._judge(run.outputs, targets)
        self._gradients.flat[...] = 0
        for _ in run.backward(gradients, self._gradients):
            pass
        run.commit(self._buffers)
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
                values[node.name] = np.asarray(
                    node.layer.forward(np, taken, weights_of(self.store, role)), self.store.dtype
                )
                for source in set(node.inputs):
                    readers[source] -= 1
                    if not readers[source]:
                        del values[source]
        return {name: np.array(values[node]) for name, node in self.network.outputs.items()}

    def first_non_finite(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int) -> str | None:
        """The node where a number that is not finite first appears; see `Engine.first_non_finite`."""
        run = OnePass(self._plan, self.store, inputs, seed, number)
        for name, array in run.forward():
            if not np.isfinite(array).all() or not run.statistics_are_finite(name):
                return name
        loss, gradients = self._judge(run.outputs, targets)
        if not np.isfinite(loss):
            return self._first_bad_head(run.outputs, targets)
        for name, arrays in run.backward(gradients, self._gradients.like()):
            if not all(np.isfinite(array).all() for array in arrays):
                return name
        return None

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
