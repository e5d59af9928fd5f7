"""One phase at work: its engine, optimiser, moving average and rates.

On a GPU all of these stay there between steps (`Resident`); the host's arrays are brought up to date where somebody
looks at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.train.clip import clip, norm
from netdsl.train.device_parts import DeviceAverage, DeviceOptimizer, DeviceSteps
from netdsl.train.ema import Average
from netdsl.train.engine import Engine, Targets
from netdsl.train.errors import TrainError
from netdsl.train.optimizers import Updater, updater
from netdsl.train.recipe import Phase
from netdsl.train.scaling import LossScale, scale_for
from netdsl.train.schedules import rate

Array = NDArray[Any]


class Taken(NamedTuple):
    """What one step did."""

    loss: float
    outputs: dict[str, Array]
    lr: float
    gradient_norm: float
    skipped: bool = False
    """Whether a gradient overflowed, in half precision: parameters are as they were, the loss scale is smaller."""


class PhaseRun:
    """Steps of a phase over the weights in a store."""

    def __init__(self, phase: Phase, engine: Engine, per_epoch: int, precision: str = "float32") -> None:
        self.phase = phase
        self.engine = engine
        self.per_epoch = per_epoch
        self.total = per_epoch * phase.epochs
        self.precision = precision
        self.scale: LossScale = scale_for(precision)
        parameters = engine.parameters
        vectors = [
            (place.start, place.stop) for name, place in parameters.slices.items() if parameters.views[name].ndim < 2
        ]
        self.updater: Updater | DeviceOptimizer
        self.average: Average | DeviceAverage | None = None
        self.device: DeviceSteps | None = engine if isinstance(engine, DeviceSteps) else None
        if self.device is not None:
            resident = self.device.resident(phase.optimizer, vectors, phase.clip, phase.ema)
            self.updater = DeviceOptimizer(resident.updater)
            if phase.ema is not None:
                self.average = DeviceAverage(resident.updater, engine.parameters)
            return
        self.updater = updater(phase.optimizer, parameters.flat, vectors)
        if phase.ema is not None:
            self.average = Average(phase.ema, self._averaged())

    def settle(self) -> None:
        """Brings the host's parameters and statistics up to date."""
        if self.device is not None:
            self.device.settle()

    def _averaged(self) -> dict[str, Array]:
        """What the moving average is taken of: trained parameters and running statistics."""
        floats = {name: array for name, array in self.engine.buffers.items() if array.dtype.kind == "f"}
        return {**self.engine.parameters.views, **floats}

    def rate(self, step: int) -> float:
        """The learning rate of a step of the phase, counted from 0."""
        return rate(self.phase.schedule, self.phase.lr, step, self.per_epoch, self.total)

    def step(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int, lr: float) -> Taken:
        """One step: forward, backward, update. `number` counts the steps of the whole run.

        Raises TrainError (E0971) where the loss or a gradient is not finite; parameters are as they were then. In half
        precision a gradient that overflows leaves the step out, as long as a smaller loss scale may help.
        """
        if self.device is not None:
            return self._step_there(self.device, inputs, targets, seed, number, lr)
        done = self.engine.step(inputs, targets, seed, number)
        gradients = self.engine.gradients.flat
        length = norm(gradients)
        if not (isfinite(done.loss) and isfinite(length)):
            raise self._diverged(done.loss, inputs, targets, seed, number, lr)
        if self.phase.clip is not None:
            clip(self.phase.clip, gradients, length)
        assert isinstance(self.updater, Updater) and not isinstance(self.average, DeviceAverage)
        self.updater.update(self.engine.parameters.flat, gradients, lr)
        if self.average is not None:
            self.average.update(self._averaged())
        return Taken(done.loss, done.outputs, lr, length)

    def _step_there(
        self, device: DeviceSteps, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int, lr: float
    ) -> Taken:
        done = device.train(inputs, targets, seed, number, lr, self.scale.value)
        if done.taken:
            self.scale.good_step()
        elif not isfinite(done.loss) or not self.scale.overflow():
            raise self._diverged(done.loss, inputs, targets, seed, number, lr)
        return Taken(done.loss, done.outputs, lr, done.norm if done.taken else 0.0, not done.taken)

    def _diverged(
        self, loss: float, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int, lr: float
    ) -> TrainError:
        self.settle()
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
        if not self.scale.fixed:
            found["scale/loss"] = np.array([self.scale.value, self.scale.good], np.float64)
        return found

    def restore(self, arrays: Mapping[str, Array], optimizer_steps: int, average_steps: int) -> None:
        """Takes the state of a checkpoint over. Raises TrainError (E0976) where it does not fit."""
        targets = self.arrays()
        for name, array in targets.items():
            found = arrays.get(name)
            if found is None or found.shape != array.shape or found.dtype != array.dtype:
                raise TrainError("E0976", f"the checkpoint is not one of this phase: `{name}` does not fit")
            array[...] = found
        if not self.scale.fixed:
            value, good = targets["scale/loss"].tolist()
            self.scale.value, self.scale.good = value, int(good)
        if isinstance(self.updater, DeviceOptimizer):
            self.updater.restore(_under("optimizer/", targets))
        if isinstance(self.average, DeviceAverage):
            self.average.restore(_under("average/", targets))
        self.updater.steps = optimizer_steps
        if self.average is not None:
            self.average.steps = average_steps

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """While it lasts the weights are those that are evaluated: the moving averages, where there are any."""
        self.settle()
        if self.average is None:
            yield
            return
        current, averages = self._averaged(), self.average.values
        kept = {name: array.copy() for name, array in current.items()}
        try:
            for name, array in current.items():
                array[...] = averages[name]
            yield
        finally:
            for name, array in current.items():
                array[...] = kept[name]


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
