"""Joins, activations, and what multiplies and shifts each channel."""

from __future__ import annotations

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, flat, plain
from netdsl.backends.native.steps.map import map_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned, dense_view
from netdsl.layers.axes import axis_index
from netdsl.layers.join import Concat
from netdsl.program.ir import Step


def lower_join(step: Step, context: Context) -> list[NativeStep]:
    """add, multiply, subtract, maximum, minimum, average."""
    operands = [flat(context.view(tensor)) for tensor in step.inputs]
    return _mapped(step, context, step.kernel, operands)


def lower_activation(step: Step, context: Context) -> list[NativeStep]:
    if step.activation is not None:
        raise NoKernelError("two activations")
    plain(step)
    x, out = flat(context.view(step.inputs[0])), flat(context.view(step.output))
    return [_map(step, context, "copy", [x], out, activation=activation_of(step.layer))]


def lower_copy(step: Step, context: Context) -> list[NativeStep]:
    """What leaves the numbers of each position as they are: identity, dropout."""
    return _mapped(step, context, "copy", [flat(context.view(step.inputs[0]))])


def lower_affine(step: Step, context: Context) -> list[NativeStep]:
    """Layers that are y = a x + b with numbers for each channel: a and b are read off them."""
    type_ = step.inputs[0].type
    channels = step.inputs[0].shape[-1]
    shape = (1, channels, *(1 for _ in type_.spatial))
    weights = {name: np.asarray(value, dtype=np.float64) for name, value in step.weights.items()}
    shift, both = (
        np.asarray(step.layer.forward(np, [np.full(shape, value)], weights)).reshape(-1) for value in (0.0, 1.0)
    )
    a, b = _vector(both - shift), _vector(shift)
    operands = [flat(context.view(step.inputs[0])), _view_of(a), _view_of(b)]
    return _mapped(step, context, "affine", operands, (a, b))


def lower_prelu(step: Step, context: Context) -> list[NativeStep]:
    slope = _vector(np.asarray(step.weights["weight"]).reshape(-1))
    return _mapped(step, context, "prelu", [flat(context.view(step.inputs[0])), _view_of(slope)], (slope,))


def lower_concat(step: Step, context: Context) -> list[NativeStep]:
    """Lanes that do not lie in their place yet are copied there."""
    assert isinstance(step.layer, Concat)
    if axis_index("concat", step.layer.axis, step.inputs[0].type) != 0:
        raise NoKernelError("a concatenation along a spatial axis")
    plain(step)
    out = flat(context.view(step.output))
    activation = activation_of(step.activation)
    steps, first = [], 0
    for tensor in step.inputs:
        lane = flat(context.view(tensor))
        place = out.lane(first, lane.channels)
        first += lane.channels
        if activation or lane.address != place.address:
            steps.append(_map(step, context, "copy", [lane], place, activation=activation))
    return steps


def _mapped(
    step: Step, context: Context, operation: str, operands: list[View], keep: tuple[Array, ...] = ()
) -> list[NativeStep]:
    """The operation, then the residual and the activation."""
    out = flat(context.view(step.output))
    activation = activation_of(step.activation)
    if step.residual is None:
        return [_map(step, context, operation, operands, out, activation, keep)]
    residual = flat(context.view(step.residual))
    if operation == "add":
        return [_map(step, context, "add", [*operands, residual], out, activation, keep)]
    if residual.address == out.address:
        raise NoKernelError("a residual that the output lies over")
    return [
        _map(step, context, operation, operands, out, (), keep),
        _map(step, context, "add", [out, residual], out, activation),
    ]


def _map(
    step: Step,
    context: Context,
    operation: str,
    operands: list[View],
    out: View,
    activation: Activation = (),
    keep: tuple[Array, ...] = (),
) -> NativeStep:
    try:
        return map_step(step.name, context.target, operation, operands, out, activation=activation, keep=keep)
    except ValueError as error:
        raise NoKernelError(str(error)) from None


def _vector(values: Array) -> Array:
    vector = aligned(values.size)
    vector[:] = values
    return vector


def _view_of(vector: Array) -> View:
    return dense_view(int(vector.ctypes.data), 1, 1, 1, vector.size)
