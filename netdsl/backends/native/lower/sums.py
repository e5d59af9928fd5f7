"""Layers that are made of a convolution, a pool or a matrix product, with something before it or behind."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from netdsl.backends.native.kernels.distance import DistanceKernel
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, flat, plain, window_of
from netdsl.backends.native.lower.conv import lower_dense as lower_dense_of_channels
from netdsl.backends.native.lower.elements import grid
from netdsl.backends.native.lower.fitting import of_positions
from netdsl.backends.native.lower.move import turned
from netdsl.backends.native.lower.places import beside, place
from netdsl.backends.native.lower.pool import lower_global_pool
from netdsl.backends.native.steps.conv import Window, conv_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import aligned, dense_view
from netdsl.backends.native.steps.window import window_step
from netdsl.layers.adaptive_pool import GemPool
from netdsl.layers.axes import axis_index
from netdsl.layers.dense import Dense
from netdsl.layers.lenet import Subsample
from netdsl.layers.scale import Grayscale
from netdsl.program.ir import Step


def lower_grayscale(step: Step, context: Context) -> list[NativeStep]:
    """A weighted sum of the channels."""
    layer = step.layer
    assert isinstance(layer, Grayscale)
    plain(step)
    weight = np.asarray(layer.coefficients, dtype=np.float32).reshape(1, -1, 1, 1)
    x, out = context.view(step.inputs[0]), flat(context.view(step.output))
    return [
        conv_step(
            step.name, context.target, x, out, Window((1, 1)), weight, None,
            activation=activation_of(step.activation), shares=context.shares,
        )
    ]  # fmt: skip


def lower_subsample(step: Step, context: Context) -> list[NativeStep]:
    """The sum of each window times the channel's weight, and its bias: a depthwise convolution."""
    layer = step.layer
    assert isinstance(layer, Subsample)
    plain(step)
    window = window_of(layer.slides(step.inputs[0].type))
    channels = step.inputs[0].shape[-1]
    weight = np.broadcast_to(step.weights["weight"].reshape(-1, 1, 1, 1), (channels, 1, *window.kernel))
    return [
        window_step(
            step.name, context.target, "weigh", context.view(step.inputs[0]), context.view(step.output), window,
            weight=np.ascontiguousarray(weight), bias=step.weights["bias"],
            activation=activation_of(step.activation), shares=context.shares,
        )
    ]  # fmt: skip


def lower_dense(step: Step, context: Context) -> list[NativeStep]:
    """Along the channels it is a convolution; along another axis the map is turned around before and after."""
    layer = step.layer
    assert isinstance(layer, Dense)
    index = 0 if layer.axis is None else axis_index("dense", layer.axis, step.inputs[0].type)
    if index == 0:
        return of_positions(lower_dense_of_channels)(step, context)
    plain(step)
    x, out = place(step.inputs[0], context), place(step.output, context)
    units = out.axes[index].extent
    rest = [axis for number, axis in enumerate(x.axes) if number != index]
    pixels = prod(axis.extent for axis in rest)
    read, made = (aligned(x.images.extent * pixels * extent) for extent in (x.axes[index].extent, units))
    before, behind = (
        dense_view(int(memory.ctypes.data), x.images.extent, 1, pixels, extent)
        for memory, extent in ((read, x.axes[index].extent), (made, units))
    )
    product = conv_step(
        step.name, context.target, before, behind, Window((1, 1)), step.weights["weight"][:, :, None, None],
        step.weights.get("bias"), activation=activation_of(step.activation), shares=context.shares,
        packs=context.packs,
    )  # fmt: skip
    after = [axis for number, axis in enumerate(out.axes) if number != index]
    return [
        turned(step.name, x, [*rest, x.axes[index]], read), product,
        turned(step.name, out, [*after, out.axes[index]], made, back=True),
    ]  # fmt: skip


def lower_rbf(step: Step, context: Context) -> list[NativeStep]:
    """Squared distances to centres."""
    plain(step)
    if step.activation is not None:
        raise NoKernelError("an activation")
    x, out = context.view(step.inputs[0]), context.view(step.output)
    centers = aligned(step.weights["weight"].size)
    centers[:] = step.weights["weight"].reshape(-1)
    values = {
        "x": x.address, "x_image": x.image, "out": out.address, "out_image": out.image, "units": out.channels,
        "numbers": x.channels, "centers": centers.ctypes.data,
    }  # fmt: skip
    work = 3 * x.images * centers.size
    return [NativeStep(step.name, DistanceKernel(), values, x.images, work, 0, (centers,))]


def lower_gem_pool(step: Step, context: Context) -> list[NativeStep]:
    """mean(max(x, eps)^p)^(1 / p) of each map."""
    layer = step.layer
    assert isinstance(layer, GemPool)
    plain(step)
    x = place(step.inputs[0], context)
    p = float(step.weights["p"][0])
    tensor, wider, memory = beside(step.name, step.inputs[0].type, step.output.batch, context)
    small, wider, mean = beside(step.name, step.output.type, step.output.batch, wider)
    there, middle, out = (place(each, wider) for each in (tensor, small, step.output))
    steps = [
        *grid(step.name, "copy", [x], there, ("clip", float(layer.eps), float("inf"))),
        *grid(step.name, "power", [there], there, exponent=p),
        *of_positions(lower_global_pool)(
            replace(step, kernel="global_avg_pool", inputs=(tensor,), output=small, activation=None), wider
        ),
        *grid(step.name, "power", [middle], out, activation_of(step.activation), exponent=1 / p),
    ]
    return [replace(each, keep=(*each.keep, memory, mean)) for each in steps]
