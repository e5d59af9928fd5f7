"""Activation functions, applied to each element (and, from `softmax.py`, softmax).

An activation counts as the evaluation of one function: 1 FLOP for each element, however many instructions it takes.
All of them are written so that nothing overflows for large arguments, and keep the floating-point type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Layer
from netdsl.layers import rectifier
from netdsl.layers.gaussian import normal_cdf, normal_density
from netdsl.layers.rectifier import (
    SELU_ALPHA,
    SELU_SCALE,
    Activation,
    Elu,
    LeakyRelu,
    Prelu,
    Relu,
    Relu6,
    Selu,
)
from netdsl.layers.softmax import LogSoftmax, Softmax

__all__ = [
    "LAYERS",
    "SELU_ALPHA",
    "SELU_SCALE",
    "Activation",
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "LogSoftmax",
    "Mish",
    "Prelu",
    "Relu",
    "Relu6",
    "ScaledTanh",
    "Selu",
    "Sigmoid",
    "Silu",
    "Softmax",
    "Softplus",
    "Tanh",
    "sigmoid",
    "softplus",
]

_SQRT_2_OVER_PI = 0.7978845608028654


def sigmoid(xp: Any, x: Array) -> Array:
    """1 / (1 + e^-x), accurate on both sides: only e^-|x|, which is at most 1, is ever formed."""
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e, 1) / (1 + e)


def softplus(xp: Any, x: Array) -> Array:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


class Gelu(Activation):
    """Gaussian error linear unit: y = x * Phi(x) = x * (1 + erf(x / sqrt(2))) / 2.

    With `approximate = tanh`: y = x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2, which differs by up to 5e-4.
    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "gelu"
    positional: ClassVar[tuple[str, ...]] = ("approximate",)
    reference: ClassVar[str] = "Hendrycks & Gimpel 2016, Gaussian error linear units, section 2; ONNX Gelu"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    approximate: Literal["none", "tanh"] | None = Field(
        None, description="`none` is the exact function; `tanh` the approximation that needs no error function."
    )

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        if self.approximate != "tanh":
            return x * normal_cdf(xp, x)
        # tanh is 1 to the last digit long before |x| = 20; clipping keeps the cube from overflowing.
        near = xp.clip(x, -20, 20)
        return 0.5 * x * (1 + xp.tanh(_SQRT_2_OVER_PI * (near + 0.044715 * near * near * near)))

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        if self.approximate != "tanh":
            return dy * (normal_cdf(xp, x) + x * normal_density(xp, x))
        near = xp.clip(x, -20, 20)
        t = xp.tanh(_SQRT_2_OVER_PI * (near + 0.044715 * near * near * near))
        inner = _SQRT_2_OVER_PI * (1 + 3 * 0.044715 * near * near)
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)


class Silu(Activation):
    """Sigmoid linear unit, also called swish: y = x / (1 + e^-x).

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "silu"
    reference: ClassVar[str] = "Ramachandran et al. 2017, Searching for activation functions; ONNX Swish"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x * sigmoid(xp, x)

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        s = sigmoid(xp, x)
        return dy * (s * (1 + x * (1 - s)))


class Sigmoid(Activation):
    """Logistic function: y = 1 / (1 + e^-x).

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "sigmoid"
    reference: ClassVar[str] = "ONNX Sigmoid"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return sigmoid(xp, inputs[0])

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return dy * (y * (1 - y))


class HardSigmoid(Activation):
    """Piecewise linear sigmoid: y = relu6(x + 3) / 6.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "hard_sigmoid"
    reference: ClassVar[str] = "Howard et al. 2019, MobileNetV3, section 5.2; ONNX HardSigmoid"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.clip(inputs[0] + 3, 0, 6) / 6

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return xp.where((y > 0) & (y < 1), dy / 6, 0)


class HardSwish(Activation):
    """Piecewise quadratic swish: y = x * relu6(x + 3) / 6.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "hard_swish"
    reference: ClassVar[str] = "Howard et al. 2019, MobileNetV3, section 5.2; ONNX HardSwish"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x * (xp.clip(x + 3, 0, 6) / 6)

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return dy * xp.where(x < 3, xp.where(x > -3, x / 3 + 0.5, 0), 1).astype(dy.dtype, copy=False)


class Mish(Activation):
    """y = x * tanh(log(1 + e^x)).

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "mish"
    reference: ClassVar[str] = "Misra 2020, Mish: a self regularized non-monotonic activation function; ONNX Mish"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x * xp.tanh(softplus(xp, x))

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        t = xp.tanh(softplus(xp, x))
        return dy * (t + x * (1 - t * t) * sigmoid(xp, x))


class Softplus(Activation):
    """Smooth rectifier: y = log(1 + e^x).

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "softplus"
    reference: ClassVar[str] = "Dugas et al. 2000, Incorporating second-order functional knowledge; ONNX Softplus"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return softplus(xp, inputs[0])

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        # e^-y = 1 / (1 + e^x), so 1 - e^-y is the logistic function of x.
        return dy * -xp.expm1(-y)


class Tanh(Activation):
    """Hyperbolic tangent: y = tanh(x).

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "tanh"
    reference: ClassVar[str] = "ONNX Tanh"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.tanh(inputs[0])

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return dy * (1 - y * y)


class ScaledTanh(Activation):
    """The squashing function of LeNet-5: y = amplitude * tanh(slope * x).

    With the values of 1998, f(1) = 1 and f(-1) = -1. Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "scaled_tanh"
    positional: ClassVar[tuple[str, ...]] = ("amplitude", "slope")
    reference: ClassVar[str] = "LeCun et al. 1998, Gradient-based learning, eq. 6 and appendix A"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    amplitude: FiniteFloat = Field(1.7159, description="The output tends to this value (A in the paper).")
    slope: FiniteFloat = Field(2 / 3, description="Factor of the argument (S in the paper).")

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return self.amplitude * xp.tanh(self.slope * inputs[0])

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        t = xp.tanh(self.slope * x)
        return dy * (self.amplitude * self.slope * (1 - t * t))


LAYERS: tuple[type[Layer], ...] = (
    *rectifier.LAYERS, Gelu, Silu, Sigmoid, HardSigmoid, HardSwish, Mish, Softplus,
    Tanh, ScaledTanh, Softmax, LogSoftmax,
)  # fmt: skip
