"""Element by element where operands lie with gaps, or repeat along any axis. A unit is one row of one image.

The quick form is `map.py`; this one takes what does not fit there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation, activate, exp
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.kernels.powers import power
from netdsl.backends.native.target import Target

MOST_OPERANDS = 16
MOST_FACTORS = 16
"""Whole exponents up to this size are products."""
SMALLEST_NORMAL = 2.0**-126
"""Of float32; in a run, smaller numbers count as 0."""


@dataclass(frozen=True)
class GridKernel:
    """A variant: out = activation(operation(operands)). `scalar[i]`: operand i has one channel for all; `exponent`
    belongs to `power`."""

    operation: str
    scalar: tuple[bool, ...]
    activation: Activation
    exponent: float = 0.0

    fields: ClassVar[tuple[str, ...]] = (
        "out", "out_image", "out_row", "out_pixel", "height", "width", "channels",
        *(f"x{i}{part}" for i in range(MOST_OPERANDS) for part in ("", "_image", "_row", "_pixel")),
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields[: 7 + 4 * len(self.scalar)])
        with e.loop(first, end) as unit:
            image, y = unit // a["height"], unit % a["height"]
            rows = [a[f"x{i}"] + image * a[f"x{i}_image"] + y * a[f"x{i}_row"] for i in range(len(self.scalar))]
            line = a["out"] + image * a["out_image"] + y * a["out_row"]
            with e.loop(0, a["width"]) as pixel:
                places = [place + pixel * a[f"x{i}_pixel"] for i, place in enumerate(rows)]
                out = line + pixel * a["out_pixel"]

                def compute(c: Int, mask: Any, places: list[Int] = places, out: Int = out) -> None:
                    x = [
                        e.broadcast(place) if scalar else e.load(place + c * 4, mask)
                        for place, scalar in zip(places, self.scalar, strict=True)
                    ]
                    e.store(activate(e, self._combined(e, x), self.activation), out + c * 4, mask)

                each_vector(e, a["channels"], compute)
        return e.finish()

    def _combined(self, e: Emitter, x: list[Vector]) -> Vector:
        b = e.b
        match self.operation:
            case "copy":
                return x[0]
            case "add":
                return reduce(b.fadd, x)
            case "average":
                return b.fdiv(reduce(b.fadd, x), e.constant(len(x)))
            case "multiply":
                return reduce(b.fmul, x)
            case "subtract":
                return b.fsub(x[0], x[1])
            case "divide":
                return b.fdiv(x[0], x[1])
            case "maximum":
                return reduce(e.largest, x)
            case "minimum":
                return reduce(e.smallest, x)
            case "affine":
                return e.fma(x[0], x[1], x[2])
            case "prelu":
                return b.select(b.fcmp_ordered(">", x[0], e.constant(0.0)), x[0], b.fmul(x[0], x[1]))
            case "magnitude":
                return reduce(lambda p, q: _hypot(e, p, q), x[1:], e.abs(x[0]))
            case "abs":
                return e.abs(x[0])
            case "sqrt":
                return e.sqrt(x[0])
            case "exp":
                return _exp(e, x[0])
            case "power":
                return self._power(e, x[0])
        raise ValueError(self.operation)

    def _power(self, e: Emitter, x: Vector) -> Vector:
        if self.exponent != int(self.exponent):
            return power(e, x, self.exponent)
        factors = abs(int(self.exponent))
        y, square = e.constant(1.0), x
        while factors:
            if factors & 1:
                y = e.b.fmul(y, square)
            square = e.b.fmul(square, square)
            factors >>= 1
        return e.b.fdiv(e.constant(1.0), y) if self.exponent < 0 else y


def has_power(exponent: float) -> bool:
    """Whether x^exponent is a product of some factors or of roots."""
    whole = exponent == int(exponent) and abs(exponent) <= MOST_FACTORS
    return whole or (abs(exponent) <= 1 and 4 * exponent == int(4 * exponent))


def _hypot(e: Emitter, x: Vector, y: Vector) -> Vector:
    """sqrt(x^2 + y^2) without overflow: large sqrt(1 + (small / large)^2)."""
    b = e.b
    x, y = e.abs(x), e.abs(y)
    large, small = e.largest(x, y), e.smallest(x, y)
    ratio = b.fdiv(small, large)
    # 0 / 0 and infinity / infinity are no numbers, and the larger is the answer. What is too small to be normal divides
    # as 0 does.
    nothing = b.fcmp_ordered("<", large, e.constant(SMALLEST_NORMAL))
    plain = b.or_(nothing, b.fcmp_ordered("==", large, e.constant(float("inf"))))
    found = b.fmul(large, e.sqrt(e.fma(ratio, ratio, e.constant(1.0))))
    return b.select(plain, large, found)


def _exp(e: Emitter, x: Vector) -> Vector:
    """e^x, infinite and 0 where float32 ends."""
    b = e.b
    y = b.select(
        b.fcmp_ordered(">", x, e.constant(88.37)),
        b.fmul(exp(e, b.fsub(x, e.constant(8.0))), e.constant(2980.957987041728)),
        exp(e, x),
    )
    y = b.select(b.fcmp_ordered(">", x, e.constant(88.7228)), e.constant(float("inf")), y)
    return b.select(b.fcmp_ordered("<", x, e.constant(-87.3)), e.constant(0.0), y)
