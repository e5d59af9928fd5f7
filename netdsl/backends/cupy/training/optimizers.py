"""Optimisers on the device: the formulas of `netdsl/train/optimizers.py` over the flat vector of parameters.

What changes from step to step (the rate, the factor of the gradients, corrections of means) lies in memory of the
device, so that an update is captured once. One launch of our own kernel, or plain forms: a few launches over whole
vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.training.bench import FLOAT
from netdsl.backends.cupy.training.kernel_update import stepping
from netdsl.backends.cupy.training.state import State
from netdsl.ir.layer import Array

FACTOR, RATE, FIRST, SECOND, KEEP, REST, COUNT = range(7)
"""Places of the numbers that change: the factor of the gradients, the learning rate, Adam's two corrections, how much
of the moving average stays, and what of the new values comes in."""
AVERAGE_FROM = 10
"""The moving average forgets faster in the first steps: after t of them it keeps at most (1 + t) / (10 + t)."""

LETTERS: dict[str, Callable[[Any], tuple[str, ...]]] = {
    "sgd": lambda model: ("v",) if model.momentum else (),
    "rmsprop": lambda model: ("s", *(("c",) if model.centered else ()), *(("m",) if model.momentum else ())),
    "adam": lambda model: ("m", "v"),
    "adamw": lambda model: ("m", "v"),
}
"""What an optimiser remembers, by its kind."""


class DeviceUpdater:
    """The state of one optimiser, and what changes the parameters of `state`.

    `model` is a recipe's optimiser; `undecayed` are stretches of the vector that `decay = weights` leaves out; `most`
    bounds each gradient (clip by value). `decay` of a moving average of the parameters and running statistics.
    """

    def __init__(
        self,
        device: Device,
        model: Any,
        state: State,
        undecayed: Sequence[tuple[int, int]] = (),
        *,
        most: float | None = None,
        average: float | None = None,
    ) -> None:
        self.device, self.model, self.steps, self.average_steps = device, model, 0, 0
        self._state, self._most, self._average = state, most, average
        self._undecayed = tuple(undecayed)
        xp = device.xp
        size = state.flat.size
        with device.use():
            self.vectors = {letter: xp.zeros((size,), FLOAT) for letter in LETTERS[model.kind](model)}
            if model.kind == "rmsprop" and model.style == "tensorflow":
                self.vectors["s"].fill(1)
            self.numbers = xp.zeros((COUNT,), FLOAT)
            self._decay: Any = np.float32(model.weight_decay)
            if model.weight_decay and model.decay == "weights" and undecayed:
                self._decay = xp.full((size,), np.float32(model.weight_decay), FLOAT)
                for start, stop in undecayed:
                    self._decay[start:stop] = np.float32(0)
            self.averages: dict[str, Any] = {}
            if average is not None:
                self.averages = {"": state.flat.copy()} | {name: state.weights[name].copy() for name in state.buffers}
        self._room = device.pinned((COUNT,), FLOAT)

    def prepare(self, lr: float, factor: float) -> None:
        """Sends the numbers of the next step; `factor` is what gradients are multiplied by first."""
        self.steps += 1
        room = self._room
        room[FACTOR], room[RATE] = factor, lr
        if hasattr(self.model, "betas"):
            first, second = self.model.betas
            room[FIRST], room[SECOND] = lr / (1 - first**self.steps), 1 / sqrt(1 - second**self.steps)
        if self._average is not None:
            self.average_steps += 1
            keep = min(self._average, (1 + self.average_steps) / (AVERAGE_FROM + self.average_steps))
            room[KEEP], room[REST] = keep, 1 - keep
        self.device.upload(self.numbers, room)
        self.device.await_copies()

    def launches(self) -> list[Launch]:
        """What updates parameters, the optimiser's vectors and averages."""
        try:
            found = [self._by_kernel()]
        except ValueError:
            found = [Launch(self.model.kind, self._update)]
            rest = list(self.averages)
        else:
            rest = [name for name in self.averages if name]
        if rest:
            found.append(Launch("average", lambda: self._mean(rest)))
        return found

    def _by_kernel(self) -> Launch:
        """The update and the average of the parameters in one launch. Raises ValueError."""
        state = self._state
        return stepping(
            self.device, self.model, state.flat, state.gradient, self.vectors, self.numbers, self._undecayed,
            most=self._most, average=self.averages.get(""), decay=self._average,
        )  # fmt: skip

    def _number(self, place: int) -> Any:
        return self.numbers[place : place + 1]

    def _update(self) -> None:
        xp, state = self.device.xp, self._state
        w, g = state.flat, state.gradient * self._number(FACTOR)
        if self._most is not None:
            g = xp.clip(g, np.float32(-self._most), np.float32(self._most))
        if self.model.weight_decay and self.model.kind == "adamw":
            w -= w * (self._decay * self._number(RATE))
        elif self.model.weight_decay:
            g = g + w * self._decay
        w -= FORMS[self.model.kind](xp, self.model, g, self.vectors, self._number)

    def _mean(self, names: Sequence[str]) -> None:
        keep, rest = self._number(KEEP), self._number(REST)
        for name in names:
            average = self.averages[name]
            new = self._state.flat if not name else self._state.weights[name]
            flat = average.reshape(-1)
            flat[...] = flat * keep + new.reshape(-1) * rest

    # ----------------------------------------------------------------------------------------------- what is kept

    def fetched(self) -> dict[str, Array]:
        """Copies of the optimiser's vectors on the host, by letter."""
        return {letter: self.fetch(vector) for letter, vector in self.vectors.items()}

    def fetch(self, source: Any) -> Array:
        target: Array = np.empty(source.shape, FLOAT)
        self.device.synchronize()
        self.device.download(target, source)
        self.device.mark(copies=True).wait()
        return target

    def put(self, target: Any, value: Array) -> None:
        self.device.synchronize()
        self.device.upload(target, np.ascontiguousarray(value, FLOAT))
        self.device.mark(copies=True).wait()

    def restore(self, vectors: Mapping[str, Array], steps: int) -> None:
        for letter, vector in self.vectors.items():
            self.put(vector, vectors[letter])
        self.steps = steps


def _sgd(xp: Any, model: Any, g: Any, kept: Mapping[str, Any], number: Callable[[int], Any]) -> Any:
    if not model.momentum:
        return g * number(RATE)
    v = kept["v"]
    v *= np.float32(model.momentum)
    v += g
    return (g + v * np.float32(model.momentum) if model.nesterov else v) * number(RATE)


def _rmsprop(xp: Any, model: Any, g: Any, kept: Mapping[str, Any], number: Callable[[int], Any]) -> Any:
    s = kept["s"]
    _mean(s, g * g, model.alpha)
    square = s
    if model.centered:
        _mean(kept["c"], g, model.alpha)
        square = s - kept["c"] * kept["c"]
    eps = np.float32(model.eps)
    tensorflow = model.style == "tensorflow"
    step = g / (xp.sqrt(square + eps) if tensorflow else xp.sqrt(square) + eps)
    if tensorflow:
        step = step * number(RATE)
    if model.momentum:
        m = kept["m"]
        m *= np.float32(model.momentum)
        m += step
        step = m
    return step if tensorflow else step * number(RATE)


def _adam(xp: Any, model: Any, g: Any, kept: Mapping[str, Any], number: Callable[[int], Any]) -> Any:
    first, second = model.betas
    m, v = kept["m"], kept["v"]
    _mean(v, g * g, second)
    _mean(m, g, first)
    return m / (xp.sqrt(v) * number(SECOND) + np.float32(model.eps)) * number(FIRST)


def _mean(mean: Any, new: Any, keep: float) -> None:
    """mean = keep mean + (1 - keep) new, in place."""
    mean *= np.float32(keep)
    mean += new * np.float32(1 - keep)


FORMS: dict[str, Callable[..., Any]] = {"sgd": _sgd, "rmsprop": _rmsprop, "adam": _adam, "adamw": _adam}
"""What is taken from the parameters, by the kind of the optimiser."""
