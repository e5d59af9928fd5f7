"""Functions of one vector: exp, tanh, sigmoid, the normal distribution, and from them every activation.

The polynomials are Chebyshev interpolants of the function named beside them (a quotient for tanh); their error is below
the rounding of float32. Nothing overflows; a NaN stays a NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Vector

Activation = tuple[str | float, ...]
"""Name and numbers: ("relu",), ("leaky_relu", 0.1), ("clip", 0.0, 6.0). Empty: none."""

_EXP = (0.5, 0.166666667, 0.0416664568, 0.00833331002, 0.00139345419, 0.000198919813)
"""(e^r - 1 - r) / r^2 for |r| <= 0.35."""
_EXP2 = (1.00000008, 0.693147188, 0.24022107, 0.0555035707, 0.00967605514, 0.00133908863)
"""2^f for |f| <= 0.5."""
_TANH_OVER = (
    0.999999998, 0.131278461, 0.00315332383, 1.16859419e-05, -2.2509279e-08, 6.47369097e-11, -1.18959638e-13,
)  # fmt: skip
_TANH_UNDER = (1.0, 0.464611778, 0.0246906112, 0.000261884979)
_TANH_END = 7.91
"""tanh(x) / x as a quotient of polynomials of x^2, for |x| <= 7.91, where tanh is 1 to 3e-7: weighted least squares."""
_LOG1P = (
    0.999999999, -0.499999795, 0.333324975, -0.249864965, 0.198858203, -0.160876229, 0.123779956, -0.0818804062,
    0.0410065712, -0.0131878254, 0.00198669636,
)  # fmt: skip
"""log(1 + u) / u for 0 <= u <= 1."""
_ERFC = (
    1.44148504e-05, 0.281697447, 0.28687132, 0.213806314, 0.321946169, -0.344009981, 0.838628298, -1.13781468,
    0.760911248, -0.258313002, 0.036262449,
)  # fmt: skip
"""erfc(z) e^(z^2) as a function of t = 1 / (1 + z / 2), for 0 <= z <= 10."""
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_ROUND = 12582912.0
"""1.5 * 2^23: added to a number and taken away again, it leaves the nearest integer."""
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def polynomial(e: Emitter, x: Vector, coefficients: Sequence[float]) -> Vector:
    """Horner's rule; the constant comes first."""
    y = e.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        y = e.fma(y, x, e.constant(coefficient))
    return y


def _split(e: Emitter, x: Vector) -> tuple[Vector, Vector]:
    """x = n ln 2 + r: returns 2^n and r, with |r| <= ln 2 / 2."""
    b = e.b
    shifted = b.fadd(b.fmul(x, e.constant(_LOG2_E)), e.constant(_ROUND))
    n = b.fsub(shifted, e.constant(_ROUND))
    r = e.fma(n, e.constant(-_LN2_HIGH), x)
    r = e.fma(n, e.constant(-_LN2_LOW), r)
    integers = ir.VectorType(ir.I32, e.width)
    # The low bits of the shifted number are n; with the bias of the exponent they become 2^n.
    bits = b.add(b.bitcast(shifted, integers), ir.Constant(integers, [127] * e.width))
    power = b.bitcast(b.shl(bits, ir.Constant(integers, [23] * e.width)), e.vector_type)
    return power, r


def _clamped(e: Emitter, x: Vector) -> Vector:
    return e.max(e.min(x, e.constant(88.37)), e.constant(-87.3))


def exp(e: Emitter, x: Vector) -> Vector:
    """e^x, for x between -87.3 and 88.37; what is outside counts as the end."""
    power, r = _split(e, _clamped(e, x))
    y = e.fma(e.b.fmul(r, r), polynomial(e, r, _EXP), e.b.fadd(r, e.constant(1.0)))
    return e.b.fmul(y, power)


def expm1(e: Emitter, x: Vector) -> Vector:
    """e^x - 1, accurate near 0."""
    power, r = _split(e, _clamped(e, x))
    y = e.fma(e.b.fmul(r, r), polynomial(e, r, _EXP), r)
    return e.fma(power, y, e.b.fsub(power, e.constant(1.0)))


def divide(e: Emitter, x: Vector, y: Vector) -> Vector:
    """x / y for y from 1 to 2.5e38, nearly rounded."""
    if e.width != 16:
        return e.b.fdiv(x, y)
    # A division of sixteen numbers takes as long as thirty multiplications. An estimate to 14 bits and one step of
    # Newton's: r + r (1 - y r).
    everywhere = ir.Constant(ir.IntType(16), -1)
    estimate = e.intrinsic("llvm.x86.avx512.rcp14.ps.512", e.vector_type, y, e.constant(0.0), everywhere)
    inverse = e.fma(estimate, e.fma(e.b.fneg(y), estimate, e.constant(1.0)), estimate)
    return e.b.fmul(x, inverse)


def sigmoid(e: Emitter, x: Vector) -> Vector:
    """1 / (1 + e^-x)."""
    return divide(e, e.constant(1.0), e.b.fadd(exp(e, e.b.fneg(x)), e.constant(1.0)))


def silu(e: Emitter, x: Vector) -> Vector:
    """x / (1 + e^-x); e^-x as 2^n 2^f, good to 1e-6 of the result, and a NaN comes back with the factor x."""
    b = e.b
    x = e.max(x, e.constant(-87.3))  # below, the result is smaller than 1e-36
    near = e.min(x, e.constant(87.0))
    shifted = e.fma(near, e.constant(-_LOG2_E), e.constant(_ROUND))
    f = e.fma(near, e.constant(-_LOG2_E), b.fsub(e.constant(_ROUND), shifted))
    integers = ir.VectorType(ir.I32, e.width)
    bits = b.shl(b.bitcast(shifted, integers), ir.Constant(integers, [23] * e.width))
    power = b.bitcast(b.add(b.bitcast(polynomial(e, f, _EXP2), integers), bits), e.vector_type)
    return divide(e, x, b.fadd(power, e.constant(1.0)))


def tanh(e: Emitter, x: Vector) -> Vector:
    """A quotient of polynomials."""
    x = e.max(e.min(x, e.constant(_TANH_END)), e.constant(-_TANH_END))
    square = e.b.fmul(x, x)
    return e.b.fdiv(e.b.fmul(x, polynomial(e, square, _TANH_OVER)), polynomial(e, square, _TANH_UNDER))


def log1p(e: Emitter, u: Vector) -> Vector:
    """log(1 + u) for u from 0 to 1."""
    return e.b.fmul(u, polynomial(e, u, _LOG1P))


def softplus(e: Emitter, x: Vector) -> Vector:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    return e.b.fadd(e.max(x, e.constant(0.0)), log1p(e, exp(e, e.b.fneg(e.abs(x)))))


def normal_cdf(e: Emitter, x: Vector) -> Vector:
    """Phi(x) = erfc(-x / sqrt 2) / 2."""
    b = e.b
    z = b.fmul(e.abs(x), e.constant(0.7071067811865476))
    t = b.fdiv(e.constant(1.0), e.fma(z, e.constant(0.5), e.constant(1.0)))
    # e^(-x^2 / 2) underflows behind |x| = 13; the clamp of exp leaves a number far below the rounding of the result.
    tail = b.fmul(b.fmul(polynomial(e, t, _ERFC), exp(e, b.fneg(b.fmul(z, z)))), e.constant(0.5))
    return b.select(b.fcmp_ordered("<", x, e.constant(0.0)), tail, b.fsub(e.constant(1.0), tail))


def _relu(e: Emitter, x: Vector) -> Vector:
    return e.max(x, e.constant(0.0))


def _clip(e: Emitter, x: Vector, low: float, high: float) -> Vector:
    return e.min(e.max(x, e.constant(low)), e.constant(high))


def _positive(e: Emitter, x: Vector, yes: Vector, no: Vector) -> Vector:
    return e.b.select(e.b.fcmp_ordered(">", x, e.constant(0.0)), yes, no)


def _leaky(e: Emitter, x: Vector, slope: float) -> Vector:
    return _positive(e, x, x, e.b.fmul(x, e.constant(slope)))


def _elu(e: Emitter, x: Vector, alpha: float) -> Vector:
    return _positive(e, x, x, e.b.fmul(expm1(e, e.min(x, e.constant(0.0))), e.constant(alpha)))


def _selu(e: Emitter, x: Vector) -> Vector:
    return e.b.fmul(_elu(e, x, SELU_ALPHA), e.constant(SELU_SCALE))


def _gelu(e: Emitter, x: Vector) -> Vector:
    return e.b.fmul(x, normal_cdf(e, x))


def _gelu_tanh(e: Emitter, x: Vector) -> Vector:
    """x (1 + tanh z) / 2 = x / (1 + e^-2z)."""
    near = _clip(e, x, -20.0, 20.0)
    cube = e.b.fmul(e.b.fmul(near, near), near)
    twice = e.b.fmul(e.fma(cube, e.constant(0.044715), near), e.constant(2 * 0.7978845608028654))
    return e.b.fmul(x, sigmoid(e, twice))


def _hard_sigmoid(e: Emitter, x: Vector) -> Vector:
    return e.b.fmul(_clip(e, e.b.fadd(x, e.constant(3.0)), 0.0, 6.0), e.constant(1 / 6))


def _hard_swish(e: Emitter, x: Vector) -> Vector:
    return e.b.fmul(x, _hard_sigmoid(e, x))


def _mish(e: Emitter, x: Vector) -> Vector:
    """x tanh(log(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2)."""
    power = exp(e, e.min(x, e.constant(20.0)))
    n = e.b.fmul(power, e.b.fadd(power, e.constant(2.0)))
    return e.b.fmul(x, e.b.fdiv(n, e.b.fadd(n, e.constant(2.0))))


def _scaled_tanh(e: Emitter, x: Vector, amplitude: float, slope: float) -> Vector:
    return e.b.fmul(tanh(e, e.b.fmul(x, e.constant(slope))), e.constant(amplitude))


_FUNCTIONS: dict[str, Callable[..., Vector]] = {
    "relu": _relu,
    "clip": _clip,
    "leaky_relu": _leaky,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": silu,
    "sigmoid": sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "mish": _mish,
    "softplus": softplus,
    "tanh": tanh,
    "scaled_tanh": _scaled_tanh,
    "exp": exp,
}


def activate(e: Emitter, x: Vector, activation: Activation) -> Vector:
    """`activation` of each lane."""
    if not activation:
        return x
    name, *numbers = activation
    return _FUNCTIONS[str(name)](e, x, *numbers)
