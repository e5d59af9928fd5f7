"""What is done to a block of results on its way to where it belongs: bias, residual, activation.

Every pass over a block reads the one before it; the first reads what a product left in scratch memory, so that nothing
is copied for its own sake. An operand that is one number is several times as slow in NumPy as an array, so that bounds
are rows of equal numbers. The sigmoid is (1 + tanh(x / 2)) / 2, which overflows nowhere; NumPy's tanh is vectorised.
The half is in the weights where nothing comes between: `halved`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.backends.numpy.memory import Array, Scratch, channels_first, channels_last
from netdsl.ir.layer import Layer
from netdsl.layers.activation import HardSigmoid, HardSwish, Relu, Relu6, Sigmoid, Silu, Tanh
from netdsl.program.ir import Step

Task = Callable[[], None]


LONG_ROW = 4096
"""Numbers in a row, behind which a longer one brings nothing."""


def call(function: Any, *operands: Array) -> Task:
    """A ufunc on arrays that are known now; the last is where the result goes."""
    *given, out = operands
    return lambda: _into(function, given, out)


def _into(function: Any, given: list[Array], out: Array) -> None:
    function(*given, out=out)


def copy(target: Array, source: Array) -> Task:
    return lambda: np.copyto(target, source)


def rows_of(*arrays: Array) -> list[Array]:
    """Views of arrays of one shape with as long a last axis as the memory of all allows: functions then loop inside."""
    made = list(arrays)
    while made[0].ndim > 1 and made[0].shape[-1] < LONG_ROW and all(_gapless(each) for each in made):
        made = [each.reshape(*each.shape[:-2], each.shape[-2] * each.shape[-1]) for each in made]
    return made


def _gapless(array: Array) -> bool:
    """Whether rows follow each other without gaps."""
    return array.strides[-1] == array.itemsize and array.strides[-2] == array.strides[-1] * array.shape[-1]


def halved(step: Step) -> bool:
    """Whether weights and bias are to be halved, because the activation wants x / 2 and nothing is added before it."""
    return step.residual is None and isinstance(step.activation, Silu | Sigmoid)


def epilogue(
    source: Array,
    target: Array,
    bias: Array | None,
    residual: Array | None,
    activation: Layer | None,
    scratch: Scratch,
    half: bool = False,
) -> list[Task]:
    """target = activation(source + bias + residual): arrays (..., C), `bias` (C). Source and target may be the same.

    With `half`, source and bias are half of what the activation is of.
    """
    tasks: list[Task] = []
    if bias is not None and bias.any():
        long, out = rows_of(source, target)
        tasks.append(call(np.add, long, np.tile(bias, out.shape[-1] // bias.size), out))
        source = target
    if residual is not None:
        tasks.append(call(np.add, *rows_of(source, residual, target)))
        source = target
    if activation is not None:
        tasks += activate(source, target, activation, scratch, half)
    elif source is not target:
        tasks.append(copy(target, source))
    return tasks


def activate(source: Array, target: Array, activation: Layer, scratch: Scratch, half: bool = False) -> list[Task]:
    """target = activation(source), which may be the same; of 2 source with `half`."""
    x, y = rows_of(source, target)
    width = y.shape[-1]
    match activation:
        case Relu():
            return [call(np.maximum, x, _row(width, 0), y)]
        case Relu6():
            return _clip(x, y)
        case Tanh():
            return [call(np.tanh, x, y)]
        case Sigmoid():
            return [*_halve(x, y, half), *_sigmoid(y)]
        case Silu():
            # x / 2 tanh(x / 2) + x / 2
            middle, gate = x if half else scratch.take(*x.shape), scratch.take(*x.shape)
            return [
                *([] if half else [call(np.multiply, x, _row(width, 0.5), middle)]),
                call(np.tanh, middle, gate),
                call(np.multiply, middle, gate, gate),
                call(np.add, middle, gate, y),
            ]
        case HardSigmoid():
            return [call(np.add, x, _row(width, 3), y), *_clip(y, y), call(np.multiply, y, _row(width, 1 / 6), y)]
        case HardSwish():
            gate = scratch.take(*x.shape)
            return [
                call(np.add, x, _row(width, 3), gate),
                *_clip(gate, gate),
                call(np.multiply, gate, _row(width, 1 / 6), gate),
                call(np.multiply, x, gate, y),
            ]
    return [lambda: _any(source, target, activation)]


def _row(width: int, number: float) -> Array:
    return np.full(width, number, np.float32)


def _clip(x: Array, y: Array) -> list[Task]:
    width = y.shape[-1]
    return [call(np.maximum, x, _row(width, 0), y), call(np.minimum, y, _row(width, 6), y)]


def _halve(x: Array, y: Array, half: bool) -> list[Task]:
    """y = x / 2"""
    if not half:
        return [call(np.multiply, x, _row(y.shape[-1], 0.5), y)]
    return [] if x is y else [copy(y, x)]


def _sigmoid(y: Array) -> list[Task]:
    """(1 + tanh(y)) / 2, in place."""
    row = _row(y.shape[-1], 0.5)
    return [call(np.tanh, y, y), call(np.multiply, y, row, y), call(np.add, y, row, y)]


def _any(source: Array, target: Array, activation: Layer) -> None:
    """Any other activation of one element, as the layer computes it."""
    target[...] = channels_last(activation.forward(np, [channels_first(source)], {}))
