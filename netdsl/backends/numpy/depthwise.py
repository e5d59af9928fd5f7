"""Depthwise convolution: for each tap of the kernel, one product and one sum over rows as long as memory allows.

A row holds all columns and channels; the weight of a tap is repeated along it. With a stride the columns of a block
are dealt out first, those that a tap reads side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netdsl.backends.numpy.blocks import NARROW_BYTES, Axis, Block, Task, axes, strip
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.epilogue import epilogue
from netdsl.backends.numpy.memory import Array
from netdsl.program.ir import Step


def depthwise(step: Step, context: Context) -> tuple[str, list[Task]]:
    """The name of the form and its calls. Raises ValueError for what only the layer itself knows."""
    layer: Any = step.layer
    if layer.padding_mode != "zeros" or layer.flip_kernel or layer.multiplier != 1:
        raise ValueError("a form of convolution that only the layer itself knows")
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    residual = None if step.residual is None else context.maps(step.residual)
    height, width = axes(layer.slides(step.inputs[0].type))
    weight = step.weights["weight"].reshape(x.shape[3], height.f, width.f)
    bias = step.weights.get("bias")
    rows = context.packed(step, f"rows {width.o}", lambda: _rows(weight, width.o))
    wide = width.o * x.shape[3]
    tasks: list[Task] = []
    for block in context.blocks(x.shape[0], height.o, 4 * wide, NARROW_BYTES):
        scratch = context.scratch
        scratch.restart()
        part = strip(x, block, height, width, scratch)
        if part.fill is not None:
            tasks.append(part.fill)
        seen, deal = _dealt(part.array, width, context)
        tasks += deal
        total, product = (scratch.take(block.images, block.rows, wide) for _ in range(2))
        taps = _taps(seen, block, height, width, rows)
        tasks.append(_sum(taps, total, product))
        place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
        shaped = total.reshape(y[place].shape)
        tasks += epilogue(shaped, bias, None if residual is None else residual[place], step.activation, scratch)
        tasks.append(_copy(y[place], shaped))
    return "depthwise rows", tasks


def _rows(weight: Array, o: int) -> Array:
    """(C, fh, fw) as (fh, fw, o C): the weight of each tap, repeated for every column."""
    return np.ascontiguousarray(np.tile(weight.transpose(1, 2, 0), (1, 1, o)))


def _dealt(source: Array, width: Axis, context: Context) -> tuple[list[Array], list[Task]]:
    """The columns of a strip, dealt out by their rest when divided by the stride: (images, rows, columns, C) each."""
    if width.s == 1:
        return [source], []
    hands = [source[:, :, rest :: width.s] for rest in range(width.s)]
    made = [context.scratch.take(*hand.shape) for hand in hands]
    used = {tap * width.d % width.s for tap in range(width.f)}
    return made, [_copy(made[rest], hands[rest]) for rest in sorted(used)]


def _taps(hands: list[Array], block: Block, height: Axis, width: Axis, rows: Array) -> list[tuple[Array, Array]]:
    """For each tap: what it reads, as (images, rows, o C), and its weight along a row."""
    found = []
    for i in range(height.f):
        for j in range(width.f):
            column, rest = divmod(j * width.d, width.s)
            hand = hands[rest][:, i * height.d :, column:]
            n, r, _, item = hand.strides
            if hand.strides[2] == item * hand.shape[3]:
                shape: tuple[int, ...] = (block.images, block.rows, rows.shape[2])
                strides: tuple[int, ...] = (n, height.s * r, item)
                found.append((as_strided(hand, shape, strides, writeable=False), rows[i, j]))
            else:
                # A slice of a larger map: columns do not follow each other without gaps.
                shape = (block.images, block.rows, width.o, hand.shape[3])
                strides = (n, height.s * r, hand.strides[2], item)
                weight = rows[i, j].reshape(width.o, hand.shape[3])
                found.append((as_strided(hand, shape, strides, writeable=False), weight))
    return found


def _sum(taps: list[tuple[Array, Array]], total: Array, product: Array) -> Task:
    first = taps[0][0]
    total, product = total.reshape(first.shape), product.reshape(first.shape)

    def run() -> None:
        source, weight = taps[0]
        np.multiply(source, weight, out=total)
        for source, weight in taps[1:]:
            np.multiply(source, weight, out=product)
            np.add(total, product, out=total)

    return run


def _copy(target: Array, source: Array) -> Task:
    return lambda: np.copyto(target, source)
