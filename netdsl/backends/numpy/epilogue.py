"""What is done to a block of results before it is left: bias, residual, activation.

A minimum or maximum with an array is several times as fast as with a number in NumPy, so that bounds are rows of equal
numbers. The sigmoid is (1 + tanh(x / 2)) / 2, which overflows nowhere; NumPy's tanh is vectorised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.backends.numpy.memory import Array, Scratch, channels_first, channels_last
from netdsl.ir.layer import Layer
from netdsl.layers.activation import HardSigmoid, HardSwish, Relu, Relu6, Sigmoid, Silu, Tanh

Task = Callable[[], None]


LONG_ROW = 512
"""Numbers in a row, behind which a longer one brings nothing."""


def rows_of(y: Array) -> Array:
    """A view of `y` with as long a last axis as its memory allows: elementwise functions then loop inside."""
    while y.ndim > 1 and y.shape[-1] < LONG_ROW and y.strides[-2] == y.strides[-1] * y.shape[-1]:
        y = y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])
    return y


def epilogue(
    y: Array, bias: Array | None, residual: Array | None, activation: Layer | None, scratch: Scratch
) -> list[Task]:
    """The calls that finish a block `y` (..., C), in place. `residual` has its shape, `bias` is (C)."""
    tasks: list[Task] = []
    flat = rows_of(y)
    if bias is not None and bias.any():
        row = np.tile(bias, flat.shape[-1] // bias.size)
        tasks.append(lambda: _call(np.add, flat, row))
    if residual is not None:
        other = residual
        tasks.append(lambda: _call(np.add, y, other))
    if activation is not None:
        tasks.append(activate(flat, y, activation, scratch))
    return tasks


def _call(function: Any, y: Array, other: Any) -> None:
    function(y, other, out=y)


def activate(flat: Array, y: Array, activation: Layer, scratch: Scratch) -> Task:
    """The call that applies an activation to `y`, in place; `flat` is the same memory in longer rows."""
    width = flat.shape[-1]
    match activation:
        case Relu():
            zeros = np.zeros(width, np.float32)
            return lambda: _call(np.maximum, flat, zeros)
        case Relu6():
            return _clip(flat, 0.0, 6.0)
        case Tanh():
            return lambda: _unary(np.tanh, flat)
        case Sigmoid():
            return lambda: _sigmoid(flat)
        case Silu():
            half, gate = scratch.take(*flat.shape), scratch.take(*flat.shape)
            return lambda: _silu(flat, half, gate)
        case HardSigmoid():
            bound = _clip(flat, 0.0, 6.0)
            return lambda: _hard_sigmoid(flat, bound)
        case HardSwish():
            gate = scratch.take(*flat.shape)
            bound = _clip(gate, 0.0, 6.0)
            return lambda: _hard_swish(flat, gate, bound)
    return lambda: _any(y, activation)


def _clip(y: Array, low: float, high: float) -> Task:
    least, most = np.full(y.shape[-1], low, np.float32), np.full(y.shape[-1], high, np.float32)

    def run() -> None:
        np.maximum(y, least, out=y)
        np.minimum(y, most, out=y)

    return run


def _unary(function: Any, y: Array) -> None:
    function(y, out=y)


def _sigmoid(y: Array) -> None:
    np.multiply(y, np.float32(0.5), out=y)
    np.tanh(y, out=y)
    np.multiply(y, np.float32(0.5), out=y)
    np.add(y, np.float32(0.5), out=y)


def _silu(y: Array, half: Array, gate: Array) -> None:
    """x / 2 + x / 2 tanh(x / 2)"""
    np.multiply(y, np.float32(0.5), out=half)
    np.tanh(half, out=gate)
    np.multiply(half, gate, out=gate)
    np.add(half, gate, out=y)


def _hard_sigmoid(y: Array, bound: Task) -> None:
    np.add(y, np.float32(3), out=y)
    bound()
    np.multiply(y, np.float32(1 / 6), out=y)


def _hard_swish(y: Array, gate: Array, bound: Task) -> None:
    np.add(y, np.float32(3), out=gate)
    bound()
    np.multiply(gate, np.float32(1 / 6), out=gate)
    np.multiply(y, gate, out=y)


def _any(y: Array, activation: Layer) -> None:
    """Any other activation of one element, as the layer computes it."""
    y[...] = channels_last(activation.forward(np, [channels_first(y)], {}))
