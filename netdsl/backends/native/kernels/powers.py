"""Logarithms and powers of positive vectors."""

from __future__ import annotations

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Vector
from netdsl.backends.native.functions import exp, log1p

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_SQRT_2 = 1.4142135623730951


def log(e: Emitter, x: Vector) -> Vector:
    """log x for normal numbers x > 0: x = 2^n m with m from 1 to 2, n ln 2 + log(1 + (m - 1))."""
    b = e.b
    integers = ir.VectorType(ir.I32, e.width)

    def each(value: int) -> ir.Constant:
        return ir.Constant(integers, [value] * e.width)

    bits = b.bitcast(x, integers)
    n = b.sitofp(b.sub(b.lshr(bits, each(23)), each(127)), e.vector_type)
    m = b.bitcast(b.or_(b.and_(bits, each(0x7FFFFF)), each(0x3F800000)), e.vector_type)
    small = log1p(e, b.fsub(m, e.constant(1.0)))
    return e.fma(n, e.constant(_LN2_HIGH), e.fma(n, e.constant(_LN2_LOW), small))


def power(e: Emitter, x: Vector, exponent: float) -> Vector:
    """x^exponent for x > 0. Multiples of a quarter up to 1 are made of roots; others are e^(exponent log x)."""
    b = e.b
    size = abs(exponent)
    parts = []
    if size <= 1 and 4 * size == int(4 * size):
        quarters = int(4 * size)
        half = e.sqrt(x)
        parts = [x] * (quarters == 4) + [half] * (quarters in (2, 3)) + [e.sqrt(half)] * (quarters in (1, 3))
        y = e.constant(1.0)
        for part in parts:
            y = b.fmul(y, part)
        return b.fdiv(e.constant(1.0), y) if exponent < 0 else y
    return exp(e, b.fmul(log(e, x), e.constant(exponent)))
