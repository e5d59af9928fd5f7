"""Batch norm over rows of channels, forward: statistics, and y = activation(scale x + shift + residual).

`LookKernel` sums up a block of rows about the first of them, which lies near the mean: nothing cancels, in one pass.
`SettleKernel` puts the blocks together (Chan, Golub & LeVeque 1979) in double precision. A unit is a block of rows, or
a vector of channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target

TOGETHER = 4
"""Vectors of channels whose sums are kept in registers at a time."""


def by_groups(e: Emitter, channels: Int, body: Any) -> None:
    """`body(channel, vectors, mask)` for groups of TOGETHER whole vectors, then single ones, the last one masked."""
    group = TOGETHER * e.width
    whole = (channels // group) * group
    with e.loop(0, whole, group) as channel:
        body(channel, TOGETHER, None)
    single = (channels // e.width) * e.width
    with e.loop(whole, single, e.width) as channel:
        body(channel, 1, None)
    with e.when(single < channels):
        body(single, 1, e.mask(channels - single))


@dataclass(frozen=True)
class LookKernel:
    """For each block the mean of every channel and the sum of squares about it: sums[block][2][channels]."""

    fields: ClassVar[tuple[str, ...]] = ("x", "pixel", "rows", "block", "channels", "sums", "sums_row")

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        b = e.b
        with e.loop(first, end) as unit:
            low = unit * a["block"]
            count = e.least(a["block"], a["rows"] - low)
            part = e.splat(b.fdiv(e.constant_scalar(1.0), b.sitofp(count.value, ir.F32)))
            x = a["x"] + low * a["pixel"]
            out = a["sums"] + unit * a["sums_row"] * 2

            def group(
                channel: Int, vectors: int, mask: Any, x: Int = x, out: Int = out, count: Int = count, part: Any = part
            ) -> None:
                places = [x + channel * 4 + v * target.bytes for v in range(vectors)]
                about = [e.load(place, mask) for place in places]
                sums = [e.variable(e.constant(0.0)) for _ in places]
                squares = [e.variable(e.constant(0.0)) for _ in places]
                with e.loop(1, count) as number:
                    for v, place in enumerate(places):
                        away = b.fsub(e.load(place + number * a["pixel"], mask), about[v])
                        sums[v].set(b.fadd(sums[v].get(), away))
                        squares[v].set(e.fma(away, away, squares[v].get()))
                for v in range(vectors):
                    away = b.fmul(sums[v].get(), part)
                    to = out + channel * 4 + v * target.bytes
                    e.store(b.fadd(about[v], away), to, mask)
                    e.store(b.fsub(squares[v].get(), b.fmul(sums[v].get(), away)), to + a["sums_row"], mask)

            by_groups(e, a["channels"], group)
        return e.finish()


@dataclass(frozen=True)
class SettleKernel:
    """From the blocks to moments[4][channels] (mean, one over the deviation, scale, shift), and the running statistics.

    With `running` it takes the running statistics as they are instead. `affine`: there are a weight and a bias.
    """

    running: bool
    affine: bool
    eps: float
    momentum: float

    fields: ClassVar[tuple[str, ...]] = (
        "sums", "sums_row", "blocks", "block", "rows", "channels", "moments", "weight", "bias", "mean", "variance",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        b = e.b
        wide = ir.VectorType(ir.F64, e.width)

        def double(x: Vector) -> Any:
            return b.fpext(x, wide)

        def splat(value: Any) -> Any:
            return e._splat(value, wide)

        def constant(value: float) -> Any:
            return ir.Constant(wide, [value] * e.width)

        with e.loop(first, end) as unit:
            channel = unit * e.width
            mask = e.mask(a["channels"] - channel)
            offset = channel * 4
            if self.running:
                mean, variance = double(e.load(a["mean"] + offset, mask)), double(e.load(a["variance"] + offset, mask))
            else:
                mean, variance = self._together(e, a, offset, mask, double, splat)
            root = e.intrinsic(f"llvm.sqrt.v{e.width}f64", wide, b.fadd(variance, constant(self.eps)))
            inverse = b.fdiv(constant(1.0), root)
            scale = b.fmul(inverse, double(e.load(a["weight"] + offset, mask))) if self.affine else inverse
            shift = b.fneg(b.fmul(mean, scale))
            if self.affine:
                shift = b.fadd(shift, double(e.load(a["bias"] + offset, mask)))
            for number, value in enumerate((mean, inverse, scale, shift)):
                e.store(b.fptrunc(value, e.vector_type), a["moments"] + a["channels"] * (4 * number) + offset, mask)
            if not self.running:
                count = b.sitofp(a["rows"].value, ir.F64)
                sample = b.fdiv(count, b.fsub(count, ir.Constant(ir.F64, 1.0)))
                for place, value in ((a["mean"], mean), (a["variance"], b.fmul(variance, splat(sample)))):
                    before = double(e.load(place + offset, mask))
                    moved = b.fadd(b.fmul(before, constant(1 - self.momentum)), b.fmul(value, constant(self.momentum)))
                    e.store(b.fptrunc(moved, e.vector_type), place + offset, mask)
        return e.finish()

    def _together(
        self, e: Emitter, a: dict[str, Int], offset: Int, mask: Any, double: Any, splat: Any
    ) -> tuple[Any, Any]:
        """Mean and variance of all rows."""
        b = e.b
        zero = ir.Constant(ir.VectorType(ir.F64, e.width), [0.0] * e.width)
        rows = b.sitofp(a["rows"].value, ir.F64)

        def count(block: Int) -> Any:
            return splat(b.sitofp(e.least(a["block"], a["rows"] - block * a["block"]).value, ir.F64))

        total = e.variable(zero)
        with e.loop(0, a["blocks"]) as block:
            mean = double(e.load(a["sums"] + block * a["sums_row"] * 2 + offset, mask))
            total.set(b.fadd(total.get(), b.fmul(mean, count(block))))
        mean = b.fdiv(total.get(), splat(rows))
        squares = e.variable(zero)
        with e.loop(0, a["blocks"]) as block:
            at = a["sums"] + block * a["sums_row"] * 2 + offset
            away = b.fsub(double(e.load(at, mask)), mean)
            within = double(e.load(at + a["sums_row"], mask))
            squares.set(b.fadd(squares.get(), b.fadd(within, b.fmul(b.fmul(away, away), count(block)))))
        return mean, b.fdiv(squares.get(), splat(rows))


@dataclass(frozen=True)
class NormalKernel:
    """y = activation(scale x + shift + residual)."""

    activation: Activation
    residual: bool

    fields: ClassVar[tuple[str, ...]] = (
        "x", "pixel", "out", "out_pixel", "residual", "residual_pixel", "rows", "block", "channels", "moments",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        scales, shifts = a["moments"] + a["channels"] * 8, a["moments"] + a["channels"] * 12
        last = e.least(end * a["block"], a["rows"])
        with e.loop(first * a["block"], last) as pixel:
            x, out = a["x"] + pixel * a["pixel"], a["out"] + pixel * a["out_pixel"]
            residual = a["residual"] + pixel * a["residual_pixel"]

            def one(channel: Int, mask: Any, x: Int = x, out: Int = out, residual: Int = residual) -> None:
                at = channel * 4
                y = e.fma(e.load(x + at, mask), e.load(scales + at, mask), e.load(shifts + at, mask))
                if self.residual:
                    y = e.b.fadd(y, e.load(residual + at, mask))
                e.store(activate(e, y, self.activation), out + at, mask)

            each_vector(e, a["channels"], one)
        return e.finish()
