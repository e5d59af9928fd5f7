"""What the normalisations share: the scale and shift behind them, and bringing numbers to mean 0 and variance 1.

Variances are those of a population (divided by n, not n - 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Cost, Passed, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.axes import known_channels, per_channel, sum_per_channel
from netdsl.layers.elementwise import Elementwise

Epsilon = Annotated[FiniteFloat, Field(gt=0)]


class Norm(Elementwise):
    """Base of the normalisations."""

    category: ClassVar[str] = "norm"


class AffineNorm(Norm):
    """Base of those that may be followed by a learned scale (`weight`) and shift (`bias`), one for each channel."""

    eps: Epsilon = Field(1e-5, description="Added to the variance. Some published networks use 1e-3 or 1e-6.")
    affine: bool = Field(True, description="Whether a learned scale and shift follow, one for each channel.")
    trainable: bool = Field(True, description="Whether training changes the scale and the shift.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        known_channels(self.kind, x)
        return x

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        if not self.affine:
            return ()
        shape = (known_channels(self.kind, inputs[0]),)
        return (
            Weight("weight", shape, trainable=self.trainable, initial="ones"),
            Weight("bias", shape, trainable=self.trainable, initial="zeros"),
        )

    def scale_and_shift(self, y: Array, weights: Mapping[str, Array]) -> Array:
        """weight * y + bias where there are any; `y` is overwritten."""
        if self.affine:
            y *= per_channel(weights["weight"], y)
            y += per_channel(weights["bias"], y)
        return y

    def affine_gradients(self, xp: Any, dy: Array, normal: Array, passed: Passed) -> tuple[Array, dict[str, Array]]:
        """The derivative in what is scaled and shifted, `normal`, and those in the weights."""
        found = {}
        if "weight" in passed.wanted_weights:
            found["weight"] = sum_per_channel(dy * normal)
        if "bias" in passed.wanted_weights:
            found["bias"] = sum_per_channel(dy)
        return (dy * per_channel(passed.weights["weight"], dy) if self.affine else dy), found

    def statistics_cost(self, elements: int | None, statistics: int | None) -> Cost | None:
        """The cost of normalising by mean and variance, when `statistics` pairs of them are formed.

        For each element: sum, centre, square, sum of squares, divide, and scale and shift where affine. For each pair:
        one addition of epsilon and one root. (A mean of n numbers is n - 1 additions and a division.)
        """
        if elements is None or statistics is None:
            return None
        return Cost(flops=(7 if self.affine else 5) * elements + 2 * statistics)


def standardise(xp: Any, x: Array, eps: float) -> tuple[Array, Array]:
    """(x - mean) / sqrt(var + eps), mean and variance taken along axis 1; and the root."""
    y = x - x.mean(axis=1, keepdims=True)
    deviation = xp.sqrt((y * y).mean(axis=1, keepdims=True) + eps)
    y /= deviation
    return y, deviation


def standardise_gradient(xp: Any, dy: Array, y: Array, deviation: Array, axes: tuple[int, ...]) -> Array:
    """The derivative in x of y = (x - mean) / deviation, where deviation = sqrt(var + eps) along `axes`:
    dx = (dy - mean(dy) - y mean(dy y)) / deviation."""
    dx = dy - dy.mean(axis=axes, keepdims=True)
    dx -= y * (dy * y).mean(axis=axes, keepdims=True)
    dx /= deviation
    return dx
