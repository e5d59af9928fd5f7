"""The back-end: a form for each step, and the calls that run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netdsl.backends.numpy import conv, depthwise, pointwise, pool
from netdsl.backends.numpy.blocks import Task
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.memory import Array, Memory, channels_first, channels_last
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


class NumpyExecutable:
    """A Program that can run: its arena, its packed weights, and a list of calls for each step."""

    def __init__(self, program: Program, packs: dict[Any, Any]) -> None:
        self.program = program
        memory = Memory(program)
        context = Context(memory, packs)
        built = [_build(step, context) for step in program.steps]
        self.kernels = tuple(name for name, _ in built)
        self.tasks = tuple(tuple(tasks) for _, tasks in built)
        self._inputs = {name: memory.view(tensor) for name, tensor in program.inputs.items()}
        self._outputs = {name: memory.view(tensor) for name, tensor in program.outputs.items()}
        self._scratch = context.scratch

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (N, C, *spatial) by name in, the same out; what comes out is the caller's."""
        for name, view in self._inputs.items():
            np.copyto(view, channels_last(inputs[name]))
        with np.errstate(over="ignore", under="ignore"):
            for tasks in self.tasks:
                for task in tasks:
                    task()
        return {name: np.array(channels_first(view), order="C") for name, view in self._outputs.items()}


def _build(step: Step, context: Context) -> tuple[str, list[Task]]:
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
    """Plain NumPy. Threads are those of its BLAS."""

    name = "numpy"

    def missing(self) -> str | None:
        return None

    def build(self, program: Program, threads: int | None, packs: dict[Any, Any]) -> NumpyExecutable:
        return NumpyExecutable(program, packs)


BACKEND = NumpyBackend()
