"""Convolution and dense layers as tiles of a matrix product (see `tile.py`).

A unit is a block of tiles of pixels by a block of panels of output channels, of one group. For each block the addresses
that the taps of its pixels read are written into the scratch memory once, and serve all panels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.addresses import write_addresses
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
                write_addresses(
                    e, a, x, tile * self.rows, scratch + (tile - tile_first) * table_tile, self.lanes, self.flat
                )

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
