"""Layers of one element as expressions of CUDA C++: the function and its derivative.

An expression is text in which `x` stands for what the function takes, `y` for what it gives; FAST is a constant of the
kernel. The functions themselves are in `source/functions.cuh`; formulas and their sources are those of the layers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from netdsl.ir.layer import Layer
from netdsl.layers.activation import (
    SELU_ALPHA,
    SELU_SCALE,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    Relu,
    Relu6,
    ScaledTanh,
    Selu,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)
from netdsl.layers.arithmetic import Abs, Clip, Exp, Power, Sqrt, Square
from netdsl.layers.scale import Scale, Shift


def literal(value: float) -> str:
    """A number as it stands in the text of a kernel: the nearest float, written exactly."""
    try:
        (near,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return "infinity()" if value > 0 else "(-infinity())"
    return f"{float(near).hex()}f" if near else "0.0f"


def _clip(layer: Any) -> str:
    inner = "x" if layer.low is None else f"larger(x, {literal(layer.low)})"
    return inner if layer.high is None else f"smaller({inner}, {literal(layer.high)})"


def _inside(layer: Any) -> str:
    low = [] if layer.low is None else [f"x >= {literal(layer.low)}"]
    high = [] if layer.high is None else [f"x <= {literal(layer.high)}"]
    return f"({' && '.join(low + high)} ? 1.0f : 0.0f)"


def _power(layer: Any, exponent: float) -> str:
    whole = {1.0: "x", 2.0: "(x * x)", -1.0: "(1.0f / x)", 0.0: "1.0f"}
    return whole.get(exponent, f"powf(x, {literal(exponent)})")


def _power_slope(layer: Any) -> str:
    if layer.exponent == 0:
        return "0.0f"
    return f"({literal(layer.exponent)} * {_power(layer, layer.exponent - 1)})"


_Text = Callable[[Any], str]

_TABLE: dict[type[Layer], tuple[_Text, _Text]] = {
    Relu: (lambda layer: "larger(x, 0.0f)", lambda layer: "(y > 0.0f ? 1.0f : 0.0f)"),
    Relu6: (lambda layer: "clamp(x, 0.0f, 6.0f)", lambda layer: "(y > 0.0f && y < 6.0f ? 1.0f : 0.0f)"),
    LeakyRelu: (
        lambda layer: f"(x > 0.0f ? x : {literal(layer.slope)} * x)",
        lambda layer: f"(x > 0.0f ? 1.0f : {literal(layer.slope)})",
    ),
    Elu: (
        lambda layer: f"(x > 0.0f ? x : {literal(layer.alpha)} * expm1f(x))",
        lambda layer: f"(x > 0.0f ? 1.0f : {literal(layer.alpha)} * expf(x))",
    ),
    Selu: (
        lambda layer: f"(x > 0.0f ? {literal(SELU_SCALE)} * x : {literal(SELU_SCALE * SELU_ALPHA)} * expm1f(x))",
        lambda layer: f"(y > 0.0f ? {literal(SELU_SCALE)} : y + {literal(SELU_SCALE * SELU_ALPHA)})",
    ),
    Gelu: (
        lambda layer: "(0.5f * x * (1.0f + gelu_tanh(x)))" if layer.approximate == "tanh" else "(x * normal_cdf(x))",
        lambda layer: (
            "gelu_tanh_slope(x)" if layer.approximate == "tanh" else "(normal_cdf(x) + x * normal_density(x))"
        ),
    ),
    Silu: (lambda layer: "(x * sigmoid<FAST>(x))", lambda layer: "silu_slope<FAST>(x)"),
    Sigmoid: (lambda layer: "sigmoid<FAST>(x)", lambda layer: "(y * (1.0f - y))"),
    HardSigmoid: (
        lambda layer: "(clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f)",
        lambda layer: "(y > 0.0f && y < 1.0f ? 1.0f / 6.0f : 0.0f)",
    ),
    HardSwish: (
        lambda layer: "(x * (clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f))",
        lambda layer: "(x < 3.0f ? (x > -3.0f ? x / 3.0f + 0.5f : 0.0f) : 1.0f)",
    ),
    Mish: (lambda layer: "(x * tanhf(softplus(x)))", lambda layer: "mish_slope(x)"),
    Softplus: (lambda layer: "softplus(x)", lambda layer: "(-expm1f(-y))"),
    Tanh: (lambda layer: "tanhf(x)", lambda layer: "(1.0f - y * y)"),
    ScaledTanh: (
        lambda layer: f"({literal(layer.amplitude)} * tanhf({literal(layer.slope)} * x))",
        lambda layer: (
            f"({literal(layer.amplitude * layer.slope)}"
            f" * (1.0f - tanhf({literal(layer.slope)} * x) * tanhf({literal(layer.slope)} * x)))"
        ),
    ),
    Abs: (lambda layer: "fabsf(x)", lambda layer: "sign(x)"),
    Square: (lambda layer: "(x * x)", lambda layer: "(2.0f * x)"),
    Sqrt: (lambda layer: "sqrtf(x)", lambda layer: "(1.0f / (2.0f * y))"),
    Exp: (lambda layer: "expf(x)", lambda layer: "y"),
    Power: (lambda layer: _power(layer, layer.exponent), _power_slope),
    Clip: (_clip, _inside),
    Scale: (lambda layer: f"({literal(layer.by)} * x)", lambda layer: literal(layer.by)),
    Shift: (lambda layer: f"(x + {literal(layer.by)})", lambda layer: "1.0f"),
}


def has_function(layer: Layer | None) -> bool:
    """Whether there is an expression for a layer; none at all is the identity."""
    return layer is None or type(layer) in _TABLE


def function(layer: Layer | None) -> str:
    """y as an expression in x."""
    return "x" if layer is None else _TABLE[type(layer)][0](layer)


def slope(layer: Layer | None) -> str:
    """dy / dx as an expression in x and y."""
    return "1.0f" if layer is None else _TABLE[type(layer)][1](layer)


def slope_reads_output(layer: Layer | None) -> bool:
    """Whether the derivative is written in y, what the function gave, and not in x."""
    return layer is not None and "output" in layer.keeps


def function_text(name: str, layer: Layer | None) -> str:
    """`DEVICE float name(float x)`."""
    return f"DEVICE float {name}(float x) {{ return {function(layer)}; }}"


def slope_text(name: str, layer: Layer | None) -> str:
    """`DEVICE float name(float x, float y)`: the derivative."""
    return f"DEVICE float {name}(float x, float y) {{ return {slope(layer)}; }}"
