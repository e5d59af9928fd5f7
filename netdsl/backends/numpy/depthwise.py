"""Depthwise convolution: for each tap of the kernel, one multiplication and addition over long rows.

`einsum` adds products to what is there in one sweep, where `multiply` and `add` take two. A row holds several columns
with all their channels; the weight of a tap is repeated along it. With a stride the columns that a tap reads are laid
side by side first: one hand of columns for each rest when they are divided by the stride.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netdsl.backends.numpy.blocks import NARROW_BYTES, Axis, Block, Task, axes, strip
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.epilogue import call, copy, epilogue, halved
from netdsl.backends.numpy.memory import Array
from netdsl.program.ir import Step

LEAST_ROW = 768
"""Numbers in a row below which NumPy spends its time between rows."""


def depthwise(step: Step, context: Context) -> tuple[str, list[Task]]:
    """The name of the form and its calls. Raises ValueError for what only the layer itself knows."""
    layer: Any = step.layer
    if layer.padding_mode != "zeros" or layer.flip_kernel or layer.multiplier != 1:
        raise ValueError("a form of convolution that only the layer itself knows")
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    residual = None if step.residual is None else context.maps(step.residual)
    height, width = axes(layer.slides(step.inputs[0].type))
    c = x.shape[3]
    half = halved(step)
    weight = step.weights["weight"].reshape(c, height.f, width.f)
    bias = step.weights.get("bias")
    if half:
        weight, bias = weight / 2, None if bias is None else bias / 2
    together = _columns_of_a_row(width.o, c)
    rows = context.packed(step, f"rows {together} {half}", lambda: _rows(weight, together))
    tasks: list[Task] = []
    for block in context.blocks(x.shape[0], height.o, 4 * width.o * c, NARROW_BYTES):
        scratch = context.scratch
        scratch.restart()
        total, part = (scratch.take(block.images, block.rows, width.o, c) for _ in range(2))
        for number, hand in enumerate(_hands(width)):
            seen, deal = _dealt(x, block, height, width, hand, context)
            tasks += deal
            out = part if number else total
            tasks.append(_sum(seen, rows[:, hand.taps], out, block, height, hand))
            if number:
                tasks.append(call(np.add, total, part, total))
        place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
        given = None if residual is None else residual[place]
        tasks += epilogue(total, y[place], bias, given, step.activation, scratch, half)
    return "depthwise rows", tasks


def _columns_of_a_row(o: int, c: int) -> int:
    """Of the numbers that o columns can be divided by, the least that makes a row long enough."""
    return next(each for each in range(1, o + 1) if o % each == 0 and (each * c >= LEAST_ROW or each == o))


def _rows(weight: Array, columns: int) -> Array:
    """(C, fh, fw) as (fh, fw, columns C): the weight of each tap, repeated for every column."""
    return np.ascontiguousarray(np.tile(weight.transpose(1, 2, 0), (1, 1, columns)), np.float32)


class Hand(NamedTuple):
    """Columns `rest`, `rest` + stride, ... of the padded map, and the taps that read nothing else."""

    rest: int
    taps: slice
    first: int
    """Where, among the columns of the hand, the first window's first tap of these reads."""
    step: int
    """From one of these taps to the next, in columns of the hand."""

    @property
    def extent(self) -> int:
        return len(range(self.taps.start, self.taps.stop, self.taps.step))


def _hands(width: Axis) -> list[Hand]:
    """One for each rest that a tap has: tap j reads the columns j d + k s."""
    period = width.s // np.gcd(width.s, width.d)
    return [
        Hand(
            (j * width.d) % width.s, slice(j, width.f, period), j * width.d // width.s, int(period * width.d // width.s)
        )
        for j in range(min(int(period), width.f))
    ]


def _dealt(x: Array, block: Block, height: Axis, width: Axis, hand: Hand, context: Context) -> tuple[Array, list[Task]]:
    """The columns of a hand, from the first that is read: (images, rows, columns, C), and how they get there."""
    start = (hand.rest - width.before) % width.s
    columns = x[:, :, start :: width.s]
    before = (width.before - hand.rest + start) // width.s - hand.first
    if before < 0:
        columns, before = columns[:, :, -before:], 0
    wide = (hand.extent - 1) * hand.step + width.o
    axis = Axis(columns.shape[2], 1, 1, 1, before, width.o)
    part = strip(columns, block, height, axis, context.scratch, columns=wide)
    if part.fill is not None:
        return part.array, [part.fill]
    if width.s == 1:
        return part.array, []
    made = context.scratch.take(*part.array.shape)
    return made, [copy(made, part.array)]


def _sum(seen: Array, weight: Array, out: Array, block: Block, height: Axis, hand: Hand) -> Task:
    """The sum over the taps of what each reads, (images, rows, parts of a row, columns C), times its weight."""
    n, r, column, item = seen.strides
    c, o = out.shape[3], out.shape[2]
    if column != item * c:
        # A slice of a larger map: columns do not follow each other without gaps.
        weight = weight[:, :, :c]
    wide = weight.shape[2]
    parts = o * c // wide
    shape = (block.images, block.rows, parts, height.f, hand.extent, wide)
    strides = (n, height.s * r, column * (o // parts), height.d * r, hand.step * column, item)
    view = as_strided(seen, shape, strides, writeable=False)
    total = out.reshape(block.images, block.rows, parts, wide)
    return lambda: _einsum("nrpijk,ijk->nrpk", view, weight, total)


def _einsum(subscripts: str, a: Array, b: Array, out: Array) -> None:
    np.einsum(subscripts, a, b, out=out)
