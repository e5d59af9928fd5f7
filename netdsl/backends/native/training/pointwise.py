"""Sums, activations, concatenations and changes of shape, as native steps."""

from __future__ import annotations

from netdsl.backends.native.kernels.transpose import TransposeKernel
from netdsl.backends.native.lower.context import NoKernelError, activation_of, flat
from netdsl.backends.native.steps.map import map_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.transpose import flatten_step
from netdsl.backends.native.steps.view import View
from netdsl.backends.native.training.back import before_activation
from netdsl.backends.native.training.context import Training
from netdsl.backends.numpy.training.pointwise import is_sum
from netdsl.layers.axes import axis_index
from netdsl.layers.join import Concat
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward, Sum


def sum_step(step: Sum, training: Training) -> list[NativeStep]:
    operands = [training.rows(step.first), training.rows(step.second)]
    return [map_step(step.name, training.target, "add", operands, training.rows(step.output))]


def add_forward(step: Forward, training: Training) -> list[NativeStep]:
    if not is_sum(step):
        raise NoKernelError("a sum of different shapes")
    operands = [training.rows(tensor) for tensor in step.inputs]
    operation = "add" if len(operands) > 1 else "copy"
    try:
        return [
            map_step(
                step.name,
                training.target,
                operation,
                operands,
                training.rows(step.output),
                activation=activation_of(step.activation),
            )
        ]
    except ValueError as error:
        raise NoKernelError(str(error)) from None


def add_backward(step: Backward, training: Training) -> list[NativeStep]:
    """The gradient before the activation is that of every lane."""
    return before_activation(step, training, False)[1]


def activation_forward(step: Forward, training: Training) -> list[NativeStep]:
    x, out = training.rows(step.inputs[0]), training.rows(step.output)
    return [map_step(step.name, training.target, "copy", [x], out, activation=activation_of(step.layer))]


def concat_forward(step: Forward, training: Training) -> list[NativeStep]:
    return [
        map_step(step.name, training.target, "copy", [lane], part)
        for lane, part in _lanes(training, step, step.output, step.inputs)
    ]


def concat_backward(step: Backward, training: Training) -> list[NativeStep]:
    lanes = _lanes(training, step.forward, step.dy, step.dx)
    return [map_step(step.name, training.target, "copy", [part], lane) for lane, part in lanes]


def _lanes(
    training: Training, step: Forward, whole: Tensor, lanes: tuple[Tensor | None, ...]
) -> list[tuple[View, View]]:
    """Each lane that there is, and the part of the whole that it is."""
    layer = step.layer
    assert isinstance(layer, Concat)
    if axis_index(layer.kind, layer.axis, step.output.type) != 0:
        raise NoKernelError("a concatenation along a spatial axis")
    rows = training.rows(whole)
    found, first = [], 0
    for tensor, lane in zip(step.inputs, lanes, strict=True):
        channels = tensor.shape[-1]
        if lane is not None:
            found.append((training.rows(lane), rows.lane(first, channels)))
        first += channels
    return found


def flatten_forward(step: Forward, training: Training) -> list[NativeStep]:
    """A map that becomes a vector."""
    if len(step.output.shape) != 2:
        raise NoKernelError("a shape that is no vector")
    return [flatten_step(step.name, flat(training.view(step.inputs[0])), training.view(step.output))]


def flatten_backward(step: Backward, training: Training) -> list[NativeStep]:
    """And back."""
    if step.dx[0] is None:
        return []
    there = flatten_step(step.name, flat(training.view(step.dx[0])), training.view(step.dy))
    values = dict(there.values)
    for key in ("", "_image", "_position", "_channel"):
        values[f"x{key}"], values[f"out{key}"] = there.values[f"out{key}"], there.values[f"x{key}"]
    return [NativeStep(step.name, TransposeKernel(), values, there.units, there.work)]
