"""Derivatives of activations, from what comes out of them or from what goes in."""

from __future__ import annotations

from netdsl.backends.native.emit import Emitter, Vector
from netdsl.backends.native.functions import Activation, activate, sigmoid

BY_OUTPUT = ("relu", "clip", "leaky_relu", "elu", "tanh", "sigmoid")
"""Those whose derivative is known from the output."""
BY_INPUT = (*BY_OUTPUT, "silu", "hard_swish", "hard_sigmoid")


def slope_by_output(e: Emitter, dy: Vector, y: Vector, activation: Activation) -> Vector:
    """dy times the derivative at the place whose output is y. Where there is a corner it is that of the lower side."""
    b = e.b
    name, *numbers = activation
    zero, one = e.constant(0.0), e.constant(1.0)
    if name == "relu":
        return b.select(b.fcmp_ordered(">", y, zero), dy, zero)
    if name == "clip":
        low, high = (e.constant(float(number)) for number in numbers)
        return b.select(b.and_(b.fcmp_ordered(">", y, low), b.fcmp_ordered("<", y, high)), dy, zero)
    if name == "leaky_relu":
        return b.select(b.fcmp_ordered(">", y, zero), dy, b.fmul(dy, e.constant(float(numbers[0]))))
    if name == "elu":
        return b.select(b.fcmp_ordered(">", y, zero), dy, b.fmul(dy, b.fadd(y, e.constant(float(numbers[0])))))
    if name == "tanh":
        return b.fmul(dy, b.fsub(one, b.fmul(y, y)))
    if name == "sigmoid":
        return b.fmul(dy, b.fmul(y, b.fsub(one, y)))
    raise ValueError(name)


def slope_by_input(e: Emitter, dy: Vector, z: Vector, activation: Activation) -> Vector:
    """dy times the derivative at z."""
    b = e.b
    name = activation[0]
    zero, one = e.constant(0.0), e.constant(1.0)
    if name == "silu":
        gate = sigmoid(e, z)
        return b.fmul(dy, b.fmul(gate, e.fma(z, b.fsub(one, gate), one)))
    if name == "hard_swish":
        middle = e.fma(z, e.constant(1 / 3), e.constant(0.5))
        inside = b.and_(b.fcmp_ordered(">", z, e.constant(-3.0)), b.fcmp_ordered("<", z, e.constant(3.0)))
        outside = b.select(b.fcmp_ordered(">=", z, e.constant(3.0)), one, zero)
        return b.fmul(dy, b.select(inside, middle, outside))
    if name == "hard_sigmoid":
        inside = b.and_(b.fcmp_ordered(">", z, e.constant(-3.0)), b.fcmp_ordered("<", z, e.constant(3.0)))
        return b.select(inside, b.fmul(dy, e.constant(1 / 6)), zero)
    if name in ("relu", "leaky_relu"):
        return slope_by_output(e, dy, z, activation)
    if name == "clip":
        return slope_by_output(e, dy, z, activation)
    return slope_by_output(e, dy, activate(e, z, activation), activation)
