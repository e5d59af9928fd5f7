"""What works along any axes: softmax, its logarithm, lengths and reductions.

Where these are not the channels, the input is turned around in memory of its own so that they lie last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any

from netdsl.backends.native.kernels.channels import ChannelsKernel
from netdsl.backends.native.kernels.pixels import PixelsKernel, ReduceKernel
from netdsl.backends.native.lower import bins
from netdsl.backends.native.lower.channels import lower_softmax as lower_softmax_of_channels
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, flat, plain
from netdsl.backends.native.lower.move import turned
from netdsl.backends.native.lower.norms import lower_length_of_maps, pixels_of, pixels_step
from netdsl.backends.native.lower.places import Axis, Place, place
from netdsl.backends.native.steps.map import map_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import View, aligned, dense_view
from netdsl.layers.axes import axes_indices, axis_index
from netdsl.layers.join import SumGroups
from netdsl.layers.norm import L2Norm
from netdsl.layers.reduce import Reduce
from netdsl.layers.softmax import LogSoftmax, Softmax
from netdsl.program.ir import Step

InRows = Callable[[View], NativeStep]
"""The step that works on the channels of each pixel of a view, in place."""


def lower_softmax(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, Softmax)
    index = axis_index(layer.kind, layer.axis, step.inputs[0].type)
    if index == 0 and layer.groups is None:
        return lower_softmax_of_channels(step, context)
    plain(step)
    kernel = ChannelsKernel("softmax", 0.0, activation_of(step.activation))

    def in_rows(view: View) -> NativeStep:
        nothing = aligned(0)
        block = max(1, ceil(4096 / view.channels))
        values = {
            "x": view.address, "x_pixel": view.pixel, "out": view.address, "out_pixel": view.pixel,
            "pixels": view.pixels, "block": block, "channels": view.channels, "scale": nothing.ctypes.data,
            "shift": nothing.ctypes.data,
        }  # fmt: skip
        work = 12 * view.pixels * view.channels
        return NativeStep(step.name, kernel, values, ceil(view.pixels / block), work, 0, (nothing,))

    if layer.groups is not None:
        return _turned_around(step, _slices(layer.groups), 1, context, in_rows)
    return _turned_around(step, _behind((index,)), 1, context, in_rows)


def lower_log_softmax(step: Step, context: Context) -> list[NativeStep]:
    assert isinstance(step.layer, LogSoftmax)
    index = axis_index(step.layer.kind, step.layer.axis, step.inputs[0].type)
    kernel = PixelsKernel("log_softmax", 0.0, activation_of(step.activation))
    if index == 0:
        return [pixels_step(step, context, kernel)]
    return _turned_around(
        step, _behind((index,)), 1, context, lambda view: pixels_of(step.name, kernel, view, view, context)
    )


def lower_l2_norm(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, L2Norm)
    x = step.inputs[0].type
    axes = axes_indices(layer.kind, layer.axis, x)
    if axes == tuple(range(1, x.rank)):
        return lower_length_of_maps(step, context, float(layer.eps))
    kernel = PixelsKernel("l2_norm", float(layer.eps), activation_of(step.activation))
    if axes == (0,):
        return [pixels_step(step, context, kernel)]
    return _turned_around(
        step, _behind(axes), len(axes), context, lambda view: pixels_of(step.name, kernel, view, view, context)
    )


def lower_reduce(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, Reduce)
    plain(step)
    x = step.inputs[0]
    axes = axes_indices(layer.kind, layer.axis, x.type)
    if axes == tuple(range(1, x.type.rank)) and layer.how in ("mean", "max") and x.type.rank <= 3:
        return bins.lower_maps(step, context, layer.how == "mean")
    if step.activation is not None:
        raise NoKernelError("an activation")
    if axes == (0,):
        return [_reduced(step.name, layer.how, flat(context.view(x)), flat(context.view(step.output)))]
    at, out = place(x, context), place(step.output, context)
    rest = [axis for index, axis in enumerate(at.axes) if index not in axes]
    first, view = _turn(step.name, at, [*rest, *(at.axes[axis] for axis in axes)], len(axes))
    made = aligned(view.pixels)
    small = dense_view(int(made.ctypes.data), view.images, 1, view.width, 1)
    left = [axis for index, axis in enumerate(out.axes) if index not in axes]
    back = turned(step.name, out, left, made, back=True)
    return [first, _reduced(step.name, layer.how, view, small), back]


def lower_sum_groups(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, SumGroups)
    plain(step)
    x, out = flat(context.view(step.inputs[0])), flat(context.view(step.output))
    lanes = [x.lane(group * out.channels, out.channels) for group in range(layer.groups)]
    steps: list[NativeStep] = []
    most = 7
    for first in range(0, len(lanes), most):
        last = first + most >= len(lanes)
        activation = activation_of(step.activation) if last else ()
        operands = [*([out] if first else []), *lanes[first : first + most]]
        steps.append(map_step(step.name, context.target, "add", operands, out, activation=activation))
    return steps


def _reduced(name: str, how: Any, x: View, out: View) -> NativeStep:
    block = max(1, ceil(4096 / x.channels))
    values = {
        "x": x.address, "x_pixel": x.pixel, "out": out.address, "out_pixel": out.pixel, "pixels": x.pixels,
        "block": block, "channels": x.channels,
    }  # fmt: skip
    return NativeStep(name, ReduceKernel(how), values, ceil(x.pixels / block), x.pixels * x.channels)


def _turn(name: str, x: Place, order: Sequence[Axis], last: int) -> tuple[NativeStep, View]:
    """A copy of `x` with its axes in this order, and a view of it whose channels are the `last` axes together."""
    rows, numbers = (prod(axis.extent for axis in part) for part in (order[:-last], order[-last:]))
    memory = aligned(x.images.extent * rows * numbers)
    view = dense_view(int(memory.ctypes.data), x.images.extent, 1, rows, numbers)
    return turned(name, x, order, memory), view


def _turned_around(
    step: Step, order: Callable[[Place], Sequence[Axis]], last: int, context: Context, in_rows: InRows
) -> list[NativeStep]:
    """Copied into the order of axes that is wanted, worked on there, and copied back."""
    plain(step)
    x, out = place(step.inputs[0], context), place(step.output, context)
    first, view = _turn(step.name, x, order(x), last)
    return [first, in_rows(view), turned(step.name, out, order(out), first.keep[-1], back=True)]


def _behind(axes: Sequence[int]) -> Callable[[Place], Sequence[Axis]]:
    """These axes last."""
    return lambda x: [
        *(axis for index, axis in enumerate(x.axes) if index not in axes), *(x.axes[index] for index in axes)
    ]  # fmt: skip


def _slices(groups: int) -> Callable[[Place], Sequence[Axis]]:
    """The channels as (groups, each), with the groups last."""

    def order(x: Place) -> Sequence[Axis]:
        each = x.channels.extent // groups
        return [*x.spatial, Axis(each, 4), Axis(groups, 4 * each)]

    return order
