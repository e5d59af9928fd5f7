"""Arithmetic on each element: magnitude, powers, the exponential function, and limits.

They follow IEEE 754 where a result is no real number: the square root of a negative number is NaN, e^x overflows to
infinity. All of them keep the floating-point type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, FiniteFloat, model_validator

from netdsl.ir.layer import Array, Layer
from netdsl.layers.elementwise import Pointwise


class Function(Pointwise):
    """Base of the functions of one element. Any shape; the output has the same."""

    category: ClassVar[str] = "activation"


class Abs(Function):
    """Absolute value: y = max(x, -x).

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "abs"
    reference: ClassVar[str] = "ONNX Abs"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.abs(inputs[0])

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return dy * xp.sign(x)


class Square(Function):
    """y = x^2.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "square"
    reference: ClassVar[str] = "ONNX Mul"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0] * inputs[0]

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return 2 * x * dy


class Sqrt(Function):
    """Square root: y = sqrt(x); NaN for negative numbers.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "sqrt"
    reference: ClassVar[str] = "ONNX Sqrt"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.sqrt(inputs[0])

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return dy / (2 * y)


class Exp(Function):
    """Exponential function: y = e^x.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "exp"
    reference: ClassVar[str] = "ONNX Exp"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.exp(inputs[0])

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return dy * y


class Power(Function):
    """y = x^exponent; NaN where a negative number has an exponent that is not whole.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "power"
    positional: ClassVar[tuple[str, ...]] = ("exponent",)
    reference: ClassVar[str] = "ONNX Pow"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    exponent: FiniteFloat = Field(description="The exponent, any number; -1 makes the reciprocal.")

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0] ** self.exponent

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        if self.exponent == 0:
            return xp.zeros_like(dy)
        return dy * (self.exponent * x ** (self.exponent - 1))


class Clip(Function):
    """Limits: y = min(max(x, low), high). Either may be left out.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "clip"
    positional: ClassVar[tuple[str, ...]] = ("low", "high")
    reference: ClassVar[str] = "ONNX Clip"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    low: FiniteFloat | None = Field(None, description="The least number that comes out.")
    high: FiniteFloat | None = Field(None, description="The largest number that comes out.")

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Clip:
        if self.low is None and self.high is None:
            raise ValueError("give low, high, or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low must not be above high")
        return self

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.clip(inputs[0], self.low, self.high)

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        # As PyTorch, the limits themselves count as inside.
        inside = xp.ones(x.shape, dtype=bool)
        if self.low is not None:
            inside &= x >= self.low
        if self.high is not None:
            inside &= x <= self.high
        return xp.where(inside, dy, 0)


LAYERS: tuple[type[Layer], ...] = (Abs, Square, Sqrt, Exp, Power, Clip)
