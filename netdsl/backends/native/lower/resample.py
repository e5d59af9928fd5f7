"""Resampling: the nearest pixel is a copy, between pixels is interpolation along two axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.backends.native.kernels.linear import LinearKernel
from netdsl.backends.native.lower.context import Context, activation_of, plain
from netdsl.backends.native.lower.move import picked
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array
from netdsl.layers.resample import Resampling
from netdsl.program.ir import Step


def lower_resampling(step: Step, context: Context) -> list[NativeStep]:
    """`upsample` and `upsample_like`."""
    layer = step.layer
    assert isinstance(layer, Resampling)
    pairs = list(zip(step.inputs[0].shape[1:-1], step.output.shape[1:-1], strict=True))
    if layer.mode == "nearest" or all(n == o for n, o in pairs):
        return picked(step, context, [[i * n // o for i in range(o)] for n, o in pairs])
    plain(step)
    x, out = context.view(step.inputs[0]), context.view(step.output)
    rows = _neighbours(x.height, out.height, layer.align_corners)
    columns = _neighbours(x.width, out.width, layer.align_corners)
    kernel = LinearKernel(x.height != out.height, x.width != out.width, activation_of(step.activation))
    values = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "out": out.address,
        "out_image": out.image, "out_row": out.row, "out_pixel": out.pixel, "height": out.height, "width": out.width,
        "channels": x.channels, "rows": rows.ctypes.data, "columns": columns.ctypes.data,
    }  # fmt: skip
    units, work = out.images * out.height, 9 * out.pixels * out.channels
    return [NativeStep(step.name, kernel, values, units, work, 0, (rows, columns))]


def _neighbours(n: int, o: int, align_corners: bool) -> Array:
    """For each of `o` outputs its two neighbours among `n` inputs and the part of each: see `LinearKernel`."""
    i = np.arange(o)
    numerator, denominator = (i * (n - 1), max(o - 1, 1)) if align_corners else ((2 * i + 1) * n - o, 2 * o)
    if n == o:
        numerator, denominator = i, 1
    position = np.maximum(numerator, 0) / denominator
    low = np.minimum(np.floor(position).astype(np.int64), n - 1)
    t = position - low
    table: Any = np.zeros((o, 4), dtype=np.int32)
    table[:, 0], table[:, 1] = low, np.minimum(low + 1, n - 1)
    parts = table.view(np.float32)
    parts[:, 2], parts[:, 3] = 1 - t, t
    return np.ascontiguousarray(table)
