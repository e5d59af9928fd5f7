"""Winograd's minimal filtering F(4x4, 3x3): 36 products for a tile of 16 outputs in place of 144.

    Y = A^T [ (G g G^T) * (B^T d B) ] A            (Lavin & Gray 2016, Fast algorithms for convolutional networks, 4.3)

d is a tile of 6x6 inputs, g a kernel of 3x3. The product * is a matrix product over the channels at each of 36 places.
Legend: T tiles of a block, C channels, K filters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netdsl.backends.numpy.blocks import BLOCK_BYTES, Axis, Task, strip
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.ending import Ending
from netdsl.backends.numpy.epilogue import call, copy
from netdsl.backends.numpy.memory import Array

LEAST_EXTENT = 14
"""Rows and columns of a map below which too much of the tiles lies outside it."""
LEAST_CHANNELS = 32
"""Channels below which the transforms cost more than they save."""
WEIGHTS_FOR_BLOCK = 1
"""What a block may take, in transformed weights: each block reads them all."""

_BT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
_G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
_AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32)

# Both axes at once: four times the multiplications, but one sweep over the memory in place of two.
_BT2, _AT2 = np.kron(_BT, _BT), np.kron(_AT, _AT)


LEAST_TILES = 40
"""Tiles, the rows of its matrix products, below which those lose more speed than the form saves work."""


def pays(images: int, height: Axis, width: Axis, groups: int, channels: int) -> bool:
    """Whether a convolution is one that this form is faster for."""
    tiles = images * -(-height.o // 4) * -(-width.o // 4)
    square = all((axis.f, axis.s, axis.d) == (3, 1, 1) and axis.o >= LEAST_EXTENT for axis in (height, width))
    return square and groups == 1 and channels >= LEAST_CHANNELS and tiles >= LEAST_TILES


def kernels(weight: Array) -> Array:
    """(K, C, 3, 3) as (36, C, K), transformed in double precision."""
    made = np.einsum("ai,kcij,bj->abck", _G, weight.astype(np.float64), _G, optimize=True)
    return np.ascontiguousarray(made.reshape(36, weight.shape[1], weight.shape[0]), np.float32)


def winograd(context: Context, x: Array, weight: Array, end: Ending, height: Axis, width: Axis) -> list[Task]:
    """The calls, for blocks of rows of tiles; `weight` is (36, C, K)."""
    c, k = weight.shape[1:]
    down, across = -(-height.o // 4), -(-width.o // 4)
    bias, end = end.bias, end._replace(bias=None)
    tasks: list[Task] = []
    # A block reads all weights: it had better be large where they are.
    most = max(3 * BLOCK_BYTES * context.products, WEIGHTS_FOR_BLOCK * 36 * 4 * c * k)
    for block in context.blocks(x.shape[0], down, 36 * across * (c + k) * 4, most):
        scratch = context.scratch
        scratch.restart()
        images, rows = block.images, block.rows
        tiles = images * rows * across
        tall = block._replace(r0=4 * block.r0, r1=4 * block.r1)
        part = strip(x, tall, height, width, scratch, columns=4 * across + 2, rows=4 * rows + 2)
        s = part.array.strides
        seen = as_strided(
            part.array, (6, 6, images, rows, across, c), (s[1], s[2], s[0], 4 * s[1], 4 * s[2], s[3]), writeable=False
        )
        d, m = scratch.take(*seen.shape), scratch.take(36, tiles, k)
        e = scratch.take(36, tiles, c)
        if part.fill is not None:
            tasks.append(part.fill)
        tasks += [
            copy(d, seen),
            call(np.matmul, _BT2, d.reshape(36, -1), e.reshape(36, -1)),
            call(np.matmul, e, weight, m),
        ]
        if bias is not None and bias.any():
            # A^T E A is one everywhere for the E that is one at (1, 1) and zero elsewhere.
            tasks.append(call(np.add, m[7], bias, m[7]))
        made = scratch.take(16, tiles, k)
        tasks.append(call(np.matmul, _AT2, m.reshape(36, -1), made.reshape(16, -1)))
        # (4, 4, images, rows, across, K) -> (images, rows, 4, across, 4, K)
        turned = made.reshape(4, 4, images, rows, across, k).transpose(2, 3, 0, 4, 1, 5)
        bottom = min(4 * block.r1, height.o)
        tasks += _laid_down(context, turned, end, np.s_[block.n0 : block.n1, 4 * block.r0 : bottom])
    return tasks


def _laid_down(context: Context, turned: Array, end: Ending, place: Any) -> list[Task]:
    """Tiles into the rows of the map; those at the edges hang over it."""
    images, rows, _, across, _, k = turned.shape
    target = end.y[place]
    if target.shape[1:3] == (4 * rows, 4 * across):
        return end.tiles(place, 4, across).tasks(context, turned, ...)
    full = context.scratch.take(images, rows, 4, across, 4, k)
    inner = full.reshape(images, 4 * rows, 4 * across, k)[:, : target.shape[1], : target.shape[2]]
    return [copy(full, turned), *end.tasks(context, inner, place)]
