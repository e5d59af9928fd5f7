"""Convolution and pools over three spatial axes, made of those over two.

A plane of the output of a convolution is a sum over the taps along the first axis, each of them a convolution of one
plane of the input. A pool goes over the planes first, then over the first axis.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.window import Operation
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, flat, plain
from netdsl.backends.native.lower.places import Place, place
from netdsl.backends.native.steps.conv import Window, conv_step
from netdsl.backends.native.steps.map import map_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned, dense_view
from netdsl.backends.native.steps.window import window_step
from netdsl.layers.conv import Conv, DepthwiseConv
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.layers.sizes import Slide
from netdsl.program.ir import Step

_Z = 0
"""The axis of the planes."""


def lower_conv(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, Conv | DepthwiseConv)
    if layer.padding_mode != "zeros" or layer.flip_kernel or getattr(layer, "connections", None) is not None:
        raise NoKernelError("a convolution that the passes leave as it is")
    slides = layer.slides(step.inputs[0].type)
    if len(slides) != 3:
        raise NoKernelError(f"{len(slides)} spatial axes")
    along, *plane = slides
    window = _window(plane)
    x, out = place(step.inputs[0], context), place(step.output, context)
    weight, bias = step.weights["weight"], step.weights.get("bias")
    groups = layer.groups if isinstance(layer, Conv) else x.channels.extent
    activation = activation_of(step.activation)
    steps: list[NativeStep] = []

    def add(read: View, made: View, tap: int, first: bool, last: bool, empty: bool = False) -> None:
        part = np.ascontiguousarray(weight[:, :, tap])
        name = f"{step.name}/{tap}{'+bias' if first else ''}{'+zeros' if empty else ''}"
        steps.append(
            conv_step(
                name, context.target, read, made, window, np.zeros_like(part) if empty else part,
                bias if first else None, groups=groups, residual=None if first else made,
                activation=activation if last and step.residual is None else (), shares=context.shares,
                packs=context.packs,
            )
        )  # fmt: skip

    for image in range(out.images.extent):
        for z in range(out.spatial[_Z].extent):
            made = flat(_plane(out, image, z))
            reads = [(tap, z * along.s - along.before + tap * along.d) for tap in range(along.f)]
            inside = [(tap, at) for tap, at in reads if 0 <= at < x.spatial[_Z].extent]
            for number, (tap, at) in enumerate(inside):
                add(_plane(x, image, at), made, tap, not number, number == len(inside) - 1)
            if not inside:
                # Nothing but padding: the bias.
                add(_plane(x, image, 0), made, 0, True, True, empty=True)
            if step.residual is not None:
                residual = flat(_plane(place(step.residual, context), image, z))
                steps.append(map_step(step.name, context.target, "add", [made, residual], made, activation=activation))
    return steps


def _plane(x: Place, image: int, z: int) -> View:
    _, height, width = x.spatial
    return View(
        x.address + image * x.images.step + z * x.spatial[_Z].step, 1, height.extent, width.extent,
        x.channels.extent, x.spatial[_Z].step, height.step, width.step,
    )  # fmt: skip


def lower_pool(step: Step, context: Context) -> list[NativeStep]:
    """`max_pool` and `avg_pool`."""
    layer = step.layer
    assert isinstance(layer, MaxPool | AvgPool)
    plain(step)
    slides = layer.slides(step.inputs[0].type)
    if len(slides) != 3:
        raise NoKernelError(f"{len(slides)} spatial axes")
    along, *plane = slides
    x, out = place(step.inputs[0], context), place(step.output, context)
    planes, height, width = (axis.extent for axis in x.spatial)
    if x.images.extent > 1 and x.images.step != planes * x.spatial[_Z].step:
        raise NoKernelError("planes with gaps of different sizes")
    _, out_height, out_width = (axis.extent for axis in out.spatial)
    channels, images = x.channels.extent, x.images.extent
    read = View(
        x.address, images * planes, height, width, channels, x.spatial[_Z].step, x.spatial[1].step, x.spatial[2].step
    )  # fmt: skip
    memory = aligned(images * planes * out_height * out_width * channels)
    there = int(memory.ctypes.data)
    between = dense_view(there, images * planes, out_height, out_width, channels)
    operation: Operation = "max" if isinstance(layer, MaxPool) else "mean"
    inverse: Array | None = None
    ones: Array | None = None
    if isinstance(layer, AvgPool):
        counts = [np.asarray(layer.counts(axis), dtype=np.float64) for axis in slides]
        inverse = 1 / (counts[0][:, None] * np.outer(counts[1], counts[2]).reshape(1, -1))
        ones = np.ones((out_height, out_width))
    if out.spatial[1].step != out_width * out.spatial[2].step:
        raise NoKernelError("rows with gaps of different sizes")
    after = dense_view(there, images, planes, out_height * out_width, channels)
    made = View(
        out.address, images, out.spatial[_Z].extent, out_height * out_width, channels, out.images.step,
        out.spatial[_Z].step, out.spatial[2].step,
    )  # fmt: skip
    activation: Activation = activation_of(step.activation)
    common: dict[str, Any] = {"shares": context.shares}
    first = window_step(step.name, context.target, operation, read, between, _window(plane), inverse=ones, **common)
    window = Window((along.f, 1), (along.s, 1), (along.before, 0), (along.d, 1))
    second = window_step(
        step.name, context.target, operation, after, made, window, inverse=inverse, activation=activation, **common
    )  # fmt: skip
    return [_keeping(first, memory), _keeping(second, memory)]


def _window(slides: list[Slide]) -> Window:
    y, x = slides
    return Window((y.f, x.f), (y.s, x.s), (y.before, x.before), (y.d, x.d))


def _keeping(step: NativeStep, memory: Array) -> NativeStep:
    return replace(step, keep=(*step.keep, memory))
