"""The back-end: a form for each step, and the calls that run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netdsl.backends.numpy import conv, depthwise, pointwise, pool
from netdsl.backends.numpy.blas import product_threads
from netdsl.backends.numpy.blocks import Task
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.memory import Array, Memory, channels_first, channels_last
from netdsl.backends.numpy.workers import CREW
from netdsl.cores import usable_cores
from netdsl.layers.activation import Activation, Prelu
from netdsl.program.ir import Program, Step

Form = Callable[[Step, Context], tuple[str, list[Task]]]

FORMS: dict[str, Form] = {
    "conv": conv.conv,
    "depthwise_conv": depthwise.depthwise,
    "dense": conv.dense,
    "max_pool": pool.pool,
    "avg_pool": pool.pool,
    "global_avg_pool": pool.global_avg_pool,
    "global_max_pool": pool.global_max_pool,
    "adaptive_avg_pool": pool.adaptive_pool,
    "adaptive_max_pool": pool.adaptive_pool,
    "add": pointwise.join,
    "multiply": pointwise.join,
    "subtract": pointwise.join,
    "maximum": pointwise.join,
    "minimum": pointwise.join,
    "average": pointwise.join,
    "concat": pointwise.concat,
    "affine": pointwise.affine,
    "channel_shuffle": pointwise.channel_shuffle,
    "layer_norm": pointwise.layer_norm,
}
"""The form of each kind of layer; what is not here runs by the layer's own forward. A form raises ValueError for what
it does not know."""


PASSES = 64
"""Multiply-accumulates that take as long as what is done to one number of an output besides."""
SHARED_WORK = 2**22
"""Work of a step, in multiply-accumulates, below which waking a second thread costs more than it helps."""
LARGE_STEP = 100e6
"""Work of the average step from which threads of ours share steps. Below, they would mostly wait for each other and
for the interpreter; the threads that the library of matrix products has of its own wake sooner."""
WHOLE = {
    "concat", "channel_shuffle", "global_avg_pool", "global_max_pool", "adaptive_avg_pool", "adaptive_max_pool",
}  # fmt: skip
"""Kinds whose form is not cut into shares."""


class NumpyExecutable:
    """A Program that can run: its arena, its packed weights, and for each step the calls of each thread.

    Threads help in one of two ways, never both, or they would fight over the same cores: where steps are large, each
    takes a share of every step; where they are small, all of them compute each matrix product, and the rest is done by
    one.
    """

    def __init__(self, program: Program, threads: int, packs: dict[Any, Any]) -> None:
        self.program = program
        memory = Memory(program)
        # More threads than cores would only wait inside a product.
        workers, products = (threads, 1) if _has_large_steps(program) else (1, min(threads, usable_cores()))
        contexts = [Context(memory, packs, share, products=products) for share in range(workers)]
        self._products = products
        built = [_build(step, contexts) for step in program.steps]
        self.kernels = tuple(name for name, _ in built)
        self.pieces = tuple(pieces for _, pieces in built)
        self._inputs = {name: memory.view(tensor) for name, tensor in program.inputs.items()}
        self._outputs = {name: memory.view(tensor) for name, tensor in program.outputs.items()}
        self._contexts = contexts

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (N, C, *spatial) by name in, the same out; what comes out is the caller's."""
        self._take(inputs)
        with product_threads(self._products), np.errstate(over="ignore", under="ignore"):
            for pieces in self.pieces:
                CREW.run(pieces)
        return {name: np.array(channels_first(view), order="C") for name, view in self._outputs.items()}

    def _take(self, inputs: Mapping[str, Array]) -> None:
        for name, view in self._inputs.items():
            np.copyto(view, channels_last(inputs[name]))

    def parts(self, inputs: Mapping[str, Array]) -> list[tuple[str, Task]]:
        """What a run consists of, in order, by the name of the step: to time each by itself."""

        def timed(pieces: tuple[Task, ...]) -> Task:
            def run() -> None:
                with product_threads(self._products):
                    CREW.run(pieces)

            return run

        steps = [(step.name, timed(pieces)) for step, pieces in zip(self.program.steps, self.pieces, strict=True)]
        return [(", ".join(self._inputs), lambda: self._take(inputs)), *steps]


def _build(step: Step, contexts: list[Context]) -> tuple[str, tuple[Task, ...]]:
    """The name of the form, and a piece of work for each thread that takes part."""
    taking_part = contexts if step.kernel not in WHOLE and _work(step) >= SHARED_WORK else contexts[:1]
    for context in taking_part:
        context.shares = len(taking_part)
    names, pieces = zip(*(_form(step, context) for context in taking_part), strict=True)
    shared = [tasks for tasks in pieces if tasks]
    if names[0] == "layer":
        shared = shared[:1]
    return names[0], tuple(_all(tasks) for tasks in shared) or (_all([]),)


def _all(tasks: list[Task]) -> Task:
    """The calls, one after the other. NumPy's handling of overflow belongs to a thread, so each states it."""
    calls = tuple(tasks)

    def run() -> None:
        with np.errstate(over="ignore", under="ignore"):
            for call in calls:
                call()

    return run


def _work(step: Step) -> int:
    cost = step.layer.cost([tensor.type for tensor in step.inputs], step.output.type)
    macs = cost.macs * step.output.batch if cost is not None else 0
    return macs + PASSES * step.output.size


def _has_large_steps(program: Program) -> bool:
    return sum(map(_work, program.steps)) >= LARGE_STEP * len(program.steps)


def _form(step: Step, context: Context) -> tuple[str, list[Task]]:
    form = FORMS.get(step.kernel)
    if form is None and isinstance(step.layer, Activation) and not isinstance(step.layer, Prelu):
        form = pointwise.activation
    context.scratch.restart()
    if form is not None:
        try:
            return form(step, context)
        except ValueError:
            context.scratch.restart()
    return pointwise.fallback(step, context)


class NumpyBackend:
    """Plain NumPy."""

    name = "numpy"

    def missing(self) -> str | None:
        return None

    def build(self, program: Program, threads: int | None, packs: dict[Any, Any]) -> NumpyExecutable:
        return NumpyExecutable(program, threads or usable_cores(), packs)


BACKEND = NumpyBackend()
