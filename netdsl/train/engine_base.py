"""What the engines have in common: the network, its weights, and the losses of its heads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.analysis.training import TrainingPlan, training_plan
from netdsl.backends.errors import RunError
from netdsl.ir.network import Network
from netdsl.train.engine import Targets
from netdsl.train.errors import TrainError
from netdsl.train.losses import Loss
from netdsl.train.parameters import Parameters, buffers_of
from netdsl.weights.store import WeightStore

Array = NDArray[Any]


class EngineBase:
    """The state of an `Engine` (netdsl/train/engine.py); a subclass computes the steps.

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
        self.network, self.store = network, store
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

    def _judged(self, head: str, outputs: Mapping[str, Array], targets: Targets) -> tuple[float, Array]:
        """The loss of one head, and its derivative in the output; neither has the head's weight yet."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            return self._losses[head].value_and_gradient(np, outputs[head], target_of(targets, head))


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
