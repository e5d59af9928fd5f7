"""Blocks: a step goes through its output a few rows at a time, so that what it works on stays in the cache.

Where a window hangs over the edge of the map, the rows that a block reads are copied into a strip with a border; where
it does not, the block reads the map as it is. Legend: n extent of the input, o of the output, s stride, along one axis
(see netdsl/layers/sizes.py); N images, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netdsl.backends.numpy.memory import Array, Scratch
from netdsl.layers.sizes import Slide

BLOCK_BYTES = 384 * 1024
"""What a block of a convolution may take, columns and results together: the larger part of a second-level cache."""
PRODUCT_BYTES = 1024 * 1024
"""The same for matrix products, for each thread."""
NARROW_BYTES = 128 * 1024
"""The same for steps that sweep over it several times (depthwise convolution, pools)."""

Task = Callable[[], None]


class Block(NamedTuple):
    """Images n0 to n1, output rows r0 to r1."""

    n0: int
    n1: int
    r0: int
    r1: int

    @property
    def images(self) -> int:
        return self.n1 - self.n0

    @property
    def rows(self) -> int:
        return self.r1 - self.r0


def blocks(images: int, rows: int, row_bytes: int, most_bytes: int, least_rows: int = 1) -> Iterator[Block]:
    """Cuts a batch into blocks of about `most_bytes`: several images where they are small, some rows where not."""
    fitting = max(least_rows, most_bytes // max(1, row_bytes), 1)
    if fitting >= rows:
        together = max(1, min(images, fitting // rows))
        for n0 in range(0, images, together):
            yield Block(n0, min(images, n0 + together), 0, rows)
        return
    count = -(-rows // fitting)
    for n in range(images):
        for part in range(count):
            yield Block(n, n + 1, rows * part // count, rows * (part + 1) // count)


class Axis(NamedTuple):
    """How a window slides along one axis of known extents."""

    n: int
    f: int
    s: int
    d: int
    before: int
    o: int

    @property
    def span(self) -> int:
        return self.d * (self.f - 1) + 1

    @property
    def reach(self) -> int:
        """Positions from the first that the first window reads to the last that the last one does."""
        return (self.o - 1) * self.s + self.span

    @property
    def fits(self) -> bool:
        """Whether all windows lie inside the map."""
        return self.before == 0 and self.reach <= self.n


def axes(slides: tuple[Slide, ...]) -> tuple[Axis, Axis]:
    """(height, width); what has no height has one row."""
    found = [Axis(slide.n or 0, slide.f, slide.s, slide.d, slide.before, slide.o or 0) for slide in slides]
    while len(found) < 2:
        found.insert(0, Axis(1, 1, 1, 1, 0, 1))
    height, width = found
    return height, width


class Strip(NamedTuple):
    """What a block reads: an array (images, rows, columns, C) that starts at the first window, and how it is filled."""

    array: Array
    fill: Task | None


def strip(
    x: Array,
    block: Block,
    height: Axis,
    width: Axis,
    scratch: Scratch,
    border: float = 0.0,
    columns: int = 0,
    rows: int = 0,
) -> Strip:
    """The rows of `x` (N, H, W, C) that a block reads. `columns`, `rows`: how many are needed, if not those of all
    windows."""
    top = block.r0 * height.s - height.before
    tall = rows or (block.rows - 1) * height.s + height.span
    wide = columns or width.reach
    images = x[block.n0 : block.n1]
    y0 = min(max(top, 0), height.n)
    y1 = max(y0, min(top + tall, height.n))
    left = width.before
    x1 = max(0, min(wide - left, width.n))
    if left == 0 and wide <= width.n and top >= 0 and top + tall <= height.n:
        return Strip(images[:, y0:y1, :wide], None)
    made = scratch.take(block.images, tall, wide, x.shape[3])
    if y0 == y1 or x1 == 0:
        # Nothing but border; a border as large as that is rare, and allowed.
        return Strip(made, lambda: made.fill(border))
    inner = made[:, y0 - top : y1 - top, left : left + x1]
    source = images[:, y0:y1, :x1]
    edges = [
        edge
        for edge in (
            made[:, : y0 - top], made[:, y1 - top :],
            made[:, y0 - top : y1 - top, :left], made[:, y0 - top : y1 - top, left + x1 :],
        )
        if edge.size
    ]  # fmt: skip

    def fill() -> None:
        for edge in edges:
            edge.fill(border)
        np.copyto(inner, source)

    return Strip(made, fill)


def windows(strip: Array, block: Block, height: Axis, width: Axis) -> Array:
    """Every window of a block: a view of shape (images, rows, o, f_height, f_width, C)."""
    s = strip.strides
    return as_strided(
        strip,
        (block.images, block.rows, width.o, height.f, width.f, strip.shape[3]),
        (s[0], height.s * s[1], width.s * s[2], height.d * s[1], width.d * s[2], s[3]),
        writeable=False,
    )
