"""Element by element: joins, activations, a scale and shift for each channel, copies into a lane of a concatenation.

Numbers are taken pixel by pixel, so that every operand may have distances of its own: 0 where one number of a channel
(or one pixel of an image) serves all pixels, as in squeeze-and-excitation. A unit is some pixels of one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.target import Target

MOST_OPERANDS = 8


@dataclass(frozen=True)
class MapKernel:
    """A variant: out = activation(operation(operands)). `scalar[i]`: operand i has one channel for all."""

    operation: str
    scalar: tuple[bool, ...]
    masked: bool
    activation: Activation

    fields: ClassVar[tuple[str, ...]] = (
        "out", "out_image", "out_pixel", "pixels", "block", "blocks", "channels", "run", "total",
        *(f"x{i}{part}" for i in range(MOST_OPERANDS) for part in ("", "_image", "_pixel")),
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields[: 9 + 3 * len(self.scalar)])
        with e.loop(first, end) as unit:
            image, block = unit // a["blocks"], unit % a["blocks"]
            pixel_first = block * a["block"]
            pixel_end = e.least(pixel_first + a["block"], a["pixels"])
            with e.loop(pixel_first, pixel_end) as pixel:
                out = a["out"] + image * a["out_image"] + pixel * a["out_pixel"]
                places = [
                    a[f"x{i}"] + image * a[f"x{i}_image"] + pixel * a[f"x{i}_pixel"] for i in range(len(self.scalar))
                ]
                # In a run of numbers without gaps a "pixel" is a piece of it, and the last one is shorter.
                channels = e.least(a["channels"], a["total"] - pixel * a["run"])
                whole = (channels // e.width) * e.width if self.masked else channels
                with e.loop(0, whole, e.width) as channel:
                    self._vector(e, places, out, channel, None)
                if self.masked:
                    with e.when(whole < channels):
                        self._vector(e, places, out, whole, e.mask(channels - whole))
        return e.finish()

    def _vector(self, e: Emitter, places: list[Int], out: Int, channel: Int, mask: Any) -> None:
        operands = [
            e.broadcast(place) if scalar else e.load(place + channel * 4, mask)
            for place, scalar in zip(places, self.scalar, strict=True)
        ]
        e.store(activate(e, _combined(e, self.operation, operands), self.activation), out + channel * 4, mask)


def _combined(e: Emitter, operation: str, x: list[Vector]) -> Vector:
    b = e.b
    if operation == "copy":
        return x[0]
    if operation == "add":
        return reduce(b.fadd, x)
    if operation == "multiply":
        return reduce(b.fmul, x)
    if operation == "subtract":
        return b.fsub(x[0], x[1])
    if operation == "maximum":
        return reduce(e.largest, x)
    if operation == "minimum":
        return reduce(e.smallest, x)
    if operation == "average":
        return b.fmul(reduce(b.fadd, x), e.constant(1 / len(x)))
    if operation == "affine":
        return e.fma(x[0], x[1], x[2])
    if operation == "prelu":
        return b.select(b.fcmp_ordered(">", x[0], e.constant(0.0)), x[0], b.fmul(x[0], x[1]))
    raise ValueError(operation)


OPERATIONS = ("copy", "add", "multiply", "subtract", "maximum", "minimum", "average", "affine", "prelu")
