"""Optimisers: gradients in, changed parameters out, in place.

Legend: w parameters, g gradients, lr learning rate; each optimiser's own state is one vector per letter of its formula,
as long as w. All of them work on the flat vectors of an engine, block by block, so that a block is still in the cache
when the next operation reads it. The formulas are PyTorch's (and TensorFlow's for RMSProp): see `recipe_parts`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.train import recipe_parts as parts

Array = NDArray[Any]

BLOCK = 1 << 15
"""Elements that are updated at a time: five vectors of so many float32 fit into the second-level cache. Updating is
bound by the memory, so that more threads would not help."""


class Span(NamedTuple):
    """A stretch of the flat vector: from `start` up to `stop`, decayed or not."""

    start: int
    stop: int
    decayed: bool


class Updater(ABC):
    """The state of one optimiser over a vector of parameters.

    `state` has one vector for each of `letters`; with `steps` it is all that a checkpoint has to hold.
    """

    letters: ClassVar[tuple[str, ...]]

    def __init__(self, model: Any, weights: Array, undecayed: Sequence[tuple[int, int]] = ()) -> None:
        self.model = model
        self.steps = 0
        self.state: dict[str, Array] = {letter: np.zeros_like(weights) for letter in self._kept()}
        self._spans = tuple(_blocks(len(weights), undecayed if model.decay == "weights" else ()))
        self._room = [np.empty(min(BLOCK, len(weights)), weights.dtype) for _ in range(2)]

    def _kept(self) -> tuple[str, ...]:
        """The letters that this model's options need."""
        return self.letters

    def update(self, weights: Array, gradients: Array, lr: float) -> None:
        """One step: changes `weights` in place. `gradients` stay as they are."""
        self.steps += 1
        for start, stop, decayed in self._spans:
            a, b = (room[: stop - start] for room in self._room)
            state = {letter: vector[start:stop] for letter, vector in self.state.items()}
            w, g = weights[start:stop], gradients[start:stop]
            self._step(w, g, lr, self.model.weight_decay if decayed else 0.0, state, a, b)

    @abstractmethod
    def _step(self, w: Array, g: Array, lr: float, decay: float, state: dict[str, Array], a: Array, b: Array) -> None:
        """One block. `a` and `b` are room for intermediate results."""


class SgdUpdater(Updater):
    letters = ("v",)

    def _kept(self) -> tuple[str, ...]:
        return ("v",) if self.model.momentum else ()

    def _step(self, w: Array, g: Array, lr: float, decay: float, state: dict[str, Array], a: Array, b: Array) -> None:
        g = _with_decay(w, g, decay, a)
        momentum = self.model.momentum
        if momentum:
            v = state["v"]
            np.multiply(v, momentum, out=v)
            np.add(v, g, out=v)
            if self.model.nesterov:
                np.multiply(v, momentum, out=b)
                np.add(g, b, out=b)
                g = b
            else:
                g = v
        np.multiply(g, lr, out=a)
        np.subtract(w, a, out=w)


class RmsPropUpdater(Updater):
    letters = ("s", "c", "m")

    def __init__(self, model: Any, weights: Array, undecayed: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(model, weights, undecayed)
        if model.style == "tensorflow":
            self.state["s"].fill(1)

    def _kept(self) -> tuple[str, ...]:
        return ("s", *(("c",) if self.model.centered else ()), *(("m",) if self.model.momentum else ()))

    def _step(self, w: Array, g: Array, lr: float, decay: float, state: dict[str, Array], a: Array, b: Array) -> None:
        model, s = self.model, state["s"]
        g = _with_decay(w, g, decay, a)
        np.multiply(g, g, out=b)
        _mean(s, b, model.alpha)
        square = s
        if model.centered:
            c = state["c"]
            np.multiply(g, 1 - model.alpha, out=b)
            np.multiply(c, model.alpha, out=c)
            np.add(c, b, out=c)
            np.multiply(c, c, out=b)
            square = np.subtract(s, b, out=b)
        tensorflow = model.style == "tensorflow"
        if tensorflow:
            np.add(square, model.eps, out=b)
            np.sqrt(b, out=b)
        else:
            np.sqrt(square, out=b)
            np.add(b, model.eps, out=b)
        np.divide(g, b, out=a)
        if tensorflow:
            np.multiply(a, lr, out=a)
        if model.momentum:
            m = state["m"]
            np.multiply(m, model.momentum, out=m)
            np.add(m, a, out=m)
            a[:] = m
        if not tensorflow:
            np.multiply(a, lr, out=a)
        np.subtract(w, a, out=w)


class AdamUpdater(Updater):
    letters = ("m", "v")

    def _step(self, w: Array, g: Array, lr: float, decay: float, state: dict[str, Array], a: Array, b: Array) -> None:
        m, v = state["m"], state["v"]
        first, second = self.model.betas
        g = self._decay(w, g, lr, decay, a)
        np.multiply(g, g, out=b)
        _mean(v, b, second)
        np.multiply(g, 1 - first, out=b)
        np.multiply(m, first, out=m)
        np.add(m, b, out=m)
        np.sqrt(v, out=a)
        np.divide(a, sqrt(1 - second**self.steps), out=a)
        np.add(a, self.model.eps, out=a)
        np.divide(m, a, out=a)
        np.multiply(a, lr / (1 - first**self.steps), out=a)
        np.subtract(w, a, out=w)

    def _decay(self, w: Array, g: Array, lr: float, decay: float, a: Array) -> Array:
        return _with_decay(w, g, decay, a)


class AdamWUpdater(AdamUpdater):
    def _decay(self, w: Array, g: Array, lr: float, decay: float, a: Array) -> Array:
        if decay:
            np.multiply(w, 1 - lr * decay, out=w)
        return g


def _with_decay(w: Array, g: Array, decay: float, a: Array) -> Array:
    """g + decay w, in `a`; g itself without decay."""
    if not decay:
        return g
    np.multiply(w, decay, out=a)
    return np.add(g, a, out=a)


def _mean(mean: Array, new: Array, keep: float) -> None:
    """mean = keep mean + (1 - keep) new, in place; `new` is overwritten."""
    np.multiply(mean, keep, out=mean)
    np.multiply(new, 1 - keep, out=new)
    np.add(mean, new, out=mean)


def _blocks(size: int, undecayed: Sequence[tuple[int, int]]) -> Iterator[Span]:
    """The vector cut into blocks, each of which decays as a whole or not at all."""
    place = 0
    for start, stop in [*sorted(undecayed), (size, size)]:
        for first, last, decayed in ((place, start, True), (start, stop, False)):
            for low in range(first, last, BLOCK):
                yield Span(low, min(low + BLOCK, last), decayed)
        place = stop


_UPDATERS: dict[type[parts.Part], type[Updater]] = {
    parts.Sgd: SgdUpdater,
    parts.RmsProp: RmsPropUpdater,
    parts.Adam: AdamUpdater,
    parts.AdamW: AdamWUpdater,
}


def updater(model: parts.Part, weights: Array, undecayed: Sequence[tuple[int, int]] = ()) -> Updater:
    """The optimiser that a recipe asks for, over the flat vector `weights`.

    `undecayed` are stretches (start, stop) of it, of parameters with fewer than two axes, which `decay = weights`
    leaves out of weight decay.
    """
    return _UPDATERS[type(model)](model, weights, undecayed)
