"""Convolution 3x3 with stride 1 by Winograd's F(4x4, 3x3): 36 multiplications for 16 outputs in place of 144.

    Y = A' [ (G g G') * (B' d B) ] A      Lavin & Gray 2016, Fast algorithms for convolutional neural networks

d is a patch of 6x6 inputs, Y one of 4x4 outputs, * a product element by element that is summed over the channels: 36
matrix products. A unit is a block of patches by a block of panels of output channels: its patches are transformed into
the scratch memory, then multiplied, one of the 36 points after the other, so that each weight is read once; then comes
the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.kernels.tile import Tile, emit_tile
from netdsl.backends.native.target import Target

POINTS = 36


@dataclass(frozen=True)
class WinogradKernel:
    """A variant: `rows` patches by `vectors` vectors a tile; the last panel has `last` vectors where that is not 0."""

    rows: int
    vectors: int
    last: int
    activation: Activation
    residual: bool
    share: int

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "height", "width", "pad_y", "pad_x", "zeros", "channels",
        "out", "out_image", "out_row", "out_pixel", "out_height", "out_width",
        "residual", "residual_image", "residual_row", "residual_pixel",
        "weight", "weight_panel", "bias", "nothing", "patches", "patches_x", "patches_image", "block", "room",
        "panels", "block_panels", "panel_blocks", "vectors",
    )  # fmt: skip

    @property
    def lanes(self) -> int:
        return 1 << (self.rows - 1).bit_length()

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        into, back = self._emit_into(module, target), self._emit_back(module, target)
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, scratch = e.arguments
        a = field(e, row, self.fields)
        # The scratch memory: patches [36][room][channels], products [36][room][panels of a block], and the addresses
        # of the tiles of one point.
        point = a["room"] * a["channels"] * 4
        products = scratch + point * POINTS
        panel_bytes = self.vectors * target.bytes
        pixel_bytes = a["block_panels"] * panel_bytes
        product = a["room"] * pixel_bytes
        table = products + product * POINTS
        tile_table = 8 * self.lanes
        with e.loop(first, end) as unit:
            block, panel_block = unit // a["panel_blocks"], unit % a["panel_blocks"]
            patch_first = block * a["block"]
            count = e.least(a["block"], a["patches"] - patch_first)
            with e.loop(0, count) as number:
                e.call(into, row, patch_first + number, scratch + number * a["channels"] * 4, point)
            tiles = (count + (self.rows - 1)) // self.rows
            panel_first = panel_block * a["block_panels"]
            panel_end = e.least(panel_first + a["block_panels"], a["panels"])
            whole = a["panels"] - (1 if self.last else 0)
            with e.loop(0, POINTS) as index:
                with e.loop(0, tiles) as tile:
                    for i in range(self.rows):
                        patch = scratch + index * point + (tile * self.rows + i) * a["channels"] * 4
                        e.b.store(patch.value, e.pointer(table + tile * tile_table + 8 * i), align=8)

                def multiply(number: Int, vectors: int, index: Int = index, first: Int = panel_first) -> None:
                    tile_code = emit_tile(
                        module, target, Tile(self.rows, vectors, self.lanes, False, (), False, self.share)
                    )
                    weight = a["weight"] + number * a["weight_panel"]
                    weight = weight + index * (a["channels"] * (vectors * target.bytes))
                    out = products + index * product + (number - first) * panel_bytes
                    with e.loop(0, tiles) as tile:
                        e.call(
                            tile_code, table + tile * tile_table, 1, a["channels"], weight, a["nothing"],
                            out + tile * self.rows * pixel_bytes, pixel_bytes, 0, 0, 0,
weight + a["weight_panel"] + tile * (a["channels"] * (vectors * target.bytes) // self.share),
                        )  # fmt: skip

                with e.loop(panel_first, e.least(panel_end, whole)) as number:
                    multiply(number, self.vectors)
                if self.last:
                    with e.when(whole < panel_end):
                        multiply(whole, self.last)
            first_channel = panel_first * self.vectors
            vectors = e.least(panel_end * self.vectors, a["vectors"]) - first_channel
            with e.loop(0, count) as patch, e.loop(0, vectors) as vector:
                at = products + patch * pixel_bytes + vector * target.bytes
                e.call(back, row, patch_first + patch, at, product, (first_channel + vector) * target.bytes)
        return e.finish()

    @staticmethod
    def _position(a: dict[str, Int], patch: Int) -> tuple[Int, Int, Int]:
        """(image, y, x) of a patch; y and x are those of its first output."""
        image, rest = patch // a["patches_image"], patch % a["patches_image"]
        return image, (rest // a["patches_x"]) * 4, (rest % a["patches_x"]) * 4

    def _emit_into(self, module: ir.Module, target: Target) -> ir.Function:
        """B' d B of all channels of a patch: (row, patch, out, distance between the 36 points)."""
        e = Emitter(module, target, "into", 4)
        row, patch, out, point = e.arguments
        a = field(e, row, self.fields)
        image, y, x = self._position(a, patch)
        top, left = y - a["pad_y"], x - a["pad_x"]
        base = a["x"] + image * a["x_image"]
        addresses = []
        for i in range(6):
            inside_y = e.b.icmp_unsigned("<", (top + i).value, a["height"].value)
            for j in range(6):
                inside = e.b.and_(inside_y, e.b.icmp_unsigned("<", (left + j).value, a["width"].value))
                address = base + (top + i) * a["x_row"] + (left + j) * a["x_pixel"]
                addresses.append(e.choose(inside, address, a["zeros"]))
        with e.loop(0, a["channels"], e.width) as channel:
            columns = [
                _into(e, [e.load(addresses[6 * i + j] + channel * 4) for i in range(6)]) for j in range(6)
            ]  # fmt: skip
            for i in range(6):
                for j, value in enumerate(_into(e, [column[i] for column in columns])):
                    e.store(value, out + point * (6 * i + j) + channel * 4)
        return e.finish()

    def _emit_back(self, module: ir.Module, target: Target) -> ir.Function:
        """A' M A of one vector of channels, and the end: (row, patch, products, distance, offset of the channels)."""
        e = Emitter(module, target, "back", 5)
        row, patch, products, distance, offset = e.arguments
        a = field(e, row, self.fields)
        image, y, x = self._position(a, patch)
        columns = [_back(e, [e.load(products + distance * (6 * i + j)) for i in range(6)]) for j in range(6)]
        results = e.stack(16)
        for i in range(4):
            for j, value in enumerate(_back(e, [column[i] for column in columns])):
                e.store(value, results + (4 * i + j) * target.bytes)
        bias = e.load(a["bias"] + offset)
        out = a["out"] + image * a["out_image"] + offset
        residual = a["residual"] + image * a["residual_image"] + offset
        rows, across = e.least(a["out_height"] - y, 4), e.least(a["out_width"] - x, 4)
        with e.loop(0, rows) as line, e.loop(0, across) as column:
            value = e.b.fadd(e.load(results + line * (4 * target.bytes) + column * target.bytes), bias)
            if self.residual:
                at = residual + (y + line) * a["residual_row"] + (x + column) * a["residual_pixel"]
                value = e.b.fadd(value, e.load(at))
            value = activate(e, value, self.activation)
            e.store(value, out + (y + line) * a["out_row"] + (x + column) * a["out_pixel"])
        return e.finish()


def _into(e: Emitter, d: list[Vector]) -> list[Vector]:
    """B' d for a column of six."""
    b, four, two, five = e.b, e.constant(4.0), e.constant(2.0), e.constant(-5.0)
    minus_four, minus_two = e.constant(-4.0), e.constant(-2.0)
    far, near = b.fsub(d[4], d[2]), b.fsub(d[3], d[1])
    return [
        e.fma(four, d[0], e.fma(five, d[2], d[4])),
        e.fma(minus_four, b.fadd(d[1], d[2]), b.fadd(d[3], d[4])),
        e.fma(four, b.fsub(d[1], d[2]), b.fsub(d[4], d[3])),
        e.fma(two, near, far),
        e.fma(minus_two, near, far),
        e.fma(four, d[1], e.fma(five, d[3], d[5])),
    ]


def _back(e: Emitter, m: list[Vector]) -> list[Vector]:
    """A' m for a column of six."""
    b = e.b
    sum1, difference1 = b.fadd(m[1], m[2]), b.fsub(m[1], m[2])
    sum2, difference2 = b.fadd(m[3], m[4]), b.fsub(m[3], m[4])
    return [
        b.fadd(m[0], b.fadd(sum1, sum2)),
        e.fma(e.constant(2.0), difference2, difference1),
        e.fma(e.constant(4.0), sum2, sum1),
        b.fadd(e.fma(e.constant(8.0), difference2, difference1), m[5]),
    ]
