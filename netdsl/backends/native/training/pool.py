"""Pools and depthwise convolution, as native steps."""

from __future__ import annotations

from math import ceil

import numpy as np

from netdsl.backends.native.lower.context import NoKernelError, activation_of, flat, window_of
from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.map import map_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned, dense_view
from netdsl.backends.native.steps.window import window_step
from netdsl.backends.native.training.back import before_activation, bias_steps
from netdsl.backends.native.training.context import Training, address
from netdsl.backends.native.training.kernels.turn import TurnKernel
from netdsl.backends.native.training.kernels.windows import PlacesKernel, TapSumsKernel, WindowBackKernel
from netdsl.backends.native.training.weights import fold_step
from netdsl.backends.numpy.training import depthwise
from netdsl.backends.numpy.training.pool import factor
from netdsl.layers.conv import Conv, DepthwiseConv
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.program.training.ir import Backward, Forward


def _slid(x: View, out: View, window: Window) -> dict[str, int]:
    """How a window slides, as kernels take it."""
    return {
        "height": x.height, "width": x.width, "out_height": out.height, "out_width": out.width,
        "stride_y": window.stride[0], "stride_x": window.stride[1], "pad_y": window.before[0],
        "pad_x": window.before[1], "dilation_y": window.dilation[0], "dilation_x": window.dilation[1],
        "kernel_y": window.kernel[0], "kernel_x": window.kernel[1],
    }  # fmt: skip


def max_forward(step: Forward, training: Training) -> list[NativeStep]:
    if "places" not in step.saved:
        raise NoKernelError("a maximum whose place is not noted")
    layer = step.layer
    assert isinstance(layer, MaxPool)
    x, out = training.view(step.inputs[0]), flat(training.view(step.output))
    window = window_of(layer.slides(step.inputs[0].type))
    values = _slid(x, out, window) | {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "out": out.address,
        "out_pixel": out.pixel, "places": training.saved(step.saved["places"]), "channels": x.channels,
    }  # fmt: skip
    return [NativeStep(step.name, PlacesKernel(), values, out.images * out.height, out.pixels * out.channels * 8)]


def max_backward(step: Backward, training: Training) -> list[NativeStep]:
    layer = step.forward.layer
    assert isinstance(layer, MaxPool)
    if "places" not in step.forward.saved:
        raise NoKernelError("a maximum whose place is not noted")
    window = window_of(layer.slides(step.forward.inputs[0].type))
    places = training.saved(step.forward.saved["places"])
    return _window_back(step, training, "max", window, {"places": places})


def _window_back(
    step: Backward,
    training: Training,
    operation: str,
    window: Window,
    more: dict[str, int],
    keep: tuple[Array, ...] = (),
) -> list[NativeStep]:
    """d(x) of a window, gathered."""
    (tensor,), (plus,) = step.dx, step.plus
    if tensor is None:
        return []
    dx, dy = flat(training.view(tensor)), flat(training.view(step.dz or step.dy))
    added = None if plus is None else flat(training.view(plus))
    values = dict.fromkeys(WindowBackKernel.fields, 0) | _slid(dx, dy, window) | more
    values |= {
        "dx": dx.address, "dx_pixel": dx.pixel, "plus": added.address if added else 0,
        "plus_pixel": added.pixel if added else 0, "dy": dy.address, "dy_pixel": dy.pixel, "channels": dx.channels,
    }  # fmt: skip
    work = dx.pixels * dx.channels * (2 + 2 * window.taps // (window.stride[0] * window.stride[1]))
    kernel = WindowBackKernel(operation, added is not None)
    return [NativeStep(step.name, kernel, values, dx.images * dx.height, work, 0, keep)]


def avg_forward(step: Forward, training: Training) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, AvgPool)
    window = window_of(layer.slides(step.inputs[0].type))
    x, out = training.view(step.inputs[0]), training.view(step.output)
    inverse = factor(step).reshape(out.height, out.width)
    return [
        window_step(step.name, training.target, "mean", x, out, window, inverse=inverse, shares=training.context.shares)
    ]


def avg_backward(step: Backward, training: Training) -> list[NativeStep]:
    layer = step.forward.layer
    assert isinstance(layer, AvgPool)
    window = window_of(layer.slides(step.forward.inputs[0].type))
    inverse = aligned(factor(step.forward).size)
    inverse[:] = factor(step.forward).reshape(-1)
    return _window_back(step, training, "mean", window, {"inverse": address(inverse)}, (inverse,))


def global_forward(step: Forward, training: Training) -> list[NativeStep]:
    x, out = training.view(step.inputs[0]), training.view(step.output)
    window = Window((x.height, x.width), (x.height, x.width))
    inverse = np.full((1, 1), 1 / (x.height * x.width))
    return [
        window_step(step.name, training.target, "mean", x, out, window, inverse=inverse, shares=training.context.shares)
    ]


def global_backward(step: Backward, training: Training) -> list[NativeStep]:
    if step.dx[0] is None:
        return []
    dx, dy = flat(training.view(step.dx[0])), training.view(step.dy)
    part = aligned(dx.channels)
    part[:] = 1 / (dx.height * dx.width)
    operands = [dy, dense_view(address(part), 1, 1, 1, dx.channels)]
    return [map_step(step.name, training.target, "multiply", operands, dx, keep=(part,))]


def depthwise_forward(step: Forward, training: Training) -> list[NativeStep]:
    if not depthwise.knows(step):
        raise NoKernelError("a convolution that has no form in training")
    layer = step.layer
    assert isinstance(layer, Conv | DepthwiseConv)
    window = window_of(layer.slides(step.inputs[0].type))
    weight = training.weight(step, "weight")
    bias = training.weight(step, "bias") if "bias" in step.weights else None
    x, out = training.view(step.inputs[0]), training.view(step.output)
    empty = np.broadcast_to(np.float32(0), (x.channels, 1, *window.kernel))
    made = window_step(
        step.name, training.target, "weigh", x, out, window, weight=empty, activation=activation_of(step.activation),
        shares=training.context.shares,
    )  # fmt: skip
    turned = [_turned(training, step.name, weight, made.values["weight"], window.taps, x.channels)]
    if bias is not None:
        turned.append(_turned(training, step.name, bias, made.values["bias"], 1, x.channels))
    return [*turned, made]


def _turned(training: Training, name: str, weight: Array, place: int, taps: int, channels: int) -> NativeStep:
    """(C, 1, *f) as (taps, C), with whole vectors of channels."""
    lanes = ceil(channels / training.target.width)
    values = {
        "weight": address(weight), "column_step": 4 * taps, "row_step": 4, "taps": training.table([0]), "tap_count": 1,
        "rows": taps, "columns": channels, "packed": place, "vectors": lanes, "whole": 1, "last": 0,
    }  # fmt: skip
    return NativeStep(name, TurnKernel(), values, lanes, 4 * taps * channels, 0, (weight,))


def depthwise_backward(step: Backward, training: Training) -> list[NativeStep]:
    ahead = step.forward
    layer = ahead.layer
    if not depthwise.knows(ahead):
        raise NoKernelError("a convolution that has no form in training")
    assert isinstance(layer, Conv | DepthwiseConv)
    window = window_of(layer.slides(ahead.inputs[0].type))
    tensor, made = before_activation(step, training, "bias" in step.wanted)
    if "bias" in step.wanted:
        made += bias_steps(step, training, tensor, fresh=step.dz is None)
    weight = training.weight(ahead, "weight")
    dy = flat(training.view(tensor))
    if "weight" in step.wanted:
        made += _depthwise_weight(step, training, dy, window)
    if step.dx[0] is not None:
        channels = dy.channels
        lanes = ceil(channels / training.target.width) * training.target.width
        place = training.take(window.taps * lanes)
        made.append(_turned(training, step.name, weight, place, window.taps, channels))
        made += _window_back(step, training, "weigh", window, {"weight": place, "weight_tap": 4 * lanes})
    return made


def _depthwise_weight(step: Backward, training: Training, dy: View, window: Window) -> list[NativeStep]:
    x = training.view(step.forward.inputs[0])
    gradient = training.gradient(step.forward, "weight")
    channels, taps = x.channels, window.taps
    vectors = ceil(channels / training.target.width)
    lines = dy.images * dy.height
    chunks = max(1, min(lines, ceil(training.context.shares / vectors)))
    row = 4 * vectors * training.target.width
    sums = training.take(chunks * taps * row // 4)
    values = _slid(x, dy, window) | {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "dy": dy.address, "dy_pixel": dy.pixel,
        "lines": lines, "chunks": chunks, "vectors": vectors, "channels": channels, "sums": sums, "sums_row": row,
    }  # fmt: skip
    first = NativeStep(step.name, TapSumsKernel(taps), values, chunks * vectors, 2 * dy.pixels * channels * taps)
    # One channel to each filter: sums[tap][0][k].
    add = "weight" in step.add_to
    return [first, fold_step(training, step.name, sums, chunks, row, 1, channels, taps, gradient, add)]
