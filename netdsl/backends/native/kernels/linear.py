"""Bilinear interpolation: each number from four, first along y, then along x. A unit is one row of the output.

For each row and each column of the output a table holds where its two neighbours lie and how far it is from the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target

NEIGHBOURS = 16
"""Bytes of an entry: 32-bit numbers of the two neighbours (0, 1), then 1 - t and t as float32 (2, 3)."""


@dataclass(frozen=True)
class LinearKernel:
    """A variant: `vertical` and `horizontal` say along which axes there is something to interpolate."""

    vertical: bool
    horizontal: bool
    activation: Activation

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "out", "out_image", "out_row", "out_pixel", "height", "width", "channels",
        "rows", "columns",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)

        def index(entry: Int, which: int) -> Int:
            narrow = e.b.load(e.pointer(entry + 4 * which), align=4, typ=ir.IntType(32))
            return Int(e, e.b.zext(narrow, ir.IntType(64)))

        with e.loop(first, end) as unit:
            image, y = unit // a["height"], unit % a["height"]
            x, out = a["x"] + image * a["x_image"], a["out"] + image * a["out_image"] + y * a["out_row"]
            above = a["rows"] + y * NEIGHBOURS
            lines = [x + index(above, which) * a["x_row"] for which in range(1 + self.vertical)]
            down = [e.broadcast(above + 8 + 4 * which) for which in range(1 + self.vertical)]
            with e.loop(0, a["width"]) as column:
                beside = a["columns"] + column * NEIGHBOURS
                places = [index(beside, which) * a["x_pixel"] for which in range(1 + self.horizontal)]
                across = [e.broadcast(beside + 8 + 4 * which) for which in range(1 + self.horizontal)]
                to = out + column * a["out_pixel"]

                def compute(
                    c: Int, mask: Any, places: list[Int] = places, across: list[Any] = across, to: Int = to
                ) -> None:
                    columns = []
                    for place in places:
                        values = [e.load(line + place + c * 4, mask) for line in lines]
                        columns.append(_between(e, values, down))
                    e.store(activate(e, _between(e, columns, across), self.activation), to + c * 4, mask)

                each_vector(e, a["channels"], compute)
        return e.finish()


def _between(e: Emitter, values: list[Any], parts: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    return e.fma(values[0], parts[0], e.b.fmul(values[1], parts[1]))
