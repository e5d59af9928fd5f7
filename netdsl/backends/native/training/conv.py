"""Convolution and dense layers, both directions, as native steps.

The weight is turned into the order of the convolution at each step; d(x) is a convolution of d(y) with the weight
turned around, one for each phase of the stride. 3x3 convolutions with stride 1 take Winograd's form where it pays, in
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.lower.context import NoKernelError, activation_of, flat
from netdsl.backends.native.steps.conv import Window, conv_step, tiling
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View
from netdsl.backends.native.steps.winograd import pays, winograd_step
from netdsl.backends.native.training.back import before_activation, bias_steps
from netdsl.backends.native.training.context import Training, address
from netdsl.backends.native.training.kernels.spread import InterleaveKernel
from netdsl.backends.native.training.kernels.turn import TurnKernel, WinogradTurnKernel
from netdsl.backends.native.training.weights import weight_steps
from netdsl.backends.numpy.training.conv import knows, slides_of
from netdsl.program.training.ir import Backward, Forward
from netdsl.program.training.phases import Phase, phases

WINOGRAD_LEAST_PIXELS = 16
"""Positions for each filter, times taps, below which turning the weight into Winograd's form costs what it saves."""


@dataclass(frozen=True)
class Kernel:
    """A weight as a convolution reads it: `columns` outputs, `rows` inputs, and for each tap where it lies. Distances
    are in bytes."""

    start: int
    columns: int
    column_step: int
    rows: int
    row_step: int
    taps: tuple[int, ...]


def forward(step: Forward, training: Training) -> list[NativeStep]:
    if not knows(step):
        raise NoKernelError("a convolution that has no form in training")
    height, width = slides_of(step)
    x, out = training.view(step.inputs[0]), flat(training.view(step.output))
    window = Window((height.f, width.f), (height.s, width.s), (height.before, width.before), (height.d, width.d))
    weight = training.weight(step, "weight")
    bias = training.weight(step, "bias") if "bias" in step.weights else None
    kernel = kernel_of(weight)
    return convolution(
        training, step.name, x, out, window, kernel, bias=bias, activation=activation_of(step.activation)
    )


def kernel_of(weight: Array) -> Kernel:
    """(K, C, *f): columns are filters, rows channels."""
    filters, channels = weight.shape[:2]
    taps = weight[0, 0].size
    return Kernel(
        address(weight), filters, 4 * channels * taps, channels, 4 * taps, tuple(4 * tap for tap in range(taps))
    )


def convolution(
    training: Training,
    name: str,
    x: View,
    out: View,
    window: Window,
    kernel: Kernel,
    *,
    bias: Array | None = None,
    activation: Activation = (),
    residual: View | None = None,
) -> list[NativeStep]:
    """The weight turned, and the convolution; both done at each step."""
    target = training.target
    # Only the shape of this one is used; the numbers come with the first step.
    empty = np.broadcast_to(np.float32(0), (kernel.columns, kernel.rows, *window.kernel))
    taps = training.table(kernel.taps)
    values = {
        "weight": kernel.start, "column_step": kernel.column_step, "row_step": kernel.row_step, "taps": taps,
        "rows": kernel.rows,
    }  # fmt: skip
    work = 4 * kernel.columns * kernel.rows * len(kernel.taps)
    if winograd_pays(window, x, out, training):
        made = winograd_step(
            name, target, x, out, window, empty, None, activation=activation, residual=residual,
            shares=training.threads,
        )  # fmt: skip
        made = _packed_anew(training, made)
        vectors = min(target.vectors, kernel.columns // target.width)
        whole, left = divmod(kernel.columns, vectors * target.width)
        values |= {
            "packed": made.values["weight"], "vectors": vectors, "whole": whole, "last": left // target.width,
        }  # fmt: skip
        turned = NativeStep(name, WinogradTurnKernel(), values, kernel.columns // target.width, 4 * work)
    else:
        tiles = tiling(target, out.pixels, kernel.columns)
        made = conv_step(
            name, target, x, out, window, empty, None, activation=activation, residual=residual,
            shares=training.context.shares,
        )  # fmt: skip
        made = _packed_anew(training, made)
        values |= {
            "tap_count": len(kernel.taps), "columns": kernel.columns, "packed": made.values["weight"],
            "vectors": tiles.vectors, "whole": tiles.panels - (1 if tiles.last else 0), "last": tiles.last,
        }  # fmt: skip
        turned = NativeStep(name, TurnKernel(), values, ceil(kernel.columns / target.width), work)
    if bias is not None:
        made = _with_bias(training, made, bias, kernel.columns)
    return [turned, *_bias_copy(training, name, made, bias, kernel.columns), made]


def _packed_anew(training: Training, made: NativeStep) -> NativeStep:
    """The step reads its weight from scratch memory, where it is put right before."""
    packed, *others = made.keep
    place = training.take(packed.size)
    return replace(made, values={**made.values, "weight": place}, keep=tuple(others))


def _with_bias(training: Training, made: NativeStep, bias: Array, columns: int) -> NativeStep:
    """The step reads the bias where it is; what lies behind it in the same vector is read and not used."""
    if columns % training.target.width == 0:
        return replace(made, values={**made.values, "bias": address(bias)}, keep=(*made.keep, bias))
    return made


def _bias_copy(training: Training, name: str, made: NativeStep, bias: Array | None, columns: int) -> list[NativeStep]:
    """A bias that does not fill its vectors is copied into the ones that the step has for it."""
    if bias is None or made.values["bias"] == address(bias):
        return []
    values = {
        "weight": address(bias), "column_step": 4, "row_step": 0, "taps": training.table([0]), "tap_count": 1,
        "rows": 1, "columns": columns, "packed": made.values["bias"], "vectors": 1,
        "whole": ceil(columns / training.target.width), "last": 0,
    }  # fmt: skip
    return [NativeStep(name, TurnKernel(), values, ceil(columns / training.target.width), columns)]


def winograd_pays(window: Window, x: View, out: View, training: Training) -> bool:
    """Whether Winograd's form is legal and faster, the weight's transform included."""
    return pays(window, x, out, 1, training.target) and out.pixels >= WINOGRAD_LEAST_PIXELS * 36


def backward(step: Backward, training: Training) -> list[NativeStep]:
    ahead = step.forward
    if not knows(ahead):
        raise NoKernelError("a convolution that has no form in training")
    dy_tensor, made = before_activation(step, training, "bias" in step.wanted)
    dy = flat(training.view(dy_tensor))
    height, width = slides_of(ahead)
    if "bias" in step.wanted:
        made += bias_steps(step, training, dy_tensor, fresh=step.dz is None)
    if "weight" in step.wanted:
        x = training.view(ahead.inputs[0])
        gradient = training.gradient(ahead, "weight")
        window = Window((height.f, width.f), (height.s, width.s), (height.before, width.before), (height.d, width.d))
        made += weight_steps(training, step.name, x, dy, window, gradient, add="weight" in step.add_to)
    (dx,), (plus,) = step.dx, step.plus
    if dx is not None:
        target = flat(training.view(dx))
        added = None if plus is None else flat(training.view(plus))
        weight = training.weight(ahead, "weight")
        made += _input(
            training, step.name, dy, target, added, weight, phases(height), phases(width), (height.s, width.s)
        )
    return made


def _input(
    training: Training, name: str, dy: View, dx: View, plus: View | None, weight: Array, down: Sequence[Phase],
    across: Sequence[Phase], stride: tuple[int, int],
) -> list[NativeStep]:  # fmt: skip
    """d(x), straight into its place where there is one phase, else phase by phase."""
    if len(down) == len(across) == 1 and down[0].taps and across[0].taps and stride == (1, 1):
        return _phase(training, name, dy, dx, plus, weight, down[0], across[0])
    made: list[NativeStep] = []
    table = [0] * (3 * stride[0] * stride[1])
    for y in down:
        for x in across:
            if not y.taps or not x.taps:
                continue
            part = training.scratch_view(dy.images, y.places, x.places, dx.channels)
            made += _phase(training, name, dy, part, None, weight, y, x)
            place = 3 * (y.rest * stride[1] + x.rest)
            table[place : place + 3] = part.address, part.image, part.row
    values = {
        "phases": training.table(table), "stride_y": stride[0], "stride_x": stride[1], "out": dx.address,
        "out_pixel": dx.pixel, "plus": plus.address if plus else 0, "plus_pixel": plus.pixel if plus else 0,
        "height": dx.height, "width": dx.width, "channels": dx.channels,
    }  # fmt: skip
    work = 2 * dx.pixels * dx.channels
    return [*made, NativeStep(name, InterleaveKernel(plus is not None), values, dx.images * dx.height, work)]


def _phase(
    training: Training, name: str, dy: View, out: View, plus: View | None, weight: Array, down: Phase, across: Phase
) -> list[NativeStep]:
    """A convolution of d(y) with some taps of the weight turned around: columns are channels, rows filters."""
    filters, channels = weight.shape[:2]
    taps = weight[0, 0].size
    extent = weight.shape[-1] if weight.ndim > 2 else 1
    places = tuple(4 * (i * extent + j) for i in down.taps for j in across.taps)
    kernel = Kernel(address(weight), channels, 4 * taps, filters, 4 * channels * taps, places)
    window = Window(
        (len(down.taps), len(across.taps)), (1, 1), (down.before, across.before), (down.dilation, across.dilation)
    )
    return convolution(training, name, dy, out, window, kernel, residual=plus)
