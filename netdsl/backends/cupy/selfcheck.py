"""Whether chosen kernels compute what the plain forms do, on the device at hand: one step at a time, on random numbers.

For those who bring a new kernel, a new library or a new device: `mismatches(executable)` after it has been built. The
inputs of a step are filled with numbers of a normal distribution, both forms compute, and every number of the output is
compared. Both round once, to the stored type, what they have summed up in float32; factors that are rounded before
(TF32) count as well.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from netdsl.backends.cupy.axes import channels_first, channels_last
from netdsl.backends.cupy.choice import PLAIN, Choice
from netdsl.backends.cupy.executor import CupyExecutable
from netdsl.backends.cupy.steps import plain
from netdsl.ir.layer import Array
from netdsl.program.ir import Step

ROUNDINGS = 4.0
"""Times the last place of the stored type by which two numbers may differ: each was rounded, and so was what a few
steps that are computed together have between them."""


class Mismatch(NamedTuple):
    """A launch that computes something else."""

    steps: tuple[str, ...]
    kernel: str
    error: float
    """The largest difference, in standard deviations of what the plain forms compute."""
    allowed: float

    def __str__(self) -> str:
        return (
            f"{self.kernel} for {', '.join(self.steps)}: off by {self.error:.2e} deviations, {self.allowed:.2e} allowed"
        )


def mismatches(executable: CupyExecutable, seed: int = 0) -> list[Mismatch]:
    """The launches of an executable that are no plain forms and compute something else. What lies in the arena is
    lost."""
    found = []
    with executable.device.use():
        for choice in executable.choices:
            if choice.option.candidate != PLAIN:
                error, allowed = _compared(executable, choice, seed)
                if not error <= allowed:
                    names = tuple(step.name for step in choice.option.steps)
                    found.append(Mismatch(names, choice.launch.name, error, allowed))
        found += _turns(executable, seed)
    return found


def _turns(executable: CupyExecutable, seed: int) -> list[Mismatch]:
    """The ways into the arena and out of it: only rounding is allowed, and that is the library's own."""
    context, program, slot = executable.context, executable.program, executable.slot
    rng = np.random.default_rng(seed)
    found = []
    inputs = {name: rng.normal(size=array.shape).astype(np.float32) for name, array in slot._in.items()}
    for name, numbers in inputs.items():
        slot._in[name][...] = context.xp.asarray(numbers)
    for tensor in program.inputs.values():
        context.view(tensor).fill(np.nan)
    slot.take().run()
    for name, tensor in program.inputs.items():
        expected = channels_last(slot._in[name]).astype(context.dtype).astype(np.float32).get()
        found += _same(name, "inputs", expected, _fetched(context.view(tensor)))
    for tensor in program.outputs.values():
        numbers = rng.normal(size=tensor.shape).astype(np.float32)
        context.view(tensor)[...] = context.xp.asarray(numbers)
    for array in slot._out.values():
        array.fill(np.nan)
    slot.give().run()
    for name, tensor in program.outputs.items():
        found += _same(name, "outputs", channels_first(_fetched(context.view(tensor))), slot._out[name].get())
    return found


def _same(name: str, what: str, expected: Array, got: Array) -> list[Mismatch]:
    error = float(np.abs(got - expected).max())
    return [] if error == 0.0 else [Mismatch((name,), what, error, 0.0)]


def _compared(executable: CupyExecutable, choice: Choice, seed: int) -> tuple[float, float]:
    context, steps = executable.context, choice.option.steps
    made = {step.output.name for step in steps}
    read = {tensor.name: tensor for step in steps for tensor in step.reads if tensor.name not in made}
    results: list[Array] = []
    for launches in ([plain(step, context) for step in steps], [choice.launch]):
        rng = np.random.default_rng(seed)
        # What the form before left there is no result of this one.
        context.view(steps[-1].output).fill(np.nan)
        for tensor in read.values():
            numbers = rng.normal(size=tensor.shape).astype(np.float32)
            context.view(tensor)[...] = context.xp.asarray(numbers)
        for launch in launches:
            launch.run()
        results.append(_fetched(context.view(steps[-1].output)))
    expected, got = results
    spread = float(expected.std()) or 1.0
    error = float(np.abs(got - expected).max()) / spread
    return (error if np.isfinite(error) else float("inf")), _allowed(executable, steps, expected, spread)


def _fetched(view: Any) -> Array:
    array: Array = view.astype(np.float32).get()
    return array


def _allowed(executable: CupyExecutable, steps: tuple[Step, ...], expected: Array, spread: float) -> float:
    """In deviations: the last places of the largest number, and the error of a sum of as many products as there are."""
    precision = executable.precision
    last = 2.0**-10 if precision.storage == "float16" else 2.0**-7 if precision.half else 2.0**-22
    products = max(_products(step) for step in steps)
    factor = precision.epsilon if precision.tf32 else 2.0**-22
    return ROUNDINGS * last * float(np.abs(expected).max()) / spread + 8 * factor * sqrt(products)


def _products(step: Step) -> int:
    """How many products, or numbers, are summed up for one number of the output."""
    weight = step.weights.get("weight")
    if weight is not None and weight.ndim > 1:
        return prod(weight.shape[1:])
    return max(1, max(tensor.size for tensor in step.inputs) // max(1, step.output.size))
