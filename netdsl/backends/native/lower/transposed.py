"""Transposed convolution by phases.

Outputs whose positions are the same modulo the stride s are made by the same taps of the kernel:

    y[s m + r] = sum of weight[j] x[m + (r + p - j d) / s]  over the taps j with  r + p - j d  divisible by s

which is a convolution of stride 1 with those taps, turned around. Each phase r is computed into memory of its own and
copied to its positions.
"""

from __future__ import annotations

from itertools import product
from math import ceil
from typing import NamedTuple

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.grid import GridKernel
from netdsl.backends.native.lower.context import Context, activation_of
from netdsl.backends.native.steps.conv import Window, conv_step
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned, dense_view
from netdsl.layers.conv_transpose import ConvTranspose, Spread
from netdsl.program.ir import Step


class Phase(NamedTuple):
    """One phase along one axis: the outputs first, first + s, ... and the convolution that makes them."""

    first: int
    outputs: int
    taps: tuple[int, ...]
    """Taps of the kernel, in the order in which the convolution reads them; none where nothing reaches the outputs."""
    before: int
    """Padding in front: negative where the first outputs read further inside."""
    dilation: int


def phases(axis: Spread) -> list[Phase]:
    """The phases along one axis."""
    assert axis.o is not None
    found = []
    for first in range(min(axis.s, axis.o)):
        # Offsets of the inputs that the taps read, from m.
        reads = sorted(
            ((first + axis.before - tap * axis.d) // axis.s, tap)
            for tap in range(axis.f)
            if (first + axis.before - tap * axis.d) % axis.s == 0
        )
        offsets = [offset for offset, _ in reads]
        dilation = offsets[1] - offsets[0] if len(offsets) > 1 else 1
        before = -offsets[0] if offsets else 0
        outputs = ceil((axis.o - first) / axis.s)
        found.append(Phase(first, outputs, tuple(tap for _, tap in reads), before, dilation))
    return found


def lower_conv_transpose(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, ConvTranspose)
    spreads = layer.spreads(step.inputs[0].type)
    x, out = context.view(step.inputs[0]), context.view(step.output)
    if len(spreads) == 1:
        spreads = (Spread(1, 1, 1, 1, 0, 1), *spreads)
    weight = _as_convolution(step.weights["weight"], layer.groups)
    bias = step.weights.get("bias")
    residual = None if step.residual is None else context.view(step.residual)
    activation = activation_of(step.activation)
    rows, columns = (phases(axis) for axis in spreads)
    room = aligned(out.images * max(p.outputs for p in rows) * max(p.outputs for p in columns) * out.channels)
    steps = []
    for number, (row, column) in enumerate(product(rows, columns)):
        part = dense_view(int(room.ctypes.data), out.images, row.outputs, column.outputs, out.channels)
        # No tap: the bias alone, by a kernel of zeros.
        taps = (row.taps or (0,), column.taps or (0,))
        kernel = np.ascontiguousarray(weight[:, :, taps[0]][:, :, :, taps[1]])
        if not row.taps or not column.taps:
            kernel = np.zeros_like(kernel)
        window = Window(
            (len(taps[0]), len(taps[1])), (1, 1), (row.before, column.before), (row.dilation, column.dilation)
        )
        steps.append(
            conv_step(
                f"{step.name}/{number}", context.target, x, part, window, kernel, bias, groups=layer.groups,
                shares=context.shares, packs=context.packs,
            )
        )  # fmt: skip
        strides = (spreads[0].s, spreads[1].s)
        there = None if residual is None else _phase(residual, row, column, strides)
        steps.append(_placed(step.name, part, _phase(out, row, column, strides), there, activation, room))
    return steps


def _as_convolution(weight: Array, groups: int) -> Array:
    """(C, K / G, *f) as (K, C / G, y, x), not turned around."""
    if weight.ndim == 3:
        weight = weight[:, :, None]
    channels, each, *kernel = weight.shape
    grouped = weight.reshape(groups, channels // groups, each, *kernel)
    return grouped.swapaxes(1, 2).reshape(groups * each, channels // groups, *kernel)


def _phase(view: View, row: Phase, column: Phase, strides: tuple[int, int]) -> View:
    """The positions of a phase."""
    return View(
        view.address + row.first * view.row + column.first * view.pixel, view.images, row.outputs, column.outputs,
        view.channels, view.image, view.row * strides[0], view.pixel * strides[1],
    )  # fmt: skip


def _placed(name: str, part: View, out: View, residual: View | None, activation: Activation, room: Array) -> NativeStep:
    """A phase, with the residual and the activation, to its positions."""
    operands = [part] if residual is None else [part, residual]
    kernel = GridKernel("add", (False,) * len(operands), activation)
    values = dict.fromkeys(kernel.fields, 0) | {
        "out": out.address, "out_image": out.image, "out_row": out.row, "out_pixel": out.pixel,
        "height": out.height, "width": out.width, "channels": out.channels,
    }  # fmt: skip
    for i, view in enumerate(operands):
        values |= {
            f"x{i}": view.address, f"x{i}_image": view.image, f"x{i}_row": view.row, f"x{i}_pixel": view.pixel,
        }  # fmt: skip
    return NativeStep(
        name, kernel, values, out.images * out.height, len(operands) * out.pixels * out.channels, 0, (room,)
    )
