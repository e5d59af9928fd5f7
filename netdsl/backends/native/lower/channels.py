"""What works on the channels of each pixel: layer normalization, softmax, shuffled channels, maps made vectors."""

from __future__ import annotations

from math import ceil

import numpy as np

from netdsl.backends.native.kernels.channels import ChannelsKernel
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, flat, plain
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.transpose import deal_step, flatten_step
from netdsl.backends.native.steps.view import Array, aligned
from netdsl.layers.axes import axis_index
from netdsl.layers.channels import ChannelShuffle
from netdsl.layers.norm import LayerNorm
from netdsl.layers.softmax import Softmax
from netdsl.program.ir import Step


def lower_layer_norm(step: Step, context: Context) -> list[NativeStep]:
    assert isinstance(step.layer, LayerNorm)
    channels, width = step.inputs[0].shape[-1], context.target.width
    scale, shift = (aligned(ceil(channels / width) * width) for _ in range(2))
    scale[:channels] = np.asarray(step.weights.get("weight", 1.0))
    shift[:channels] = np.asarray(step.weights.get("bias", 0.0))
    kernel = ChannelsKernel("layer_norm", float(step.layer.eps), activation_of(step.activation))
    return [_step(step, context, kernel, scale, shift)]


def lower_softmax(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, Softmax)
    if layer.groups is not None or axis_index("softmax", layer.axis, step.inputs[0].type) != 0:
        raise NoKernelError("a softmax of slices or along a spatial axis")
    nothing = aligned(0)
    return [_step(step, context, ChannelsKernel("softmax", 0.0, activation_of(step.activation)), nothing, nothing)]


def lower_shuffle(step: Step, context: Context) -> list[NativeStep]:
    assert isinstance(step.layer, ChannelShuffle)
    _bare(step)
    x, out = flat(context.view(step.inputs[0])), flat(context.view(step.output))
    return [deal_step(step.name, x, out, step.layer.groups)]


def lower_flatten(step: Step, context: Context) -> list[NativeStep]:
    """A map that becomes a vector; other changes of shape are left to NumPy."""
    _bare(step)
    if len(step.output.shape) != 2:
        raise NoKernelError("a shape that is no vector")
    return [flatten_step(step.name, flat(context.view(step.inputs[0])), context.view(step.output))]


def _bare(step: Step) -> None:
    plain(step)
    if step.activation is not None:
        raise NoKernelError("an activation")


def _step(step: Step, context: Context, kernel: ChannelsKernel, scale: Array, shift: Array) -> NativeStep:
    plain(step)
    x, out = flat(context.view(step.inputs[0])), flat(context.view(step.output))
    block = max(1, ceil(4096 / x.channels))
    values = {
        "x": x.address, "x_pixel": x.pixel, "out": out.address, "out_pixel": out.pixel, "pixels": x.pixels,
        "block": block, "channels": x.channels, "scale": scale.ctypes.data, "shift": shift.ctypes.data,
    }  # fmt: skip
    return NativeStep(step.name, kernel, values, ceil(x.pixels / block), 12 * x.pixels * x.channels, 0, (scale, shift))
