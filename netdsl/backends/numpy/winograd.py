"""Winograd's minimal filtering F(4x4, 3x3): 36 products for a tile of 16 outputs in place of 144.

    Y = A^T [ (G g G^T) * (B^T d B) ] A            (Lavin & Gray 2016, Fast algorithms for convolutional networks, 4.3)

d is a tile of 6x6 inputs, g a kernel of 3x3. The product * is a matrix product over the channels at each of 36 places.
Legend: T tiles of a block, C channels, K filters.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netdsl.backends.numpy.blocks import BLOCK_BYTES, Axis, Task, strip
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.epilogue import epilogue
from netdsl.backends.numpy.memory import Array
from netdsl.program.ir import Step

LEAST_EXTENT = 14
"""Rows and columns of a map below which too much of the tiles lies outside it."""
LEAST_CHANNELS = 32
"""Channels below which the transforms cost more than they save."""

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


def pays(height: Axis, width: Axis, groups: int, channels: int) -> bool:
    """Whether a convolution is one that this form is faster for."""
    square = all((axis.f, axis.s, axis.d) == (3, 1, 1) and axis.o >= LEAST_EXTENT for axis in (height, width))
    return square and groups == 1 and channels >= LEAST_CHANNELS


def kernels(weight: Array) -> Array:
    """(K, C, 3, 3) as (36, C, K), transformed in double precision."""
    made = np.einsum("ai,kcij,bj->abck", _G, weight.astype(np.float64), _G, optimize=True)
    return np.ascontiguousarray(made.reshape(36, weight.shape[1], weight.shape[0]), np.float32)


def winograd(
    step: Step,
    context: Context,
    x: Array,
    y: Array,
    residual: Array | None,
    weight: Array,
    bias: Array | None,
    height: Axis,
    width: Axis,
) -> list[Task]:
    """The calls, for blocks of rows of tiles."""
    c, k = x.shape[3], y.shape[3]
    down, across = -(-height.o // 4), -(-width.o // 4)
    tasks: list[Task] = []
    for block in context.blocks(x.shape[0], down, 36 * across * (c + k) * 4, 3 * BLOCK_BYTES):
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
        d, e = scratch.take(6, 6, images, rows, across, c), scratch.take(36, tiles, c)
        m, half, made = scratch.take(36, tiles, k), scratch.take(4, 6, tiles, k), scratch.take(4, 4, tiles, k)

        def transform(
            seen: Array = seen, d: Array = d, e: Array = e, m: Array = m, half: Array = half, made: Array = made
        ) -> None:
            np.copyto(d, seen)
            np.matmul(_BT, d.reshape(6, -1), out=e.reshape(6, -1))
            np.matmul(_BT, e.reshape(6, 6, -1), out=d.reshape(6, 6, -1))
            np.matmul(d.reshape(36, -1, d.shape[-1]), weight, out=m)
            np.matmul(_AT, m.reshape(6, -1), out=half.reshape(4, -1))
            np.matmul(_AT, half.reshape(4, 6, -1), out=made.reshape(4, 4, -1))

        if part.fill is not None:
            tasks.append(part.fill)
        tasks.append(transform)
        # (4, 4, images, rows, across, K) -> (images, rows, 4, across, 4, K)
        turned = made.reshape(4, 4, images, rows, across, k).transpose(2, 3, 0, 4, 1, 5)
        end = min(4 * block.r1, height.o)
        place = np.s_[block.n0 : block.n1, 4 * block.r0 : end]
        target = y[place]
        tasks.append(_laid_down(context, turned, target))
        tasks += epilogue(target, bias, None if residual is None else residual[place], step.activation, scratch)
    return tasks


def _laid_down(context: Context, turned: Array, target: Array) -> Task:
    """Copies tiles into the rows of the map; those at the edges hang over it."""
    images, rows, _, across, _, k = turned.shape
    if target.shape[1:3] == (4 * rows, 4 * across):
        s = target.strides
        whole = as_strided(target, turned.shape, (s[0], 4 * s[1], s[1], 4 * s[2], s[2], s[3]))
        return lambda: np.copyto(whole, turned)
    full = context.scratch.take(images, rows, 4, across, 4, k)
    inner = full.reshape(images, 4 * rows, 4 * across, k)[:, : target.shape[1], : target.shape[2]]

    def run() -> None:
        np.copyto(full, turned)
        np.copyto(target, inner)

    return run
