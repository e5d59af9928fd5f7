"""Windows that slide over each channel by itself: depthwise convolution, maximum and mean.

A unit is one row of the output, or some of its channels. `block` neighbouring pixels are computed together from the
columns that they share; the first and the last block of a row know which columns lie outside the map. Where that does
not fit, pixels go one by one over the taps that are inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.target import Target

Operation = Literal["weigh", "max", "mean"]
TOTALS = 4
"""Sums of a single pixel, which are added up in the end: one would wait for itself."""


@dataclass(frozen=True)
class WindowKernel:
    """A variant: `kernel_x`, `stride_x`, `dilation_x` are fixed where `block` is not 0; so are the numbers of columns
    that the first block lacks on the `left` and the last on the `right`. `single`: one block is a row. `masked` where
    the channels do not fill the last vector."""

    operation: Operation
    block: int
    kernel_x: int
    stride_x: int
    dilation_x: int
    left: int
    right: int
    single: bool
    masked: bool
    activation: Activation

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "height", "width", "out", "out_image", "out_row", "out_pixel", "out_height",
        "out_width", "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y", "dilation_x", "kernel_y", "kernel_x",
        "weight", "weight_tap", "bias", "inverse", "channels", "chunk", "chunks",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        pixel = self._emit_pixel(module, target)
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as unit:
            chunk, above = unit % a["chunks"], unit // a["chunks"]
            y, image = above % a["out_height"], above // a["out_height"]
            channel = chunk * a["chunk"]
            channel_end = e.least(channel + a["chunk"], a["channels"])
            top = y * a["stride_y"] - a["pad_y"]
            ky_first, ky_end = taps_inside(e, top, a["height"], a["dilation_y"], a["kernel_y"])
            x = a["x"] + image * a["x_image"] + top * a["x_row"]
            out = a["out"] + image * a["out_image"] + y * a["out_row"]

            rows, ends = (ky_first, ky_end), (channel, channel_end)
            if not self.block:
                with e.loop(0, a["out_width"]) as column:
                    left = column * a["stride_x"] - a["pad_x"]
                    inverse = a["inverse"] + (y * a["out_width"] + column) * 4
                    e.call(
                        pixel, row, x + left * a["x_pixel"], out + column * a["out_pixel"], left, *rows, *ends, inverse
                    )
            elif self.single:
                self._block(e, a, x, out, y, e.number(0), self.left, self.right, rows, ends)
            else:
                self._block(e, a, x, out, y, e.number(0), self.left, 0, rows, ends)
                last = a["out_width"] - self.block
                with e.loop(self.block, last, self.block) as column:
                    self._block(e, a, x, out, y, column, 0, 0, rows, ends)
                # The last block reaches back, over pixels that are computed again.
                self._block(e, a, x, out, y, last, 0, self.right, rows, ends)
        return e.finish()

    def _block(
        self, e: Emitter, a: dict[str, Int], x: Int, out: Int, y: Int, column: Int, left: int, right: int,
        rows: tuple[Int, Int], channels: tuple[Int, Int],
    ) -> None:  # fmt: skip
        """`block` pixels from `column` on, all channels; so many columns on the left and right lie outside the map."""
        at = x + (column * self.stride_x - a["pad_x"]) * a["x_pixel"]
        to = out + column * a["out_pixel"]
        inverse = a["inverse"] + (y * a["out_width"] + column) * 4

        def compute(channel: Int, mask: Any) -> None:
            sums = [e.variable(self._start(e, a, channel)) for _ in range(self.block)]
            with e.loop(*rows) as ky:
                line = at + ky * a["dilation_y"] * a["x_row"] + channel * 4
                weight = a["weight"] + ky * self.kernel_x * a["weight_tap"] + channel * 4
                taps = (
                    [e.load(weight + a["weight_tap"] * kx) for kx in range(self.kernel_x)]
                    if self.operation == "weigh"
                    else []
                )
                reach = (self.block - 1) * self.stride_x + (self.kernel_x - 1) * self.dilation_x + 1
                for offset in range(left, reach - right):
                    uses = [
                        (pixel, kx)
                        for pixel in range(self.block)
                        for kx in range(self.kernel_x)
                        if pixel * self.stride_x + kx * self.dilation_x == offset
                    ]
                    if uses:
                        value = e.load(line + a["x_pixel"] * offset, mask)
                        for pixel, kx in uses:
                            tap = taps[kx] if taps else None
                            sums[pixel].set(self._join(e, sums[pixel].get(), value, tap))
            for pixel, total in enumerate(sums):
                self._end(e, total.get(), to + a["out_pixel"] * pixel + channel * 4, inverse + 4 * pixel, mask)

        self._each_vector(e, channels, compute)

    def _emit_pixel(self, module: ir.Module, target: Target) -> ir.Function:
        """One pixel, over the taps that are inside: (row, x, out, left, ky first, ky end, channels, ..., inverse)."""
        e = Emitter(module, target, "pixel", 9)
        row, x, out, left, ky_first, ky_end, channel, channel_end, inverse = e.arguments
        a = field(e, row, self.fields)
        kx_first, kx_end = taps_inside(e, left, a["width"], a["dilation_x"], a["kernel_x"])

        def compute(channel: Int, mask: Any) -> None:
            start = self._start(e, a, channel)
            totals = [e.variable(start)] + [e.variable(self._nothing(e)) for _ in range(TOTALS - 1)]

            def join(ky: Int, kx: Int, number: int) -> None:
                at = x + ky * a["dilation_y"] * a["x_row"] + kx * a["dilation_x"] * a["x_pixel"] + channel * 4
                tap = None
                if self.operation == "weigh":
                    tap = e.load(a["weight"] + (ky * a["kernel_x"] + kx) * a["weight_tap"] + channel * 4)
                totals[number].set(self._join(e, totals[number].get(), e.load(at, mask), tap))

            whole = kx_first + (e.most(kx_end - kx_first, 0) // TOTALS) * TOTALS
            with e.loop(ky_first, ky_end) as ky:
                with e.loop(kx_first, whole, TOTALS) as kx:
                    for number in range(TOTALS):
                        join(ky, kx + number, number)
                with e.loop(whole, kx_end) as kx:
                    join(ky, kx, 0)
            total = totals[0].get()
            for other in totals[1:]:
                total = e.largest(total, other.get()) if self.operation == "max" else e.b.fadd(total, other.get())
            self._end(e, total, out + channel * 4, inverse, mask)

        self._each_vector(e, (channel, channel_end), compute)
        return e.finish()

    def _each_vector(self, e: Emitter, channels: tuple[Int, Int], compute: Any) -> None:
        first, end = channels
        if not self.masked:
            with e.loop(first, end, e.width) as channel:
                compute(channel, None)
            return
        whole = first + ((end - first) // e.width) * e.width
        with e.loop(first, whole, e.width) as channel:
            compute(channel, None)
        with e.when(whole < end):
            compute(whole, e.mask(end - whole))

    def _start(self, e: Emitter, a: dict[str, Int], channel: Int) -> Vector:
        if self.operation == "weigh":
            return e.load(a["bias"] + channel * 4)
        return self._nothing(e)

    def _nothing(self, e: Emitter) -> Vector:
        return e.constant(float("-inf") if self.operation == "max" else 0.0)

    def _join(self, e: Emitter, total: Vector, value: Vector, tap: Vector | None) -> Vector:
        if tap is not None:
            return e.fma(value, tap, total)
        if self.operation == "max":
            return e.largest(total, value)
        return e.b.fadd(total, value)

    def _end(self, e: Emitter, total: Vector, out: Int, inverse: Int, mask: Any) -> None:
        if self.operation == "mean":
            total = e.b.fmul(total, e.broadcast(inverse))
        e.store(activate(e, total, self.activation), out, mask)


def taps_inside(e: Emitter, start: Int, extent: Int, dilation: Int, kernel: Int) -> tuple[Int, Int]:
    """The taps j, first to end, with 0 <= start + j dilation < extent."""
    first = e.most(e.number(0) - start + dilation - 1, 0) // dilation
    end = e.most(extent - start + dilation - 1, 0) // dilation
    return first, e.least(end, kernel)
