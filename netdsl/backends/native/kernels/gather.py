"""Pixels taken from other places: padding, cropping, repetition, and copies of maps with gaps.

A row of the output is made of stretches, the same for all rows: each is a copy of numbers that follow each other in a
row of the input, or is filled with one value. Two tables say which row of the input an output row is made of (or that
it is filled), and where it lies. A unit is one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target

STRETCH = ("to", "source", "numbers")
"""64-bit integers: bytes from the start of the output row, of the input row (negative: filled), how many numbers."""


@dataclass(frozen=True)
class GatherKernel:
    """A variant. `rows` and `out_rows` are tables of bytes from the start of an image; a negative one is filled."""

    activation: Activation

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "rows", "out", "out_image", "out_rows", "height", "stretches", "count", "value",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        value = activate(e, e.broadcast(a["value"]), self.activation)
        with e.loop(first, end) as unit:
            image, y = unit // a["height"], unit % a["height"]
            start = e.load_int(a["rows"] + y * 8)
            x = a["x"] + image * a["x_image"] + start
            out = a["out"] + image * a["out_image"] + e.load_int(a["out_rows"] + y * 8)
            with e.loop(0, a["count"]) as number:
                stretch = field(e, a["stretches"] + number * (8 * len(STRETCH)), STRETCH)
                to, source = out + stretch["to"], x + stretch["source"]
                outside = e.b.or_(start < 0, stretch["source"] < 0)
                with e.b.if_else(outside) as (then, otherwise):
                    with then:
                        each_vector(e, stretch["numbers"], self._fill(e, value, to))
                    with otherwise:
                        each_vector(e, stretch["numbers"], self._copy(e, source, to))
        return e.finish()

    def _fill(self, e: Emitter, value: Any, to: Int) -> Any:
        return lambda i, mask: e.store(value, to + i * 4, mask)

    def _copy(self, e: Emitter, source: Int, to: Int) -> Any:
        def copy(i: Int, mask: Any) -> None:
            e.store(activate(e, e.load(source + i * 4, mask), self.activation), to + i * 4, mask)

        return copy
