"""Windows over each channel by itself: a maximum that notes its place, and the ways back.

Backward every input position adds up what the windows that it lies in have for it, tap after tap: `mean` takes d(y)
times one over how many numbers the window counted, `max` d(y) where the noted place is this tap, `weigh` d(y) times the
tap's weight. A unit is a row of the input, or of the output of `PlacesKernel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.kernels.window import taps_inside
from netdsl.backends.native.target import Target


def load_bytes(e: Emitter, address: Int, mask: Any) -> Any:
    """A vector of bytes as one of 32-bit integers."""
    small = ir.VectorType(ir.I8, e.width)
    if mask is None:
        found = e.b.load(e.pointer(address), align=1, typ=small)
    else:
        found = e.intrinsic(
            f"llvm.masked.load.v{e.width}i8.p0", small, e.pointer(address), ir.Constant(ir.I32, 1), mask,
            ir.Constant(small, [0] * e.width),
        )  # fmt: skip
    return e.b.zext(found, ir.VectorType(ir.I32, e.width))


def store_bytes(e: Emitter, value: Any, address: Int, mask: Any) -> None:
    """A vector of 32-bit integers as bytes."""
    small = e.b.trunc(value, ir.VectorType(ir.I8, e.width))
    if mask is None:
        e.b.store(small, e.pointer(address), align=1)
    else:
        e.intrinsic(
            f"llvm.masked.store.v{e.width}i8.p0", ir.VOID, small, e.pointer(address), ir.Constant(ir.I32, 1), mask
        )


@dataclass(frozen=True)
class PlacesKernel:
    """The maximum of each window and which tap it is, the first of equal ones; `places` has no gaps."""

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "height", "width", "out", "out_pixel", "out_height", "out_width",
        "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y", "dilation_x", "kernel_y", "kernel_x", "places",
        "channels",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        b = e.b
        integers = ir.VectorType(ir.I32, e.width)
        with e.loop(first, end) as line, e.loop(0, a["out_width"]) as column:
            image, y = line // a["out_height"], line % a["out_height"]
            top, left = y * a["stride_y"] - a["pad_y"], column * a["stride_x"] - a["pad_x"]
            rows = taps_inside(e, top, a["height"], a["dilation_y"], a["kernel_y"])
            columns = taps_inside(e, left, a["width"], a["dilation_x"], a["kernel_x"])
            x = a["x"] + image * a["x_image"] + top * a["x_row"] + left * a["x_pixel"]
            pixel = line * a["out_width"] + column

            def one(
                channel: Int, mask: Any, x: Int = x, pixel: Int = pixel, rows: Any = rows, columns: Any = columns
            ) -> None:
                start = rows[0] * a["kernel_x"] + columns[0]
                best = e.variable(e.constant(float("-inf")))
                place = e.variable(e._splat(b.trunc(start.value, ir.I32), integers))
                with e.loop(*rows) as ky, e.loop(*columns) as kx:
                    at = x + ky * a["dilation_y"] * a["x_row"] + kx * a["dilation_x"] * a["x_pixel"] + channel * 4
                    value, old = e.load(at, mask), best.get()
                    # A NaN is larger than anything, and stays.
                    larger = b.and_(b.fcmp_unordered(">", value, old), b.fcmp_ordered("ord", old, old))
                    tap = e._splat(b.trunc((ky * a["kernel_x"] + kx).value, ir.I32), integers)
                    best.set(b.select(larger, value, old))
                    place.set(b.select(larger, tap, place.get()))
                e.store(best.get(), a["out"] + pixel * a["out_pixel"] + channel * 4, mask)
                store_bytes(e, place.get(), a["places"] + pixel * a["channels"] + channel, mask)

            each_vector(e, a["channels"], one)
        return e.finish()


@dataclass(frozen=True)
class WindowBackKernel:
    """A variant: `operation` is `mean`, `max` or `weigh`; with `plus` something is added. d(x) and what is added are
    flat, as is d(y)."""

    operation: str
    plus: bool

    fields: ClassVar[tuple[str, ...]] = (
        "dx", "dx_pixel", "height", "width", "plus", "plus_pixel", "dy", "dy_pixel", "out_height", "out_width",
        "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y", "dilation_x", "kernel_y", "kernel_x", "places",
        "inverse", "weight", "weight_tap", "channels",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        b = e.b
        with e.loop(first, end) as line, e.loop(0, a["width"]) as column:
            image, y = line // a["height"], line % a["height"]
            down, across = y + a["pad_y"], column + a["pad_x"]
            pixel = line * a["width"] + column

            def one(
                channel: Int, mask: Any, pixel: Int = pixel, down: Int = down, across: Int = across, image: Int = image
            ) -> None:
                at = channel * 4
                total = e.variable(
                    e.load(a["plus"] + pixel * a["plus_pixel"] + at, mask) if self.plus else e.constant(0.0)
                )
                with e.loop(0, a["kernel_y"]) as ky:
                    top = down - ky * a["dilation_y"]
                    oy = e.most(top, 0) // a["stride_y"]
                    fits = b.and_((oy * a["stride_y"]).equals(top), oy < a["out_height"])
                    with e.when(fits), e.loop(0, a["kernel_x"]) as kx:
                        left = across - kx * a["dilation_x"]
                        ox = e.most(left, 0) // a["stride_x"]
                        with e.when(b.and_((ox * a["stride_x"]).equals(left), ox < a["out_width"])):
                            window = oy * a["out_width"] + ox
                            there = image * a["out_height"] * a["out_width"] + window
                            dy = e.load(a["dy"] + there * a["dy_pixel"] + at, mask)
                            total.set(
                                self._joined(
                                    e, a, total.get(), dy, window, there, ky * a["kernel_x"] + kx, channel, mask
                                )
                            )
                e.store(total.get(), a["dx"] + pixel * a["dx_pixel"] + at, mask)

            each_vector(e, a["channels"], one)
        return e.finish()

    def _joined(
        self,
        e: Emitter,
        a: dict[str, Int],
        total: Any,
        dy: Any,
        window: Int,
        there: Int,
        tap: Int,
        channel: Int,
        mask: Any,
    ) -> Any:
        b = e.b
        if self.operation == "mean":
            return e.fma(dy, e.broadcast(a["inverse"] + window * 4), total)
        if self.operation == "weigh":
            return e.fma(dy, e.load(a["weight"] + tap * a["weight_tap"] + channel * 4, None), total)
        place = load_bytes(e, a["places"] + there * a["channels"] + channel, mask)
        mine = b.icmp_signed("==", place, e._splat(b.trunc(tap.value, ir.I32), ir.VectorType(ir.I32, e.width)))
        return b.fadd(total, b.select(mine, dy, e.constant(0.0)))


@dataclass(frozen=True)
class TapSumsKernel:
    """The gradient of a depthwise convolution's weight: for a chunk of output rows sums[chunk][tap][channel] of x dy.
    A unit is a chunk of rows for one vector of channels."""

    taps: int

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "height", "width", "dy", "dy_pixel", "out_height", "out_width",
        "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y", "dilation_x", "kernel_y", "kernel_x", "lines", "chunks",
        "vectors", "channels", "sums", "sums_row",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as unit:
            chunk, vector = unit // a["vectors"], unit % a["vectors"]
            at = vector * target.bytes
            mask = e.mask(a["channels"] - vector * e.width)
            low, high = a["lines"] * chunk // a["chunks"], a["lines"] * (chunk + 1) // a["chunks"]
            out = a["sums"] + chunk * self.taps * a["sums_row"] + at
            with e.loop(0, a["kernel_y"]) as ky, e.loop(0, a["kernel_x"]) as kx:
                ahead = a["pad_x"] - kx * a["dilation_x"]
                start = e.most(ahead + a["stride_x"] - 1, 0) // a["stride_x"]
                stop = e.least(e.most(ahead + a["width"] + a["stride_x"] - 1, 0) // a["stride_x"], a["out_width"])
                total = e.variable(e.constant(0.0))
                with e.loop(low, high) as line:
                    image, y = line // a["out_height"], line % a["out_height"]
                    iy = y * a["stride_y"] + ky * a["dilation_y"] - a["pad_y"]
                    with e.when(e.b.icmp_unsigned("<", iy.value, a["height"].value)):
                        x = a["x"] + image * a["x_image"] + iy * a["x_row"] - ahead * a["x_pixel"] + at
                        dy = a["dy"] + line * a["out_width"] * a["dy_pixel"] + at
                        part = e.variable(e.constant(0.0))
                        with e.loop(start, stop) as ox:
                            left = e.load(x + ox * a["stride_x"] * a["x_pixel"], mask)
                            part.set(e.fma(left, e.load(dy + ox * a["dy_pixel"], mask), part.get()))
                        total.set(e.b.fadd(total.get(), part.get()))
                e.store(total.get(), out + (ky * a["kernel_x"] + kx) * a["sums_row"], mask)
        return e.finish()
