"""Convolution and dense layers as matrix products: windows are laid out as rows (im2col), 1x1 reads the map as it is.

Legend: N images, C channels, K filters, G groups, o extents of the output, f of the kernel.
"""

from __future__ import annotations

from math import prod
from typing import Any

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.steps.ending import FLOAT, Ending, ending
from netdsl.backends.cupy.steps.windows import Windows, needed, parts, rows_of, together, windows
from netdsl.backends.numpy.conv import pack
from netdsl.ir.layer import Array
from netdsl.layers.axes import axis_index
from netdsl.layers.dense import Dense
from netdsl.program.ir import Step


def conv(step: Step, context: Context) -> Launch:
    """Raises ValueError for what only the layer itself knows."""
    layer: Any = step.layer
    if layer.padding_mode != "zeros" or getattr(layer, "connections", None) is not None or layer.flip_kernel:
        raise ValueError("a form of convolution that only the layer itself knows")
    x, end = context.view(step.inputs[0]), ending(step, context)
    found = windows(layer.slides(step.inputs[0].type), x.shape[-1])
    groups = grouped(step)
    if groups == 1 and found.pointwise:
        matrix = context.packed(step, "matrix", lambda: matrices(step, 1))
        return _product(context, x, matrix[0], end)
    packed = context.packed(step, "matrix", lambda: matrices(step, groups))
    return _columns(context, x, packed, end, found)


def grouped(step: Step) -> int:
    """How many groups a convolution has."""
    each: int = step.weights["weight"].shape[1]
    return (step.inputs[0].type.channels or 0) // each


def matrices(step: Step, groups: int) -> Array:
    """The weights (K, C / G, *f) as (G, prod(f) C / G, K / G)."""
    weight = step.weights["weight"]
    filters, channels, *extents = weight.shape
    return pack(weight.reshape(filters, channels, 1, prod(extents)), groups)


def _product(context: Context, x: Any, matrix: Any, end: Ending) -> Launch:
    """y = x @ matrix at every position: (C, K)."""
    xp, device, tf32 = context.xp, context.device, context.precision.tf32
    filters = matrix.shape[1]
    images, positions, channels = x.shape[0], prod(x.shape[1:-1]), x.shape[-1]
    direct = context.dtype == FLOAT and rows_of(xp, end.y) is not None
    copied = rows_of(xp, x) is None
    size = context.dtype.itemsize
    at_a_time = together(images, (0 if direct else positions * filters, 4), (positions * channels * copied, size))
    rows = at_a_time * positions
    laid, made = (rows if copied else 0, channels), (0 if direct else rows, filters)
    context.workspace.need(needed((size, laid), (4, made)))

    def run() -> None:
        for part in parts(images, at_a_time):
            count = (part.stop - part.start) * positions
            a = rows_of(xp, x[part])
            if a is None:
                (a,) = context.workspace.take(context.dtype, (count, channels))
                a.reshape(x[part].shape)[...] = x[part]
            out = rows_of(xp, end.y[part]) if direct else _behind(context, laid, (count, filters))
            device.matmul(a, matrix, out, tf32)
            target = end.y[part]
            end.finish(target if direct or out is None else out.reshape(target.shape), part, direct)

    return Launch("matmul", run)


def _behind(context: Context, first: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """An array of float32 in the workspace, behind one of the stored type."""
    start = needed((context.dtype.itemsize, first))
    return context.workspace.memory[start : start + 4 * prod(shape)].view(FLOAT).reshape(shape)


def _columns(context: Context, x: Any, packed: Any, end: Ending, found: Windows) -> Launch:
    """(G, rows, taps) @ (G, taps, K / G), and to the channels of each group."""
    xp, device, tf32 = context.xp, context.device, context.precision.tf32
    groups, taps, each = packed.shape
    images, size, o = x.shape[0], context.dtype.itemsize, prod(found.outputs)
    bordered = prod(found.reach) * found.channels
    at_a_time = together(images, (bordered, size), (o * groups * taps, size), (2 * o * groups * each, 4))
    most = (at_a_time, *found.reach, found.channels)
    columns_most, made_most = (groups * at_a_time * o * taps,), (groups * at_a_time * o * each,)
    first = needed((size, most))
    context.workspace.need(first + needed((size, columns_most), (4, made_most), (4, made_most)))

    def run() -> None:
        for part in parts(images, at_a_time):
            count = part.stop - part.start
            rows = count * o
            room, columns = context.workspace.take(
                context.dtype, (count, *found.reach, found.channels), (groups, rows, taps)
            )
            seen = found.view(xp, found.bordered(context, x[part], room, 0.0))
            _lay_out(xp, columns, seen, groups)
            used = needed((size, room.shape), (size, columns.shape))
            memory = context.workspace.memory[used:]
            product = memory[: 4 * groups * rows * each].view(FLOAT).reshape(groups, rows, each)
            device.matmul(columns, packed, product, tf32)
            shape = (count, *found.outputs, groups * each)
            if groups == 1:
                end.finish(product.reshape(shape), part)
                continue
            memory = memory[needed((4, product.shape)) :]
            turned = memory[: 4 * groups * rows * each].view(FLOAT).reshape(rows, groups, each)
            turned[...] = xp.moveaxis(product, 0, 1)
            end.finish(turned.reshape(shape), part)

    return Launch("im2col" if groups == 1 else "grouped im2col", run)


def _lay_out(xp: Any, columns: Any, seen: Any, groups: int) -> None:
    """Windows (n, *o, *f, C) into (G, n o, prod(f) C / G)."""
    *lead, channels = seen.shape
    each = channels // groups
    split = xp.lib.stride_tricks.as_strided(
        seen, (*lead, groups, each), (*seen.strides[:-1], each * seen.strides[-1], seen.strides[-1])
    )
    columns.reshape(groups, *lead, each)[...] = xp.moveaxis(split, -2, 0)


def dense(step: Step, context: Context) -> Launch:
    """x (rows, n) @ weight^T, along the channels or another axis."""
    layer = step.layer
    assert isinstance(layer, Dense)
    matrix = context.packed(step, "matrix", lambda: step.weights["weight"].T)
    x, end = context.view(step.inputs[0]), ending(step, context)
    along = 0 if layer.axis is None else axis_index(layer.kind, layer.axis, step.inputs[0].type)
    if along:
        # Axis number `along` behind the batch comes to the end, and the channels in front of it.
        x, end = context.xp.moveaxis(x, along, -1), end.turned(along)
    return _product(context, x, matrix, end)
