"""Normalization: over the channels of a pixel, or by statistics of whole maps."""

from __future__ import annotations

from math import ceil

import numpy as np

from netdsl.backends.native.kernels.moments import MomentsKernel, ScalesKernel
from netdsl.backends.native.kernels.pixels import PixelsKernel, ResponseKernel
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, flat, plain
from netdsl.backends.native.steps.map import map_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned, dense_view
from netdsl.layers.norm import AffineNorm, GroupNorm, InstanceNorm, LocalResponseNorm
from netdsl.layers.response_norm import GlobalResponseNorm, RmsNorm
from netdsl.program.ir import Step


def lower_group_norm(step: Step, context: Context) -> list[NativeStep]:
    """`group_norm` and `instance_norm`."""
    layer = step.layer
    assert isinstance(layer, GroupNorm | InstanceNorm)
    channels = step.inputs[0].shape[-1]
    groups = layer.groups if isinstance(layer, GroupNorm) else channels
    return _of_maps(step, context, ScalesKernel("groups", float(layer.eps)), True, channels // groups)


def lower_global_response_norm(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, GlobalResponseNorm)
    return _of_maps(step, context, ScalesKernel("responses", float(layer.eps)), False, 1)


def lower_length_of_maps(step: Step, context: Context, eps: float) -> list[NativeStep]:
    """Each map to length 1."""
    return _of_maps(step, context, ScalesKernel("length", eps), False, 1)


def _of_maps(step: Step, context: Context, kernel: ScalesKernel, centred: bool, each: int) -> list[NativeStep]:
    plain(step)
    target = context.target
    x, out = flat(context.view(step.inputs[0])), flat(context.view(step.output))
    images, channels, width = x.images, x.channels, target.width
    mean, squares, factor, shift = (aligned(images * channels) for _ in range(4))
    scale = step.layer.affine if isinstance(step.layer, AffineNorm) else kernel.operation == "responses"
    weight = _vector(step.weights["weight"] if scale else 1.0, channels)
    bias = _vector(step.weights["bias"] if scale else 0.0, channels)
    vectors = ceil(channels / width)
    work = out.pixels * channels
    moments = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "height": x.height, "width": x.width,
        "channels": channels, "vectors": vectors, "mean": mean.ctypes.data, "squares": squares.ctypes.data,
    }  # fmt: skip
    scales = {
        "mean": mean.ctypes.data, "squares": squares.ctypes.data, "weight": weight.ctypes.data,
        "bias": bias.ctypes.data, "factor": factor.ctypes.data, "shift": shift.ctypes.data,
        "channels": channels, "each": each, "positions": x.height * x.width,
    }  # fmt: skip
    operands = [x, *(dense_view(int(array.ctypes.data), images, 1, 1, channels) for array in (factor, shift))]
    keep = (mean, squares, factor, shift, weight, bias)
    return [
        NativeStep(step.name, MomentsKernel(centred), moments, images * vectors, 4 * work, 0, keep),
        NativeStep(step.name, kernel, scales, images, 8 * images * channels, 0, keep),
        map_step(
            step.name, target, "affine", operands, out, activation=activation_of(step.activation), keep=keep
        ),
    ]  # fmt: skip


def lower_rms_norm(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, RmsNorm)
    scale = _vector(step.weights["weight"] if layer.affine else 1.0, step.inputs[0].shape[-1])
    kernel = PixelsKernel("rms_norm", float(layer.eps), activation_of(step.activation))
    return [pixels_step(step, context, kernel, scale)]


def lower_response_norm(step: Step, context: Context) -> list[NativeStep]:
    """Local response normalization."""
    layer = step.layer
    assert isinstance(layer, LocalResponseNorm)
    factor = layer.alpha / layer.size if layer.divide_alpha else layer.alpha
    if layer.size > 2 * step.inputs[0].shape[-1] + 64:
        raise NoKernelError("a window far larger than the channels")
    kernel = ResponseKernel(
        layer.size, float(factor), float(layer.beta), float(layer.k), activation_of(step.activation)
    )  # fmt: skip
    return [pixels_step(step, context, kernel)]


def pixels_step(
    step: Step, context: Context, kernel: PixelsKernel | ResponseKernel, scale: Array | None = None
) -> NativeStep:
    """A kernel over the channels of each pixel of a step's input."""
    plain(step)
    return pixels_of(
        step.name, kernel, flat(context.view(step.inputs[0])), flat(context.view(step.output)), context, scale
    )


def pixels_of(
    name: str, kernel: PixelsKernel | ResponseKernel, x: View, out: View, context: Context, scale: Array | None = None
) -> NativeStep:
    """The same of views, which are flat."""
    block = max(1, ceil(4096 / x.channels))
    values = {
        "x": x.address, "x_pixel": x.pixel, "out": out.address, "out_pixel": out.pixel, "pixels": x.pixels,
        "block": block, "channels": x.channels, "scale": 0 if scale is None else scale.ctypes.data,
    }  # fmt: skip
    scratch = kernel.scratch(x.channels, context.target.width) if isinstance(kernel, ResponseKernel) else 0
    return NativeStep(name, kernel, values, ceil(x.pixels / block), 12 * x.pixels * x.channels, scratch, (scale,))


def _vector(values: Array | float, channels: int) -> Array:
    vector = aligned(channels)
    vector[:] = np.asarray(values)
    return vector
