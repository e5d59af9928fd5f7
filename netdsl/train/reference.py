"""The reference engine: every layer's own `train` and `backward` in NumPy, one node after the other.

It is the yardstick that faster engines are measured against. What is kept between the two directions: see
netdsl/train/one_pass.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.backends.inputs import checked_inputs
from netdsl.backends.reference import needed
from netdsl.train.engine import Step, Targets
from netdsl.train.engine_base import EngineBase
from netdsl.train.one_pass import OnePass, weights_of

Array = NDArray[Any]


class ReferenceEngine(EngineBase):
    """Trains a network with each layer's own arithmetic; an `Engine`, in the type of its store.

    Arguments and errors: see `EngineBase`.
    """

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
            value, gradient = self._judged(name, outputs, targets)
            total += weight * value
            gradient = weight * gradient
            node = self._plan.outputs[name]
            gradients[node] = gradients[node] + gradient if node in gradients else gradient
        return total, gradients

    def _first_bad_head(self, outputs: Mapping[str, Array], targets: Targets) -> str:
        for name in self._plan.heads:
            value, _ = self._judged(name, outputs, targets)
            if not np.isfinite(value):
                return self._plan.outputs[name]
        return self._plan.outputs[next(iter(self._plan.heads))]
