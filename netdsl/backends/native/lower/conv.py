"""Convolution and dense layers."""

from __future__ import annotations

from netdsl.backends.native.kernels.tile import SHORT
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, flat, window_of
from netdsl.backends.native.steps import amx, winograd
from netdsl.backends.native.steps.conv import Window, conv_step
from netdsl.backends.native.steps.map import map_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array
from netdsl.backends.native.steps.window import window_step
from netdsl.layers.axes import axis_index
from netdsl.layers.conv import Conv, DepthwiseConv
from netdsl.layers.dense import Dense
from netdsl.program.ir import Step


def lower_conv(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, Conv | DepthwiseConv)
    if layer.padding_mode != "zeros" or layer.flip_kernel or getattr(layer, "connections", None) is not None:
        raise NoKernelError("a convolution that the passes leave as it is")
    window = window_of(layer.slides(step.inputs[0].type))
    weight = step.weights["weight"]
    if weight.ndim == 3:
        weight = weight[:, :, None]
    if isinstance(layer, DepthwiseConv):
        if layer.multiplier == 1:
            return _depthwise(step, context, window, weight)
        groups = step.inputs[0].shape[-1]
    else:
        groups = layer.groups
    return _product(step, context, window, weight, groups)


def lower_dense(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, Dense)
    type_ = step.inputs[0].type
    if layer.axis is not None and axis_index("dense", layer.axis, type_) != 0:
        raise NoKernelError("dense along a spatial axis")
    return _product(step, context, Window((1, 1)), step.weights["weight"][:, :, None, None], 1)


def _product(step: Step, context: Context, window: Window, weight: Array, groups: int) -> list[NativeStep]:
    residual = None if step.residual is None else flat(context.view(step.residual))
    x, out = context.view(step.inputs[0]), flat(context.view(step.output))
    activation, bias = activation_of(step.activation), step.weights.get("bias")
    if winograd.pays(window, x, out, groups, context.target):
        found = winograd.winograd_step(
            step.name, context.target, x, out, window, weight, bias, activation=activation, residual=residual,
            shares=context.threads, packs=context.packs,
        )  # fmt: skip
        return [found]
    if amx.pays(x, out, window, groups, context.target):
        found = amx.amx_step(
            step.name, context.target, x, out, window, weight, bias, groups=groups, activation=activation,
            residual=residual, shares=context.shares, packs=context.packs,
        )  # fmt: skip
        return [found]
    after: list[NativeStep] = []
    if 2 * out.channels <= context.target.width and activation[:1] not in SHORT and out.dense and out.pixels > 1:
        # Vectors of channels would be half empty: a long function is cheaper over all numbers in a row.
        after = [map_step(step.name, context.target, "copy", [out], out, activation=activation)]
        activation = ()
    found = conv_step(
        step.name, context.target, x, out, window, weight, bias, groups=groups, activation=activation,
        residual=residual, shares=context.shares, packs=context.packs,
    )  # fmt: skip
    return [found, *after]


def _depthwise(step: Step, context: Context, window: Window, weight: Array) -> list[NativeStep]:
    out = context.view(step.output)
    activation = activation_of(step.activation)
    first = window_step(
        step.name, context.target, "weigh", context.view(step.inputs[0]), out, window, weight=weight,
        bias=step.weights.get("bias"), activation=() if step.residual else activation, shares=context.shares,
    )  # fmt: skip
    if step.residual is None:
        return [first]
    operands = [flat(out), flat(context.view(step.residual))]
    return [first, map_step(step.name, context.target, "add", operands, out, activation=activation)]
