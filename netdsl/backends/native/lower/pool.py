"""Pools: windows that slide, and windows that are given by the size of the output."""

from __future__ import annotations

import numpy as np

from netdsl.backends.native.kernels.window import Operation
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, plain, window_of
from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View
from netdsl.backends.native.steps.window import window_step
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.layers.reshape import Decimate
from netdsl.program.ir import Step


def lower_max_pool(step: Step, context: Context) -> list[NativeStep]:
    assert isinstance(step.layer, MaxPool)
    return _pool(step, context, "max", window_of(step.layer.slides(step.inputs[0].type)), None)


def lower_avg_pool(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, AvgPool)
    window = window_of(layer.slides(step.inputs[0].type))
    x, out = context.view(step.inputs[0]), context.view(step.output)
    # The layer's mean of ones is the part of its divisor that lies in the map.
    spatial = step.inputs[0].shape[1:-1]
    part = np.asarray(layer.forward(np, [np.ones((1, 1, *spatial))], {})).reshape(out.height, out.width)
    return _pool(step, context, "mean", window, part / _inside(window, x, out))


def lower_global_pool(step: Step, context: Context) -> list[NativeStep]:
    """Also of adaptive pools whose windows are all of one size and do not overlap."""
    x, out = context.view(step.inputs[0]), context.view(step.output)
    if x.height % out.height or x.width % out.width:
        raise NoKernelError("windows of different sizes")
    size = (x.height // out.height, x.width // out.width)
    mean = step.kernel.endswith("avg_pool")
    inverse = np.full((out.height, out.width), 1 / (size[0] * size[1])) if mean else None
    return _pool(step, context, "mean" if mean else "max", Window(size, size), inverse)


def lower_decimate(step: Step, context: Context) -> list[NativeStep]:
    """Every so many positions: the largest of windows of one."""
    assert isinstance(step.layer, Decimate)
    stride = step.layer.stride
    x = context.view(step.inputs[0])
    y_step, x_step = (stride, stride) if isinstance(stride, int) else ((1, *stride)[-2:])
    if x.height == 1:
        y_step = 1
    return _pool(step, context, "max", Window((1, 1), (y_step, x_step)), None)


def _pool(
    step: Step, context: Context, operation: Operation, window: Window, inverse: Array | None
) -> list[NativeStep]:
    plain(step)
    return [
        window_step(
            step.name,
            context.target,
            operation,
            context.view(step.inputs[0]),
            context.view(step.output),
            window,
            inverse=inverse,
            activation=activation_of(step.activation),
            shares=context.shares,
        )
    ]


def _inside(window: Window, x: View, out: View) -> Array:
    """How many taps of each window lie in the map."""
    counts = []
    for axis, (extent, outputs) in enumerate(((x.height, out.height), (x.width, out.width))):
        starts = np.arange(outputs)[:, None] * window.stride[axis] - window.before[axis]
        taps = starts + np.arange(window.kernel[axis]) * window.dilation[axis]
        counts.append(((taps >= 0) & (taps < extent)).sum(axis=1))
    return np.asarray(counts[0][:, None] * counts[1][None])
