"""Pools whose windows are given by tables: adaptive pools where the windows differ in size.

Window (i, j) covers rows first to end of table entry i and columns first to end of entry j. A unit is one row of the
output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target

SPAN = ("first", "end")


@dataclass(frozen=True)
class BinsKernel:
    """A variant: the mean or the largest of each window."""

    operation: Literal["mean", "max"]
    activation: Activation

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "out", "out_image", "out_row", "out_pixel", "height", "width", "channels",
        "rows", "columns",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as unit:
            image, y = unit // a["height"], unit % a["height"]
            x, out = a["x"] + image * a["x_image"], a["out"] + image * a["out_image"] + y * a["out_row"]
            rows = field(e, a["rows"] + y * 16, SPAN)
            with e.loop(0, a["width"]) as column:
                columns = field(e, a["columns"] + column * 16, SPAN)
                count = (rows["end"] - rows["first"]) * (columns["end"] - columns["first"])
                divisor = e.splat(e.b.sitofp(count.value, ir.F32))
                to = out + column * a["out_pixel"]

                def compute(
                    c: Int, mask: Any, columns: dict[str, Int] = columns, divisor: Any = divisor, to: Int = to
                ) -> None:
                    mean = self.operation == "mean"
                    total = e.variable(e.constant(0.0 if mean else float("-inf")))
                    with e.loop(rows["first"], rows["end"]) as i, e.loop(columns["first"], columns["end"]) as j:
                        value = e.load(x + i * a["x_row"] + j * a["x_pixel"] + c * 4, mask)
                        total.set(e.b.fadd(total.get(), value) if mean else e.largest(total.get(), value))
                    found = e.b.fdiv(total.get(), divisor) if mean else total.get()
                    e.store(activate(e, found, self.activation), to + c * 4, mask)

                each_vector(e, a["channels"], compute)
        return e.finish()
