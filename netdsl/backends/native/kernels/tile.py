"""The register tile of a matrix product: `rows` pixels by `vectors` vectors of output channels.

    out[r] = activation(bias + sum over t, k of  x[pointer[t][r]][k] * weight[t][k]  + residual[r])

Each pixel of each tap has a pointer of its own, so that padding, strides and dilation cost nothing here: a tap outside
the map points at zeros (Dukhan 2019, The indirect convolution algorithm).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.target import Target


class Tile(NamedTuple):
    """A variant. With `masked`, only the first `count` lanes of the last vector are stored."""

    rows: int
    vectors: int
    lanes: int
    masked: bool
    activation: Activation
    residual: bool
    share: int = 4
    """So many tiles together fetch the next panel of weights while they work on this one."""


UNROLL = 4
LONG = 512
"""Products that are added up one after the other; a multiple of UNROLL."""
CACHE_LINE = 64
SHORT: tuple[Activation, ...] = ((), ("relu",), ("clip",), ("leaky_relu",))
"""Activations of one or two instructions."""


def emit_tile(module: ir.Module, target: Target, tile: Tile) -> ir.Function:
    """The function of a tile.

    Its parameters: pointers, taps, k, weight, bias, out, its stride, residual, its stride, count, ahead. Strides are in
    bytes; `pointers` is a table of `taps` rows of `lanes` addresses; `weight` is [taps][k][vectors][width]. From
    `ahead` on, a share of as many bytes as it multiplies with is fetched into the cache.
    """
    name = f"tile_{tile.rows}_{tile.vectors}_{int(tile.masked)}"
    known = module.globals.get(name)
    if known is not None:
        return known
    e = Emitter(module, target, name, 11)
    pointers, taps, k, weight, bias, out, out_stride, residual, residual_stride, count, ahead = e.arguments
    cells = [(row, vector) for row in range(tile.rows) for vector in range(tile.vectors)]
    start = [e.load(bias + target.bytes * vector) for vector in range(tile.vectors)]
    sums = {cell: e.variable(start[cell[1]]) for cell in cells}
    place, fetched = e.variable(weight), e.variable(ahead)
    step = target.bytes * tile.vectors

    def multiply(rows: list[Any], offset: Any, number: int) -> None:
        """Adds the products of `number` columns."""
        base = place.get()
        for i in range(number):
            right = [e.load(base + (i * step + target.bytes * vector)) for vector in range(tile.vectors)]
            for row in range(tile.rows):
                left = e.broadcast(rows[row] + offset + 4 * i)
                for vector in range(tile.vectors):
                    cell = sums[row, vector]
                    cell.set(e.fma(left, right[vector], cell.get()))
        place.set(base + number * step)

    # A long sum is made of sums of LONG products: its rounding errors grow with the length of these alone.
    totals = e.stack(len(cells))
    places = [totals + number * target.bytes for number in range(len(cells))]
    long = e.number(LONG) < taps * k
    since = e.variable(0)
    with e.when(long):
        for place_of_total in places:
            e.store(e.constant(0.0), place_of_total)
    with e.loop(0, taps) as tap:
        at = pointers + tap * (8 * tile.lanes)
        rows = [e.load_int(at + 8 * row) for row in range(tile.rows)]
        with e.loop(0, k, LONG) as first:
            columns = e.least(k - first, LONG)
            whole = (first + (columns // UNROLL) * UNROLL) * 4
            with e.loop(first * 4, whole, 4 * UNROLL) as offset:
                fetch = fetched.get()
                for line in range(0, UNROLL * step // tile.share, CACHE_LINE):
                    e.prefetch(fetch + line)
                fetched.set(fetch + UNROLL * step // tile.share)
                multiply(rows, offset, UNROLL)
            with e.loop(whole, (first + columns) * 4, 4) as offset:
                multiply(rows, offset, 1)
            since.set(since.get() + columns)
            with e.when(e.b.and_(long, since.get() >= LONG)):
                since.set(e.number(0))
                for cell, place_of_total in zip(cells, places, strict=True):
                    e.store(e.b.fadd(e.load(place_of_total), sums[cell].get()), place_of_total)
                    sums[cell].set(e.constant(0.0))
    with e.when(long):
        for cell, place_of_total in zip(cells, places, strict=True):
            sums[cell].set(e.b.fadd(e.load(place_of_total), sums[cell].get()))
    mask = e.mask(count) if tile.masked else None

    def end(y: Vector, row: int | Int, vector: int) -> None:
        only = mask if vector == tile.vectors - 1 else None
        if tile.residual:
            y = e.b.fadd(y, e.load(residual + residual_stride * row + target.bytes * vector, only))
        e.store(activate(e, y, tile.activation), out + out_stride * row + target.bytes * vector, only)

    if tile.activation[:1] in SHORT:
        for row, vector in cells:
            end(sums[row, vector].get(), row, vector)
    else:
        # The code of one row serves all: the sums go through memory, which costs little beside the function.
        place_of_sums = e.stack(len(cells))
        for number, cell in enumerate(cells):
            e.store(sums[cell].get(), place_of_sums + number * target.bytes)
        with e.loop(0, tile.rows) as row_number:
            for vector in range(tile.vectors):
                at_sum = place_of_sums + row_number * (tile.vectors * target.bytes) + vector * target.bytes
                end(e.load(at_sum), row_number, vector)
    return e.finish()
