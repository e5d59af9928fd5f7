"""Over the channels of each pixel: lengths, the logarithm of softmax, reductions, local responses.

A unit is some pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import Any, ClassVar, Literal

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation, activate, exp
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.kernels.powers import log, power
from netdsl.backends.native.target import Target

Reduction = Literal["sum", "mean", "max", "min"]


@dataclass(frozen=True)
class PixelsKernel:
    """A variant: `l2_norm` x / max(length, eps), `rms_norm` x / sqrt(mean square + eps) * scale, `log_softmax`."""

    operation: Literal["l2_norm", "rms_norm", "log_softmax"]
    eps: float
    activation: Activation

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_pixel", "out", "out_pixel", "pixels", "block", "channels", "scale",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first * a["block"], e.least(end * a["block"], a["pixels"])) as pixel:
            x, out = a["x"] + pixel * a["x_pixel"], a["out"] + pixel * a["out_pixel"]
            if self.operation == "log_softmax":
                self._log_softmax(e, a, x, out)
            else:
                self._norm(e, a, x, out)
        return e.finish()

    def _norm(self, e: Emitter, a: dict[str, Int], x: Int, out: Int) -> None:
        b = e.b
        total = e.variable(e.constant(0.0))

        def square(c: Int, mask: Any) -> None:
            value = e.load(x + c * 4, mask)
            total.set(e.fma(value, value, total.get()))

        each_vector(e, a["channels"], square)
        squares = e.splat(e.sum_lanes(total.get()))
        if self.operation == "l2_norm":
            length = e.max(e.sqrt(squares), e.constant(self.eps))
        else:
            count = e.splat(b.sitofp(a["channels"].value, ir.F32))
            length = e.sqrt(b.fadd(b.fdiv(squares, count), e.constant(self.eps)))

        def write(c: Int, mask: Any) -> None:
            y = b.fdiv(e.load(x + c * 4, mask), length)
            if self.operation == "rms_norm":
                y = b.fmul(y, e.load(a["scale"] + c * 4, mask))
            e.store(activate(e, y, self.activation), out + c * 4, mask)

        each_vector(e, a["channels"], write)

    def _log_softmax(self, e: Emitter, a: dict[str, Int], x: Int, out: Int) -> None:
        b = e.b
        top = e.splat(reduced(e, a["channels"], x, "max"))
        total = e.variable(e.constant(0.0))

        def add(c: Int, mask: Any) -> None:
            value = exp(e, b.fsub(e.load(x + c * 4, mask), top))
            if mask is not None:
                value = b.select(mask, value, e.constant(0.0))
            total.set(b.fadd(total.get(), value))

        each_vector(e, a["channels"], add)
        logarithm = log(e, e.splat(e.sum_lanes(total.get())))

        def write(c: Int, mask: Any) -> None:
            y = b.fsub(b.fsub(e.load(x + c * 4, mask), top), logarithm)
            e.store(activate(e, y, self.activation), out + c * 4, mask)

        each_vector(e, a["channels"], write)


@dataclass(frozen=True)
class ReduceKernel:
    """One number of all channels of a pixel."""

    operation: Reduction

    fields: ClassVar[tuple[str, ...]] = ("x", "x_pixel", "out", "out_pixel", "pixels", "block", "channels")

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first * a["block"], e.least(end * a["block"], a["pixels"])) as pixel:
            found = reduced(e, a["channels"], a["x"] + pixel * a["x_pixel"], self.operation)
            if self.operation == "mean":
                found = e.b.fdiv(found, e.b.sitofp(a["channels"].value, ir.F32))
            e.store_scalar(found, a["out"] + pixel * a["out_pixel"])
        return e.finish()


def reduced(e: Emitter, channels: Int, x: Int, operation: Reduction) -> Any:
    """The sum (also for `mean`), the largest or the smallest of `channels` numbers, as a scalar."""
    b = e.b
    start = {"max": float("-inf"), "min": float("inf")}.get(operation, 0.0)
    total = e.variable(e.constant(start))

    def look(c: Int, mask: Any) -> None:
        value: Vector = e.load(x + c * 4, mask)
        if mask is not None and isinf(start):
            value = b.select(mask, value, e.constant(start))
        if operation == "max":
            total.set(e.largest(total.get(), value))
        elif operation == "min":
            total.set(e.smallest(total.get(), value))
        else:
            total.set(b.fadd(total.get(), value))

    each_vector(e, channels, look)
    if operation == "max":
        return _top(e, total.get())
    if operation == "min":
        return b.fneg(_top(e, b.fneg(total.get())))
    return e.sum_lanes(total.get())


def _top(e: Emitter, x: Vector) -> Any:
    """The largest lane, or a NaN where any is one."""
    b = e.b
    most: Any = None
    for lane in range(e.width):
        value = b.extract_element(x, ir.Constant(ir.IntType(32), lane))
        if most is None:
            most = value
        else:
            larger = b.select(b.fcmp_ordered(">", value, most), value, most)
            most = b.select(b.fcmp_unordered("uno", value, value), value, larger)
    return most


@dataclass(frozen=True)
class ResponseKernel:
    """Local response normalization: y_c = x_c / (k + a * sum of x_j^2)^beta over `size` channels around c.

    The squares of a pixel are laid into the scratch memory with zeros on both sides.
    """

    size: int
    factor: float
    beta: float
    k: float
    activation: Activation

    fields: ClassVar[tuple[str, ...]] = ("x", "x_pixel", "out", "out_pixel", "pixels", "block", "channels")

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, scratch = e.arguments
        a = field(e, row, self.fields)
        before, after = self.size // 2, (self.size - 1) // 2
        b, zero = e.b, e.constant(0.0)
        # Zeros in front, the squares, zeros behind: as many as whole vectors read.
        room = -(-before // e.width) * e.width
        squares = scratch + 4 * room
        with e.loop(0, room, e.width) as i:
            e.store(zero, scratch + i * 4)
        with e.loop(0, -(-after // e.width) * e.width + e.width, e.width) as i:
            e.store(zero, squares + (a["channels"] + i) * 4)
        with e.loop(first * a["block"], e.least(end * a["block"], a["pixels"])) as pixel:
            x, out = a["x"] + pixel * a["x_pixel"], a["out"] + pixel * a["out_pixel"]

            def square(c: Int, mask: Any, x: Int = x) -> None:
                value = e.load(x + c * 4, mask)
                e.store(b.fmul(value, value), squares + c * 4, mask)

            each_vector(e, a["channels"], square)

            def write(c: Int, mask: Any, x: Int = x, out: Int = out) -> None:
                total = e.variable(zero)
                with e.loop(0, self.size) as j:
                    total.set(b.fadd(total.get(), e.load(squares + (c + j - before) * 4)))
                base = e.fma(total.get(), e.constant(self.factor), e.constant(self.k))
                y = b.fmul(e.load(x + c * 4, mask), power(e, base, -self.beta))
                e.store(activate(e, y, self.activation), out + c * 4, mask)

            each_vector(e, a["channels"], write)
        return e.finish()

    def scratch(self, channels: int, width: int) -> int:
        """Bytes of scratch memory."""
        return 4 * (-(-self.size // width) * width * 2 + channels + 2 * width)
