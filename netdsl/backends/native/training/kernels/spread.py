"""Maps put together from phases, and maps with a border of zeros.

The gradient of a strided convolution's input is computed phase by phase (see netdsl/program/training/phases.py), each a
map of its own; here they are laid beside each other. A unit is a row of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target


@dataclass(frozen=True)
class InterleaveKernel:
    """out[n, y, x] = phase[y % stride_y, x % stride_x][n, y // stride_y, x // stride_x] + plus.

    `phases` is a table of stride_y stride_x entries: the address of a map without gaps (0: zeros), and its bytes from
    one image to the next and from one row to the next. The result and what is added are flat.
    """

    plus: bool

    fields: ClassVar[tuple[str, ...]] = (
        "phases", "stride_y", "stride_x", "out", "out_pixel", "plus", "plus_pixel", "height", "width", "channels",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as line:
            image, y = line // a["height"], line % a["height"]
            table = a["phases"] + (y % a["stride_y"]) * a["stride_x"] * 24
            with e.loop(0, a["stride_x"]) as rest:
                entry = table + rest * 24
                start = e.load_int(entry)
                there = e.number(0) < start
                source = start + image * e.load_int(entry + 8) + (y // a["stride_y"]) * e.load_int(entry + 16)
                count = e.most(a["width"] - rest + a["stride_x"] - 1, 0) // a["stride_x"]
                with e.loop(0, count) as number:
                    pixel = line * a["width"] + number * a["stride_x"] + rest
                    out, plus = a["out"] + pixel * a["out_pixel"], a["plus"] + pixel * a["plus_pixel"]
                    x = source + number * a["channels"] * 4
                    with e.b.if_else(there) as (then, otherwise):
                        with then:
                            each_vector(e, a["channels"], self._one(e, x, out, plus))
                        with otherwise:
                            each_vector(e, a["channels"], self._one(e, None, out, plus))
        return e.finish()

    def _one(self, e: Emitter, x: Int | None, out: Int, plus: Int) -> Any:
        def one(channel: Int, mask: Any) -> None:
            value = e.constant(0.0) if x is None else e.load(x + channel * 4, mask)
            if self.plus:
                value = e.b.fadd(value, e.load(plus + channel * 4, mask))
            e.store(value, out + channel * 4, mask)

        return one


@dataclass(frozen=True)
class BorderKernel:
    """A map without gaps, copied into a larger one without gaps; around it zeros."""

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "numbers", "height", "out", "out_height", "out_row", "above", "before",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        zero = e.constant(0.0)
        with e.loop(first, end) as line:
            image, y = line // a["out_height"], line % a["out_height"] - a["above"]
            out = a["out"] + line * a["out_row"] * 4
            each_vector(e, a["out_row"], self._fill(e, zero, out))
            with e.when(e.b.icmp_unsigned("<", y.value, a["height"].value)):
                x = a["x"] + image * a["x_image"] + y * a["x_row"]
                to = out + a["before"] * 4
                each_vector(e, a["numbers"], self._copy(e, x, to))
        return e.finish()

    @staticmethod
    def _fill(e: Emitter, value: Any, out: Int) -> Any:
        return lambda i, mask: e.store(value, out + i * 4, mask)

    @staticmethod
    def _copy(e: Emitter, x: Int, out: Int) -> Any:
        return lambda i, mask: e.store(e.load(x + i * 4, mask), out + i * 4, mask)
