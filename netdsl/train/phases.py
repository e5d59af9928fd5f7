"""One phase at work: its engine, optimiser, moving average and rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.train.clip import clip, norm
from netdsl.train.ema import Average
from netdsl.train.engine import Engine, Targets
from netdsl.train.errors import TrainError
from netdsl.train.optimizers import Updater, updater
from netdsl.train.recipe import Phase
from netdsl.train.schedules import rate

Array = NDArray[Any]


class Taken(NamedTuple):
    """What one step did."""

    loss: float
    outputs: dict[str, Array]
    lr: float
    gradient_norm: float


class PhaseRun:
    """Steps of a phase over the weights in a store."""

    def __init__(self, phase: Phase, engine: Engine, per_epoch: int) -> None:
        self.phase = phase
        self.engine = engine
        self.per_epoch = per_epoch
        self.total = per_epoch * phase.epochs
        parameters = engine.parameters
        vectors = [
            (place.start, place.stop) for name, place in parameters.slices.items() if parameters.views[name].ndim < 2
        ]
        self.updater: Updater = updater(phase.optimizer, parameters.flat, vectors)
        self.average: Average | None = None
        if phase.ema is not None:
            self.average = Average(phase.ema, self._averaged())

    def _averaged(self) -> dict[str, Array]:
        """What the moving average is taken of: trained parameters and running statistics."""
        floats = {name: array for name, array in self.engine.buffers.items() if array.dtype.kind == "f"}
        return {**self.engine.parameters.views, **floats}

    def rate(self, step: int) -> float:
        """The learning rate of a step of the phase, counted from 0."""
        return rate(self.phase.schedule, self.phase.lr, step, self.per_epoch, self.total)

    def step(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int, lr: float) -> Taken:
        """One step: forward, backward, update. `number` counts the steps of the whole run.

        Raises TrainError (E0971) where the loss or a gradient is not finite; parameters are as they were then.
        """
        done = self.engine.step(inputs, targets, seed, number)
        gradients = self.engine.gradients.flat
        length = norm(gradients)
        if not (isfinite(done.loss) and isfinite(length)):
            raise self._diverged(done.loss, inputs, targets, seed, number, lr)
        if self.phase.clip is not None:
            clip(self.phase.clip, gradients, length)
        self.updater.update(self.engine.parameters.flat, gradients, lr)
        if self.average is not None:
            self.average.update(self._averaged())
        return Taken(done.loss, done.outputs, lr, length)

    def _diverged(
        self, loss: float, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int, lr: float
    ) -> TrainError:
        what = "the loss" if not isfinite(loss) else "a gradient"
        node = self.engine.first_non_finite(inputs, targets, seed, number)
        where = f"; `{node}` is the first layer with NaN or infinity" if node is not None else ""
        bad = [name for name, array in inputs.items() if not np.isfinite(array).all()]
        if bad:
            help = "the images themselves hold NaN or infinity: look at the data and at `preprocess`"
        else:
            help = f"a smaller learning rate than {lr:g}, warm-up, or `clip 1.0` help most often"
        return TrainError("E0971", f"{what} is not finite at step {number + 1:_}{where}", help)

    # ------------------------------------------------------------------------------------------------------- state

    def arrays(self) -> dict[str, Array]:
        """The state beside the weights, by name: what a checkpoint holds."""
        found = {f"optimizer/{letter}": vector for letter, vector in self.updater.state.items()}
        if self.average is not None:
            found |= {f"average/{name}": array for name, array in self.average.values.items()}
        return found

    def restore(self, arrays: Mapping[str, Array], optimizer_steps: int, average_steps: int) -> None:
        """Takes the state of a checkpoint over. Raises TrainError (E0976) where it does not fit."""
        targets = self.arrays()
        for name, array in targets.items():
            found = arrays.get(name)
            if found is None or found.shape != array.shape or found.dtype != array.dtype:
                raise TrainError("E0976", f"the checkpoint is not one of this phase: `{name}` does not fit")
            array[...] = found
        self.updater.steps = optimizer_steps
        if self.average is not None:
            self.average.steps = average_steps

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """While it lasts the weights are those that are evaluated: the moving averages, where there are any."""
        if self.average is None:
            yield
            return
        current = self._averaged()
        kept = {name: array.copy() for name, array in current.items()}
        try:
            for name, array in current.items():
                array[...] = self.average.values[name]
            yield
        finally:
            for name, array in current.items():
                array[...] = kept[name]
