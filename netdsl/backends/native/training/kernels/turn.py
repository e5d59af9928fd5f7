"""Weights as they are stored, turned into the order in which a convolution reads them; done anew at each step.

    packed[panel][tap][row][column of the panel] = weight[column * column_step + row * row_step + taps[tap]]

For a forward convolution columns are filters and rows channels, for the gradient of its input the other way round. A
unit is a vector of columns; columns that are not there are zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, field
from netdsl.backends.native.target import Target
from netdsl.backends.native.training.kernels.lanes import addresses, gather


@dataclass(frozen=True)
class TurnKernel:
    """The only variant. Panels have `vectors` vectors, the last one `last` where that is not 0."""

    fields: ClassVar[tuple[str, ...]] = (
        "weight", "column_step", "row_step", "taps", "tap_count", "rows", "columns", "packed", "vectors", "whole",
        "last",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        table, first, end, _ = e.arguments
        a = field(e, table, self.fields)
        with e.loop(first, end) as unit:
            panel, vector = unit // a["vectors"], unit % a["vectors"]
            wide = e.choose(panel < a["whole"], a["vectors"], a["last"]) * target.bytes
            depth = a["tap_count"] * a["rows"]
            out = a["packed"] + panel * depth * (a["vectors"] * target.bytes) + vector * target.bytes
            mask = e.mask(a["columns"] - unit * e.width)
            source = a["weight"] + unit * e.width * a["column_step"]
            with e.loop(0, a["rows"]) as row, e.loop(0, a["tap_count"]) as tap:
                at = source + row * a["row_step"] + e.load_int(a["taps"] + tap * 8)
                value = gather(e, addresses(e, at, a["column_step"]), mask)
                e.store(value, out + (tap * a["rows"] + row) * wide)
        return e.finish()


@dataclass(frozen=True)
class WinogradTurnKernel:
    """The same for Winograd's F(4x4, 3x3): packed[panel][point][row][column] of G g G', with `taps` nine. Columns are
    whole vectors."""

    fields: ClassVar[tuple[str, ...]] = (
        "weight", "column_step", "row_step", "taps", "rows", "packed", "vectors", "whole", "last",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        table, first, end, _ = e.arguments
        a = field(e, table, self.fields)
        taps = [e.load_int(a["taps"] + 8 * tap) for tap in range(9)]
        with e.loop(first, end) as unit:
            panel, vector = unit // a["vectors"], unit % a["vectors"]
            wide = e.choose(panel < a["whole"], a["vectors"], a["last"]) * target.bytes
            out = a["packed"] + panel * a["rows"] * (a["vectors"] * target.bytes * 36) + vector * target.bytes
            source = a["weight"] + unit * e.width * a["column_step"]
            with e.loop(0, a["rows"]) as row:
                at = source + row * a["row_step"]
                g = [gather(e, addresses(e, at + tap, a["column_step"])) for tap in taps]
                columns = [_filtered(e, [g[3 * i + j] for i in range(3)]) for j in range(3)]
                place = out + row * wide
                for i in range(6):
                    for j, value in enumerate(_filtered(e, [column[i] for column in columns])):
                        e.store(value, place + a["rows"] * wide * (6 * i + j))
        return e.finish()


def _filtered(e: Emitter, g: list[Any]) -> list[Any]:
    """G g for a column of three (Lavin & Gray 2016, section 4.3)."""
    b = e.b
    outer = b.fadd(g[0], g[2])
    sixth = e.constant(-1 / 6)
    low, middle = b.fmul(outer, sixth), b.fmul(g[1], sixth)
    far = e.fma(g[2], e.constant(1 / 6), b.fmul(g[0], e.constant(1 / 24)))
    twelfth = b.fmul(g[1], e.constant(1 / 12))
    return [
        b.fmul(g[0], e.constant(1 / 4)), b.fadd(low, middle), b.fsub(low, middle), b.fadd(far, twelfth),
        b.fsub(far, twelfth), g[2],
    ]  # fmt: skip
