"""Numbers moved from one order of axes to another: maps with channels first to channels last, and back.

A unit is a block of positions of one image; number (image, position, channel) has its own distances on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, field
from netdsl.backends.native.target import Target

UNROLL = 4


@dataclass(frozen=True)
class TransposeKernel:
    """The only variant."""

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_position", "x_channel", "out", "out_image", "out_position", "out_channel",
        "positions", "channels", "block", "blocks",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as unit:
            image, block = unit // a["blocks"], unit % a["blocks"]
            start = block * a["block"]
            stop = e.least(start + a["block"], a["positions"])
            whole = start + ((stop - start) // UNROLL) * UNROLL
            with e.loop(0, a["channels"]) as channel:
                x = a["x"] + image * a["x_image"] + channel * a["x_channel"]
                out = a["out"] + image * a["out_image"] + channel * a["out_channel"]
                for lower, upper, step in ((start, whole, UNROLL), (whole, stop, 1)):
                    with e.loop(lower, upper, step) as position:
                        values = [e.load_scalar(x + (position + i) * a["x_position"]) for i in range(step)]
                        for i, value in enumerate(values):
                            e.store_scalar(value, out + (position + i) * a["out_position"])
        return e.finish()
