"""The gradient of a convolution's weight: for each tap a matrix product over all positions that it reads.

    sums[tap][c][k] = sum over positions p of  x[p s - padding + tap d][c] * dy[p][k]

A register tile has some channels c by some vectors of k, and goes over a table of positions: where in x, where in dy.
Neither x nor dy is copied. Positions are taken a block at a time, small enough to stay in the cache while all tiles
pass. A unit is a part of the panels of k for a part of the positions (a chunk), with sums of its own; `FoldKernel` adds
the chunks up.

Channels are few in the first layers: there a tile has the channels of several taps, which lie at fixed distances
(`scattered`); then no tap may lie outside of the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target
from netdsl.backends.native.training.kernels.lanes import addresses, scatter


@dataclass(frozen=True)
class WeightsKernel:
    """A variant. `rows` are the distances in bytes of the numbers of x that a tile takes, for each tile in turn where
    `scattered`; else for a whole tile and, where channels are left, for the last one. Panels have `vectors` vectors,
    the last one `last` where that is not 0, with `masked` where it is not full."""

    rows: tuple[tuple[int, ...], ...]
    scattered: bool
    vectors: int
    last: int
    masked: bool

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "height", "width", "dy", "dy_pixel", "out_height", "out_width",
        "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y", "dilation_x", "kernel_y", "kernel_x",
        "lines", "block", "chunks", "parts", "panels", "part_panels", "sums", "chunk", "sums_row", "depth",
        "tiles", "channels", "count",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        build = self._emit_table(module, target)
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, scratch = e.arguments
        a = field(e, row, self.fields)
        table = scratch + 64
        wide = self.vectors * target.bytes
        with e.loop(first, end) as unit:
            chunk, part = unit // a["parts"], unit % a["parts"]
            panel_first = part * a["part_panels"]
            panel_end = e.least(panel_first + a["part_panels"], a["panels"])
            sums = a["sums"] + chunk * a["chunk"]
            start, stop = panel_first * wide, e.least(panel_end * wide, a["sums_row"])
            with e.loop(0, a["depth"]) as line, e.loop(start, stop, target.bytes) as offset:
                e.store(e.constant(0.0), sums + line * a["sums_row"] + offset)
            line_first = a["lines"] * chunk // a["chunks"]
            line_end = a["lines"] * (chunk + 1) // a["chunks"]
            blocks = (line_end - line_first + a["block"] - 1) // a["block"]
            with e.loop(0, blocks) as block:
                low = line_first + block * a["block"]
                high = e.least(low + a["block"], line_end)
                taps = e.number(1) if self.scattered else a["kernel_y"] * a["kernel_x"]
                with e.loop(0, taps) as tap:
                    e.call(build, row, low, high, tap // a["kernel_x"], tap % a["kernel_x"], table, scratch)
                    count = e.load_int(scratch)
                    place = sums + tap * a["channels"] * a["sums_row"]
                    whole = a["panels"] - (1 if self.last else 0)
                    with e.loop(panel_first, e.least(panel_end, whole)) as panel:
                        self._panel(e, a, module, target, table, count, place, panel, self.vectors, False)
                    if self.last:
                        with e.when(whole < panel_end):
                            self._panel(e, a, module, target, table, count, place, whole, self.last, self.masked)
        return e.finish()

    def _panel(
        self, e: Emitter, a: dict[str, Int], module: ir.Module, target: Target, table: Int, count: Int, place: Int,
        panel: Int, vectors: int, masked: bool,
    ) -> None:  # fmt: skip
        """All tiles of one panel."""
        right = panel * (self.vectors * target.bytes)

        def call(tile: tuple[int, ...], line: int | Int, offset: int | Int) -> None:
            code = _emit_tile(module, target, tile, vectors, masked)
            e.call(
                code,
                table,
                count,
                offset,
                right,
                place + e.number(line) * a["sums_row"] + right,
                a["sums_row"],
                a["count"],
            )

        if self.scattered:
            line = 0
            for tile in self.rows:
                call(tile, line, 0)
                line += len(tile)
            return
        size = len(self.rows[0])
        rest = len(self.rows) > 1
        with e.loop(0, a["tiles"] - (1 if rest else 0)) as number:
            call(self.rows[0], number * size, number * (4 * size))
        if rest:
            number = a["tiles"] - 1
            call(self.rows[1], number * size, number * (4 * size))

    def _emit_table(self, module: ir.Module, target: Target) -> ir.Function:
        """Writes the addresses in x and dy of all positions of the output lines `low` to `high` whose tap (ky, kx) lies
        inside the map, and their number at `counter`: (row, low, high, ky, kx, table, counter)."""
        e = Emitter(module, target, "positions", 7)
        row, low, high, ky, kx, table, counter = e.arguments
        a = field(e, row, self.fields)
        # Of x: first <= ox < last are the columns whose tap is inside.
        ahead = e.number(0) - kx * a["dilation_x"] + a["pad_x"]
        first = e.most(ahead + a["stride_x"] - 1, 0) // a["stride_x"]
        last = e.least(e.most(ahead + a["width"] + a["stride_x"] - 1, 0) // a["stride_x"], a["out_width"])
        place = e.variable(table)
        left = (first * a["stride_x"] - ahead) * a["x_pixel"]
        step = a["stride_x"] * a["x_pixel"]
        with e.loop(low, high) as line:
            image, y = line // a["out_height"], line % a["out_height"]
            at = y * a["stride_y"] + ky * a["dilation_y"] - a["pad_y"]
            inside = e.b.icmp_unsigned("<", at.value, a["height"].value)
            with e.when(inside):
                x = e.variable(a["x"] + image * a["x_image"] + at * a["x_row"] + left)
                dy = e.variable(a["dy"] + (line * a["out_width"] + first) * a["dy_pixel"])
                with e.loop(first, last):
                    here, source, right = place.get(), x.get(), dy.get()
                    e.b.store(source.value, e.pointer(here), align=8)
                    e.b.store(right.value, e.pointer(here + 8), align=8)
                    place.set(here + 16)
                    x.set(source + step)
                    dy.set(right + a["dy_pixel"])
        e.b.store(((place.get() - table) // 16).value, e.pointer(counter), align=8)
        return e.finish()


def _emit_tile(module: ir.Module, target: Target, rows: tuple[int, ...], vectors: int, masked: bool) -> ir.Function:
    """sums[row][lanes] += x[rows[row]] * dy[lanes] over a table of positions.

    Its parameters: table, how many positions, what is added to the addresses in x and in dy, the sums, the distance of
    their rows, and how many lanes of the last vector there are.
    """
    contiguous = rows == tuple(range(0, 4 * len(rows), 4))
    name = f"weights_{len(rows) if contiguous else '_'.join(map(str, rows))}_{vectors}_{int(masked)}"
    known = module.globals.get(name)
    if known is not None:
        return known
    e = Emitter(module, target, name, 7)
    table, count, x_add, dy_add, sums, sums_row, lanes = e.arguments
    mask = e.mask(lanes) if masked else None
    cells = [(row, vector) for row in range(len(rows)) for vector in range(vectors)]
    places = {(row, vector): sums + sums_row * row + target.bytes * vector for row, vector in cells}
    totals = {cell: e.variable(e.load(places[cell])) for cell in cells}
    with e.loop(0, count) as number:
        at = table + number * 16
        x, dy = e.load_int(at) + x_add, e.load_int(at + 8) + dy_add
        right = [
            e.load(dy + target.bytes * vector, mask if vector == vectors - 1 else None) for vector in range(vectors)
        ]  # fmt: skip
        for row, offset in enumerate(rows):
            left = e.broadcast(x + offset)
            for vector in range(vectors):
                cell = totals[row, vector]
                cell.set(e.fma(left, right[vector], cell.get()))
    for where, total in totals.items():
        e.store(total.get(), places[where])
    return e.finish()


@dataclass(frozen=True)
class FoldKernel:
    """Adds the chunks of `WeightsKernel` up and writes the gradient in the order of the weight:

        gradient[k][c][tap] = sum over chunks of sums[tap][c][k]

    With `add`, to what is there. A unit is a vector of k for a block of channels: it is turned around in the scratch
    memory, which stays in the first cache, and goes out row by row.
    """

    add: bool

    fields: ClassVar[tuple[str, ...]] = (
        "sums", "chunks", "chunk", "sums_row", "channels", "tap_count", "gradient", "filters", "block", "blocks",
    )  # fmt: skip

    @staticmethod
    def scratch(target: Target, block: int, taps: int) -> int:
        """Bytes that a unit works in."""
        return target.width * (4 * block * taps + 64 + target.bytes)

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, scratch = e.arguments
        a = field(e, row, self.fields)
        taps = a["tap_count"]
        # Rows of the scratch memory lie a line further apart than they are long, so that they do not meet in a set.
        line = a["block"] * taps * 4 + 64
        with e.loop(first, end) as unit:
            vector, block = unit // a["blocks"], unit % a["blocks"]
            low = block * a["block"]
            high = e.least(low + a["block"], a["channels"])
            with e.loop(low, high) as channel, e.loop(0, taps) as tap:
                source = a["sums"] + (tap * a["channels"] + channel) * a["sums_row"] + vector * target.bytes
                total = e.variable(e.load(source))
                with e.loop(1, a["chunks"]) as chunk:
                    total.set(e.b.fadd(total.get(), e.load(source + chunk * a["chunk"])))
                scatter(e, total.get(), addresses(e, scratch + ((channel - low) * taps + tap) * 4, line))
            filters = e.least(a["filters"] - vector * e.width, e.width)
            with e.loop(0, filters) as lane:
                out = a["gradient"] + ((vector * e.width + lane) * a["channels"] + low) * taps * 4
                each_vector(e, (high - low) * taps, self._write(e, scratch + lane * line, out))
        return e.finish()

    def _write(self, e: Emitter, source: Int, out: Int) -> Any:
        def write(i: Int, mask: Any) -> None:
            value = e.load(source + i * 4, mask)
            if self.add:
                value = e.b.fadd(value, e.load(out + i * 4, mask))
            e.store(value, out + i * 4, mask)

        return write
