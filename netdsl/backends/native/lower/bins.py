"""Pools whose windows are given by the size of the output."""

from __future__ import annotations

import numpy as np

from netdsl.backends.native.kernels.bins import BinsKernel
from netdsl.backends.native.lower.context import Context, activation_of, plain
from netdsl.backends.native.lower.pool import lower_global_pool
from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array
from netdsl.backends.native.steps.window import window_step
from netdsl.program.ir import Step


def lower_adaptive_pool(step: Step, context: Context) -> list[NativeStep]:
    """Windows of one size are those of other pools; where they differ, tables say where they are."""
    x, out = context.view(step.inputs[0]), context.view(step.output)
    if x.height % out.height == 0 == x.width % out.width:
        return lower_global_pool(step, context)
    plain(step)
    rows, columns = _bins(x.height, out.height), _bins(x.width, out.width)
    mean = step.kernel.endswith("avg_pool")
    kernel = BinsKernel("mean" if mean else "max", activation_of(step.activation))
    values = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "out": out.address,
        "out_image": out.image, "out_row": out.row, "out_pixel": out.pixel, "height": out.height, "width": out.width,
        "channels": x.channels, "rows": rows.ctypes.data, "columns": columns.ctypes.data,
    }  # fmt: skip
    visited = int((rows[:, 1] - rows[:, 0]).sum() * (columns[:, 1] - columns[:, 0]).sum())
    units, work = out.images * out.height, out.images * visited * x.channels
    return [NativeStep(step.name, kernel, values, units, work, 0, (rows, columns))]


def lower_maps(step: Step, context: Context, mean: bool) -> list[NativeStep]:
    """The mean or the largest of each map."""
    x, out = context.view(step.inputs[0]), context.view(step.output)
    inverse = np.full((1, 1), 1 / (x.height * x.width)) if mean else None
    return [
        window_step(
            step.name, context.target, "mean" if mean else "max", x, out, Window((x.height, x.width)),
            inverse=inverse, activation=activation_of(step.activation), shares=context.shares,
        )
    ]  # fmt: skip


def _bins(n: int, o: int) -> Array:
    """Window i of o covers the positions floor(i n / o) up to ceil((i + 1) n / o)."""
    i = np.arange(o, dtype=np.int64)
    return np.stack([i * n // o, -(-(i + 1) * n // o)], axis=1)
