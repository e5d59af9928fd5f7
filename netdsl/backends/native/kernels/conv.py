"""Convolution and dense layers as tiles of a matrix product (see `tile.py`).

A unit is a block of tiles of pixels by a block of panels of output channels, of one group. For each block the addresses
that the taps of its pixels read are written into the scratch memory once, and serve all panels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import llvmlite.ir as ir

from netdsl.backends.native.emit import F64, I32, I64, Emitter, Int, field
from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.tile import Tile, emit_tile
from netdsl.backends.native.target import Target


@dataclass(frozen=True)
class ConvKernel:
    """A variant.

    Tiles have `rows` pixels, the last one `rest` where that is not 0; panels have `vectors` vectors, the last one
    `last` where that is not 0, with `masked` where it is not full. With `flat`, pixel m of the output reads pixel m of
    the input and nothing else.
    """

    rows: int
    rest: int
    vectors: int
    last: int
    masked: bool
    activation: Activation
    residual: bool
    flat: bool

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "x_group", "height", "width", "zeros",
        "out_height", "out_width", "inverse_height", "inverse_width",
        "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y", "dilation_x", "kernel_y", "kernel_x",
        "k", "weight", "weight_panel", "weight_group", "bias", "bias_group",
        "out", "out_pixel", "residual", "residual_pixel", "out_group",
        "pixels", "tiles", "block_tiles", "blocks", "panels", "block_panels", "panel_blocks", "count",
    )  # fmt: skip

    @property
    def lanes(self) -> int:
        """Addresses that are written for a tap: the rows, rounded up to a power of two."""
        return 1 << (self.rows - 1).bit_length()

    def tile(self, rows: int, vectors: int, masked: bool) -> Tile:
        return Tile(rows, vectors, self.lanes, masked, self.activation, self.residual)

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, scratch = e.arguments
        a = field(e, row, self.fields)
        taps = a["kernel_y"] * a["kernel_x"]
        table_tile = taps * (8 * self.lanes)
        # All tiles that are whole; then the rest.
        whole = a["tiles"] - (1 if self.rest else 0)
        with e.loop(first, end) as unit:
            panel_block = unit % a["panel_blocks"]
            above = unit // a["panel_blocks"]
            group = above // a["blocks"]
            tile_first = (above % a["blocks"]) * a["block_tiles"]
            tile_end = e.least(tile_first + a["block_tiles"], a["tiles"])
            x = a["x"] + group * a["x_group"]
            with e.loop(tile_first, tile_end) as tile:
                self._addresses(e, a, x, tile, scratch + (tile - tile_first) * table_tile)

            def panel(
                number: Int,
                vectors: int,
                masked: bool,
                group: Int = group,
                first: Int = tile_first,
                end: Int = tile_end,
            ) -> None:
                weight = a["weight"] + group * a["weight_group"] + number * a["weight_panel"]
                offset = number * (self.vectors * target.bytes)
                bias = a["bias"] + group * a["bias_group"] + offset
                out = a["out"] + group * a["out_group"] + offset
                residual = a["residual"] + group * a["out_group"] + offset

                def call(tile: Int, rows: int) -> None:
                    pixel = tile * self.rows
                    # The first tiles of a block fetch a part each of the next panel.
                    share = self.tile(rows, vectors, masked).share
                    part = e.least(tile - first, share)
                    ahead = weight + a["weight_panel"] + part * (a["weight_panel"] // share)
                    e.call(
                        emit_tile(module, target, self.tile(rows, vectors, masked)),
                        scratch + (tile - first) * table_tile, taps, a["k"], weight, bias,
                        out + pixel * a["out_pixel"], a["out_pixel"],
                        residual + pixel * a["residual_pixel"], a["residual_pixel"], a["count"], ahead,
                    )  # fmt: skip

                with e.loop(first, e.least(end, whole)) as tile:
                    call(tile, self.rows)
                if self.rest:
                    with e.when(whole < end):
                        call(whole, self.rest)

            panel_first = panel_block * a["block_panels"]
            panel_end = e.least(panel_first + a["block_panels"], a["panels"])
            whole_panels = a["panels"] - (1 if self.last else 0)
            with e.loop(panel_first, e.least(panel_end, whole_panels)) as number:
                panel(number, self.vectors, False)
            if self.last:
                with e.when(whole_panels < panel_end):
                    panel(whole_panels, self.last, self.masked)
        return e.finish()

    def _addresses(self, e: Emitter, a: dict[str, Int], x: Int, tile: Int, table: Int) -> None:
        """Writes the addresses that each tap of each pixel of a tile reads."""
        b, lanes = e.b, self.lanes
        integers, narrow, doubles = (ir.VectorType(kind, lanes) for kind in (I64, I32, F64))

        def splat(value: Int) -> Any:
            return e._splat(value.value, integers)

        pixel = b.add(splat(tile * self.rows), ir.Constant(integers, list(range(lanes))))
        if self.flat:
            b.store(b.add(splat(x), b.mul(pixel, splat(a["x_pixel"]))), e.pointer(table), align=8)
            return

        def divided(value: Any, inverse: Int) -> Any:
            """Whole quotients, through doubles: they err by less than the half that is added."""
            factor = e._splat(b.bitcast(inverse.value, F64), doubles)
            exact = b.fadd(b.sitofp(b.trunc(value, narrow), doubles), ir.Constant(doubles, [0.5] * lanes))
            return b.sext(b.fptosi(b.fmul(exact, factor), narrow), integers)

        line = divided(pixel, a["inverse_width"])
        column = b.sub(pixel, b.mul(line, splat(a["out_width"])))
        image = divided(line, a["inverse_height"])
        line = b.sub(line, b.mul(image, splat(a["out_height"])))
        top = b.sub(b.mul(line, splat(a["stride_y"])), splat(a["pad_y"]))
        left = b.sub(b.mul(column, splat(a["stride_x"])), splat(a["pad_x"]))
        base = b.add(splat(x), b.mul(image, splat(a["x_image"])))
        base = b.add(base, b.add(b.mul(top, splat(a["x_row"])), b.mul(left, splat(a["x_pixel"]))))
        height, width, zeros = splat(a["height"]), splat(a["width"]), splat(a["zeros"])
        step_y, step_x = a["dilation_y"], a["dilation_x"]
        with e.loop(0, a["kernel_y"]) as ky:
            inside_y = b.icmp_unsigned("<", b.add(top, splat(ky * step_y)), height)
            base_y = b.add(base, splat(ky * step_y * a["x_row"]))
            row = table + ky * a["kernel_x"] * (8 * lanes)
            with e.loop(0, a["kernel_x"]) as kx:
                inside = b.and_(inside_y, b.icmp_unsigned("<", b.add(left, splat(kx * step_x)), width))
                address = b.add(base_y, splat(kx * step_x * a["x_pixel"]))
                b.store(b.select(inside, address, zeros), e.pointer(row + kx * (8 * lanes)), align=8)
