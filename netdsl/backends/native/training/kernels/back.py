"""Backward through batch norm, activations and biases, over rows of channels.

`GatherSumsKernel` forms dz, what comes out of an activation's derivative, and for each block of rows the sums over it:
sums[block][0] of dz, sums[block][1] of dz (x - mean). `FactorsKernel` makes of these the gradients of weight and bias
and the three factors of d(x) = f0 dz + f1 x + f2, which `ApplyKernel` computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target
from netdsl.backends.native.training.kernels.norm import by_groups
from netdsl.backends.native.training.kernels.slopes import slope_by_input, slope_by_output

SOURCES = ("plain", "output", "input")
"""How dz is found: it is dy; by the output of the activation; by its input, which is scale x + shift."""


def _before(
    e: Emitter, source: str, activation: Activation, dy: Vector, other: Vector, scale: Any, shift: Any
) -> Vector:
    if source == "output":
        return slope_by_output(e, dy, other, activation)
    if source == "input":
        return slope_by_input(e, dy, e.fma(other, scale, shift), activation)
    return dy


@dataclass(frozen=True)
class GatherSumsKernel:
    """`source` is one of SOURCES; `store` writes dz; `sums` says how many sums there are: 0, 1 or 2."""

    source: str
    activation: Activation
    store: bool
    sums: int

    fields: ClassVar[tuple[str, ...]] = (
        "dy", "dy_pixel", "x", "x_pixel", "y", "y_pixel", "dz", "dz_pixel", "rows", "block", "channels", "moments",
        "sums", "sums_row",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        b = e.b
        with e.loop(first, end) as unit:
            low = unit * a["block"]
            count = e.least(a["block"], a["rows"] - low)
            bases = {key: a[key] + low * a[f"{key}_pixel"] for key in ("dy", "x", "y", "dz")}
            out = a["sums"] + unit * a["sums_row"] * 2

            def group(
                channel: Int, vectors: int, mask: Any, bases: dict[str, Int] = bases, out: Int = out, count: Int = count
            ) -> None:
                offsets = [channel * 4 + v * target.bytes for v in range(vectors)]
                totals = [e.variable(e.constant(0.0)) for _ in offsets]
                products = [e.variable(e.constant(0.0)) for _ in offsets]
                row_of = {number: a["moments"] + a["channels"] * (4 * number) for number in (0, 2, 3)}
                means = [e.load(row_of[0] + at, mask) for at in offsets] if self.sums == 2 else []
                affine = (
                    [(e.load(row_of[2] + at, mask), e.load(row_of[3] + at, mask)) for at in offsets]
                    if self.source == "input"
                    else [(None, None)] * vectors
                )
                with e.loop(0, count) as number:
                    for v, at in enumerate(offsets):
                        dy = e.load(bases["dy"] + number * a["dy_pixel"] + at, mask)
                        x = None
                        if self.source == "input" or self.sums == 2:
                            x = e.load(bases["x"] + number * a["x_pixel"] + at, mask)
                        other = e.load(bases["y"] + number * a["y_pixel"] + at, mask) if self.source == "output" else x
                        dz = _before(e, self.source, self.activation, dy, other, *affine[v])
                        if self.store:
                            e.store(dz, bases["dz"] + number * a["dz_pixel"] + at, mask)
                        if self.sums:
                            totals[v].set(b.fadd(totals[v].get(), dz))
                        if self.sums == 2:
                            products[v].set(e.fma(dz, b.fsub(x, means[v]), products[v].get()))
                for v, at in enumerate(offsets):
                    if self.sums:
                        e.store(totals[v].get(), out + at, mask)
                    if self.sums == 2:
                        e.store(products[v].get(), out + at + a["sums_row"], mask)

            by_groups(e, a["channels"], group)
        return e.finish()


@dataclass(frozen=True)
class FactorsKernel:
    """`weight` and `bias`: "" where nobody wants their gradient, else `set` or `add`. `sums` as before; with `learns`
    the factors count the statistics in, else d(x) is scale dz. With `factors` false there are none."""

    weight: str
    bias: str
    sums: int
    learns: bool
    factors: bool

    fields: ClassVar[tuple[str, ...]] = (
        "sums", "sums_row", "blocks", "rows", "channels", "moments", "factors", "weight", "bias",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        b = e.b
        wide = ir.VectorType(ir.F64, e.width)

        def narrow(value: Any) -> Any:
            return b.fptrunc(value, e.vector_type)

        with e.loop(first, end) as unit:
            offset = unit * e.width * 4
            mask = e.mask(a["channels"] - unit * e.width)
            totals = [self._total(e, a, offset, mask, wide, number) for number in range(self.sums)]
            moments = [
                b.fpext(e.load(a["moments"] + a["channels"] * (4 * number) + offset, mask), wide) for number in range(3)
            ] if self.factors or self.sums == 2 else []  # fmt: skip
            if self.sums == 2:
                totals[1] = b.fmul(totals[1], moments[1])
            for way, place, number in ((self.bias, a["bias"], 0), (self.weight, a["weight"], 1)):
                if way:
                    value = narrow(totals[number])
                    if way == "add":
                        value = b.fadd(value, e.load(place + offset, mask))
                    e.store(value, place + offset, mask)
            if self.factors:
                mean, inverse, scale = moments
                zero = ir.Constant(wide, [0.0] * e.width)
                factors = [scale, zero, zero]
                if self.learns:
                    part = e._splat(b.fdiv(ir.Constant(ir.F64, -1.0), b.sitofp(a["rows"].value, ir.F64)), wide)
                    part = b.fmul(part, scale)
                    slope = b.fmul(inverse, totals[1])
                    factors[1] = b.fmul(part, slope)
                    factors[2] = b.fmul(part, b.fsub(totals[0], b.fmul(mean, slope)))
                for number, factor in enumerate(factors):
                    e.store(narrow(factor), a["factors"] + a["channels"] * (4 * number) + offset, mask)
        return e.finish()

    def _total(self, e: Emitter, a: dict[str, Int], offset: Int, mask: Any, wide: Any, number: int) -> Any:
        total = e.variable(ir.Constant(wide, [0.0] * e.width))
        with e.loop(0, a["blocks"]) as block:
            value = e.load(a["sums"] + (block * 2 + number) * a["sums_row"] + offset, mask)
            total.set(e.b.fadd(total.get(), e.b.fpext(value, wide)))
        return total.get()


@dataclass(frozen=True)
class ApplyKernel:
    """d(x) = f0 dz + f1 x + f2; without `learns` f0 dz alone."""

    source: str
    activation: Activation
    learns: bool

    fields: ClassVar[tuple[str, ...]] = (
        "dz", "dz_pixel", "x", "x_pixel", "dx", "dx_pixel", "rows", "block", "channels", "moments", "factors",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        last = e.least(end * a["block"], a["rows"])
        rows = [a["factors"] + a["channels"] * (4 * number) for number in range(3)]
        scales, shifts = a["moments"] + a["channels"] * 8, a["moments"] + a["channels"] * 12
        with e.loop(first * a["block"], last) as pixel:
            places = {key: a[key] + pixel * a[f"{key}_pixel"] for key in ("dz", "x", "dx")}

            def one(channel: Int, mask: Any, places: dict[str, Int] = places) -> None:
                at = channel * 4
                dz = e.load(places["dz"] + at, mask)
                x = e.load(places["x"] + at, mask) if self.learns or self.source == "input" else None
                if self.source == "input":
                    affine = (e.load(scales + at, mask), e.load(shifts + at, mask))
                    dz = _before(e, "input", self.activation, dz, x, *affine)
                f = [e.load(factor + at, mask) for factor in rows[: 3 if self.learns else 1]]
                dx = e.fma(dz, f[0], e.fma(x, f[1], f[2])) if self.learns else e.b.fmul(dz, f[0])
                e.store(dx, places["dx"] + at, mask)

            each_vector(e, a["channels"], one)
        return e.finish()
