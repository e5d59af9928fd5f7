"""Convolution and dense layers as matrix products.

* 1x1 with stride 1: the map is the matrix.
* Others: the windows of a block are copied into a matrix (im2col), which stays in the cache.
* Winograd F(4x4, 3x3) for 3x3 with stride 1 on large maps (Lavin & Gray 2016): see `winograd.py`.

Where threads share a step whose weights are larger than its maps, each takes some of the filters, so that none reads
all weights; else each takes some of the rows.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netdsl.backends.numpy.blocks import Axis, Block, Task, axes, strip, windows
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.ending import Ending, ending
from netdsl.backends.numpy.epilogue import call, copy
from netdsl.backends.numpy.memory import Array
from netdsl.backends.numpy.winograd import kernels, pays, winograd
from netdsl.layers.conv import Conv
from netdsl.layers.dense import Dense
from netdsl.program.ir import Step

LEAST_PRODUCT_ROWS = 96
"""Rows of a matrix product below which it loses speed."""


def conv(step: Step, context: Context) -> tuple[str, list[Task]]:
    """The name of the form and its calls. Raises ValueError for more than two spatial axes."""
    layer: Any = step.layer
    assert isinstance(layer, Conv)
    if layer.padding_mode != "zeros" or layer.connections is not None or layer.flip_kernel:
        raise ValueError("a form of convolution that only the layer itself knows")
    x = context.maps(step.inputs[0])
    height, width = axes(layer.slides(step.inputs[0].type))
    groups = layer.groups
    weight = step.weights["weight"]
    if weight.ndim == 3:
        weight = weight[:, :, None]
    scale, end = ending(step, context)
    if pays(x.shape[0], height, width, groups, x.shape[3]):
        form = f"winograd {scale}"
        transformed = context.packed(step, form, lambda: kernels(weight * scale))
        context, some = _share(context, end.y, transformed.shape[1:], 36 / 16)
        return "winograd 4x4", winograd(context, x, transformed[:, :, some], end.filters(some), height, width)
    packed = context.packed(step, f"columns {scale}", lambda: pack(weight * scale, groups))
    if groups > 1:
        return "grouped im2col", _grouped_columns(context, x, packed, end, height, width)
    context, some = _share(context, end.y, packed.shape[1:])
    matrix, end = packed[0][:, some], end.filters(some)
    if height.f == width.f == height.s == width.s == 1 and height.fits and width.fits:
        return "matmul", _pointwise(context, x, matrix, end)
    return "im2col", _columns(context, x, matrix, end, height, width)


def _share(context: Context, y: Array, matrix: tuple[int, ...], expansion: float = 1.0) -> tuple[Context, slice]:
    """The filters that this share computes, and the context to do it in: its own, or that of a share alone."""
    rows, (taps, filters) = prod(y.shape[:-1]), matrix
    if context.shares == 1 or rows * expansion > min(taps, filters):
        return context, slice(0, filters)
    edges = [filters * share // context.shares for share in (context.share, context.share + 1)]
    return replace(context, share=0, shares=1), slice(*edges)


def pack(weight: Array, groups: int) -> Array:
    """(K, C / G, fh, fw) as (G, fh fw C / G, K / G): the matrix that windows are multiplied with."""
    filters, channels, fh, fw = weight.shape
    parts = weight.reshape(groups, filters // groups, channels, fh, fw).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(parts.reshape(groups, fh * fw * channels, filters // groups))


def _pointwise(context: Context, x: Array, matrix: Array, end: Ending) -> list[Task]:
    n, h, w, _ = x.shape
    tasks: list[Task] = []
    for block in context.product_blocks(n, h, 4 * w * matrix.shape[1], -(-LEAST_PRODUCT_ROWS // w)):
        part = x[_place(block)]
        context.scratch.restart()
        a = _matrix(part)
        if not np.may_share_memory(a, x):
            a = context.scratch.take(*a.shape)
            tasks.append(copy(a.reshape(part.shape), part))
        tasks += _product(context, a, matrix, end, block)
    return tasks


def _place(block: Block) -> Any:
    return np.s_[block.n0 : block.n1, block.r0 : block.r1]


def _matrix(part: Array) -> Array:
    """(..., C) as (rows, C), without a copy where memory allows."""
    return part.reshape(prod(part.shape[:-1]), part.shape[-1])


def _product(context: Context, a: Array, matrix: Array, end: Ending, block: Block) -> list[Task]:
    """`a` (rows, taps) @ `matrix` (taps, filters), and what is done to it."""
    place = _place(block)
    target = end.y[place]
    out = _matrix(target)
    if not np.may_share_memory(out, target):
        out = context.scratch.take(*out.shape)
        return [call(np.matmul, a, matrix, out), *end.tasks(context, out.reshape(target.shape), place)]
    return [call(np.matmul, a, matrix, out), *end.tasks(context, target, place)]


def _columns(context: Context, x: Array, matrix: Array, end: Ending, height: Axis, width: Axis) -> list[Task]:
    taps, filters = matrix.shape
    least = -(-LEAST_PRODUCT_ROWS // width.o)
    tasks: list[Task] = []
    for block in context.product_blocks(x.shape[0], height.o, 4 * width.o * (taps + filters), least):
        context.scratch.restart()
        part = strip(x, block, height, width, context.scratch)
        if part.fill is not None:
            tasks.append(part.fill)
        seen = windows(part.array, block, height, width)
        columns, made = _laid_out(context, seen, block.images * block.rows * width.o, taps)
        tasks += made
        tasks += _product(context, columns, matrix, end, block)
    return tasks


def _laid_out(context: Context, seen: Array, rows: int, taps: int) -> tuple[Array, list[Task]]:
    """The windows as a matrix (rows, taps): a view where they lie side by side, else a copy and how it is made."""
    if seen.flags.c_contiguous:
        return seen.reshape(rows, taps), []
    columns = context.scratch.take(*seen.shape)
    return columns.reshape(rows, taps), [copy(columns, seen)]


def _grouped_columns(context: Context, x: Array, packed: Array, end: Ending, height: Axis, width: Axis) -> list[Task]:
    """(G, rows, taps) @ (G, taps, K / G), and to the channels of each group."""
    groups, taps, each = packed.shape
    row_bytes, least = 4 * width.o * groups * (taps + each), -(-LEAST_PRODUCT_ROWS // width.o)
    tasks: list[Task] = []
    for block in context.product_blocks(x.shape[0], height.o, row_bytes, least):
        scratch = context.scratch
        scratch.restart()
        part = strip(x, block, height, width, scratch)
        if part.fill is not None:
            tasks.append(part.fill)
        seen = windows(part.array, block, height, width)
        b, r, o, fh, fw, c = seen.shape
        rows = b * r * o
        columns = scratch.take(groups, b, r, o, fh, fw, c // groups)
        split = (*seen.strides[:5], 4 * (c // groups), 4)
        source = np.moveaxis(as_strided(seen, (b, r, o, fh, fw, groups, c // groups), split), 5, 0)
        made = scratch.take(groups, rows, each)
        # (G, images, rows, o, K / G) -> (images, rows, o, G, K / G)
        turned = np.moveaxis(made.reshape(groups, b, r, o, each), 0, 3)
        place = _place(block)
        target = end.y[place]
        channels = as_strided(target, turned.shape, (*target.strides[:3], 4 * each, 4))
        tasks += [
            copy(columns, source),
            call(np.matmul, columns.reshape(groups, rows, taps), packed, made),
            copy(channels, turned),
            *end.tasks(context, target, place),
        ]
    return tasks


def dense(step: Step, context: Context) -> tuple[str, list[Task]]:
    """x (rows, n) @ weight^T. Raises ValueError for an axis other than the channels."""
    layer = step.layer
    assert isinstance(layer, Dense)
    if layer.axis not in (None, 0, "channels"):
        raise ValueError("along another axis than the channels")
    x = context.maps(step.inputs[0])
    scale, end = ending(step, context)
    # One row is as fast with the weights as they are: nothing is copied.
    weight = step.weights["weight"] if scale == 1 else context.packed(step, "half", lambda: step.weights["weight"] / 2)
    matrix = weight.T
    context, some = _share(context, end.y, matrix.shape)
    return "matmul", _pointwise(context, x, matrix[:, some], end.filters(some))
