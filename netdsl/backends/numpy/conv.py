"""Convolution and dense layers as matrix products.

* 1x1 with stride 1: the map is the matrix.
* Others: the windows of a block are copied into a matrix (im2col), which stays in the cache.
* Winograd F(4x4, 3x3) for 3x3 with stride 1 on large maps (Lavin & Gray 2016): see `winograd.py`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netdsl.backends.numpy.blocks import BLOCK_BYTES, Axis, Task, axes, strip, windows
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.epilogue import epilogue
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
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    residual = None if step.residual is None else context.maps(step.residual)
    height, width = axes(layer.slides(step.inputs[0].type))
    groups = layer.groups
    weight = step.weights["weight"]
    bias = step.weights.get("bias")
    if weight.ndim == 3:
        weight = weight[:, :, None]
    if pays(height, width, groups, x.shape[3]):
        transformed = context.packed(step, "winograd", lambda: kernels(weight))
        return "winograd 4x4", winograd(step, context, x, y, residual, transformed, bias, height, width)
    packed = context.packed(step, "columns", lambda: pack(weight, groups))
    if groups == 1 and height.f == width.f == height.s == width.s == 1 and height.fits and width.fits:
        return "matmul", _pointwise(step, context, x, y, residual, packed[0], bias)
    return ("im2col" if groups == 1 else "grouped im2col"), _columns(
        step, context, x, y, residual, packed, bias, height, width
    )


def pack(weight: Array, groups: int) -> Array:
    """(K, C / G, fh, fw) as (G, fh fw C / G, K / G): the matrix that windows are multiplied with."""
    filters, channels, fh, fw = weight.shape
    parts = weight.reshape(groups, filters // groups, channels, fh, fw).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(parts.reshape(groups, fh * fw * channels, filters // groups))


def _pointwise(
    step: Step, context: Context, x: Array, y: Array, residual: Array | None, weight: Array, bias: Array | None
) -> list[Task]:
    n, h, w, _ = x.shape
    row_bytes = 4 * w * y.shape[3]
    tasks: list[Task] = []
    for block in context.blocks(n, h, row_bytes, BLOCK_BYTES, -(-LEAST_PRODUCT_ROWS // w)):
        place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
        context.scratch.restart()
        a = _matrix(x[place])
        if not np.may_share_memory(a, x):
            a = context.scratch.take(*a.shape)
            tasks.append(_copy(a.reshape(x[place].shape), x[place]))
        tasks += _product(context, step, a, weight, y[place], residual, place, bias)
    return tasks


def _copy(target: Array, source: Array) -> Task:
    return lambda: np.copyto(target, source)


def _matrix(part: Array) -> Array:
    """(..., C) as (rows, C), without a copy where memory allows."""
    return part.reshape(prod(part.shape[:-1]), part.shape[-1])


def _product(
    context: Context,
    step: Step,
    a: Array,
    weight: Array,
    y: Array,
    residual: Array | None,
    place: Any,
    bias: Array | None,
) -> list[Task]:
    """y = a @ weight, and the epilogue. `a` is (rows, K), `y` (images, rows, o, filters)."""
    out = _matrix(y)
    copied = not np.may_share_memory(out, y)
    if copied:
        out = context.scratch.take(*out.shape)
    shaped = out.reshape(y.shape)
    tasks: list[Task] = [lambda: _matmul(a, weight, out)]
    tasks += epilogue(shaped, bias, None if residual is None else residual[place], step.activation, context.scratch)
    if copied:
        tasks.append(lambda: np.copyto(y, shaped))
    return tasks


def _matmul(a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b, out=out)


def _columns(
    step: Step,
    context: Context,
    x: Array,
    y: Array,
    residual: Array | None,
    packed: Array,
    bias: Array | None,
    height: Axis,
    width: Axis,
) -> list[Task]:
    groups, taps, each = packed.shape
    filters = groups * each
    row_bytes = 4 * width.o * (taps * groups + filters)
    tasks: list[Task] = []
    for block in context.blocks(x.shape[0], height.o, row_bytes, BLOCK_BYTES, -(-LEAST_PRODUCT_ROWS // width.o)):
        scratch = context.scratch
        scratch.restart()
        place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
        part = strip(x, block, height, width, scratch)
        if part.fill is not None:
            tasks.append(part.fill)
        seen = windows(part.array, block, height, width)
        rows = block.images * block.rows * width.o
        if groups == 1:
            columns, copy = _laid_out(context, seen, rows, taps)
            if copy is not None:
                tasks.append(copy)
            tasks += _product(context, step, columns, packed[0], y[place], residual, place, bias)
            continue
        tasks += _grouped(context, seen, packed, rows, y[place])
        tasks += epilogue(y[place], bias, None if residual is None else residual[place], step.activation, scratch)
    return tasks


def _laid_out(context: Context, seen: Array, rows: int, taps: int) -> tuple[Array, Task | None]:
    """The windows as a matrix (rows, taps): a view where they lie side by side, else a copy and how it is made."""
    if seen.flags.c_contiguous:
        return seen.reshape(rows, taps), None
    columns = context.scratch.take(*seen.shape)
    return columns.reshape(rows, taps), lambda: np.copyto(columns, seen)


def _grouped(context: Context, seen: Array, packed: Array, rows: int, y: Array) -> list[Task]:
    """(G, rows, taps) @ (G, taps, K / G), written to the channels of each group."""
    groups, taps, each = packed.shape
    b, r, o, fh, fw, c = seen.shape
    columns = context.scratch.take(groups, b, r, o, fh, fw, c // groups)
    split = (*seen.strides[:5], 4 * (c // groups), 4)
    source = np.moveaxis(as_strided(seen, (b, r, o, fh, fw, groups, c // groups), split), 5, 0)
    made = context.scratch.take(groups, rows, each)
    # (G, images, rows, o, K / G) -> (images, rows, o, G, K / G)
    target = as_strided(y, (b, r, o, groups, each), (*y.strides[:3], 4 * each, 4))
    shaped = np.moveaxis(made.reshape(groups, b, r, o, each), 0, 3)
    flat = columns.reshape(groups, rows, taps)

    def run() -> None:
        np.copyto(columns, source)
        np.matmul(flat, packed, out=made)
        np.copyto(target, shaped)

    return [run]


def dense(step: Step, context: Context) -> tuple[str, list[Task]]:
    """x (rows, n) @ weight^T, with the weight as it is. Raises ValueError for an axis other than the channels."""
    layer = step.layer
    assert isinstance(layer, Dense)
    if layer.axis not in (None, 0, "channels"):
        raise ValueError("along another axis than the channels")
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    residual = None if step.residual is None else context.maps(step.residual)
    weight = step.weights["weight"].T
    return "matmul", _pointwise(step, context, x, y, residual, weight, step.weights.get("bias"))
