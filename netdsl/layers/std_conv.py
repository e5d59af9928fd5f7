"""Convolution with standardised weights: each filter is brought to mean 0 and a fixed variance before it is applied.

Mean and variance are those of all numbers of a filter, C / groups * kernel of them; the variance is divided by their
number. What is stored are the weights before, as PyTorch Image Models (timm) stores them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Layer, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.conv import AnyConvolution, Filtered
from netdsl.layers.norm_base import Epsilon, standardise_gradient
from netdsl.layers.sizes import Count, check_groups


# No subclass of Convolution: nothing can be folded into weights that are standardised afterwards.
class StdConv(AnyConvolution, Filtered):
    """Convolution with standardised weights: filter k is (weight_k - mean) / sqrt(variance + eps).

    Shapes, weights and costs are those of `conv`: standardised weights are constants once training is over, and are not
    counted. timm's StdConv2d, which has no bias unless it is said (`bias = false`); the published networks that have it
    (BiT's ResNets) take eps = 1e-8.

    Errors: those of `conv`.
    """

    kind: ClassVar[str] = "std_conv"
    positional: ClassVar[tuple[str, ...]] = ("filters", "kernel")
    reference: ClassVar[str] = (
        "Qiao et al. 2019, Micro-batch training with batch-channel normalization and weight standardization"
    )

    groups: Count = Field(1, description="Slices of the channels that are convolved apart; divides channels, filters.")
    eps: Epsilon = Field(1e-6, description="Added to the variance of a filter.")

    def _filters(self, x: TensorType) -> int:
        return self.filters

    def _groups(self, x: TensorType) -> int:
        check_groups(self.kind, x, self._channels(x), self.filters, self.groups)
        return self.groups

    def _applied(self, xp: Any, weights: Mapping[str, Array]) -> Array:
        return self._standardised(xp, weights["weight"])[0]

    def _applied_gradient(self, xp: Any, dw: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
        normal, deviation = self._standardised(xp, weights["weight"])
        return {"weight": standardise_gradient(xp, dw, normal, deviation, tuple(range(1, dw.ndim)))}

    def _standardised(self, xp: Any, weight: Array) -> tuple[Array, Array]:
        """The filters with mean 0 and variance 1, and what they were divided by."""
        axes = tuple(range(1, weight.ndim))
        centred = weight - weight.mean(axis=axes, keepdims=True)
        deviation = xp.sqrt((centred * centred).mean(axis=axes, keepdims=True) + self.eps)
        return centred / deviation, deviation


class ScaledStdConv(StdConv):
    """Convolution with scaled standardised weights, that of networks without normalisation (NF-ResNet, NFNet).

    Filter k is gain_k * gamma / sqrt(n) * (weight_k - mean) / sqrt(variance + eps), where n = C / groups * kernel is
    how many numbers a filter has. Beside `weight` and `bias` it owns `gain` of shape (filters, 1, 1, 1) (one 1 for
    each axis of the weight). timm's ScaledStdConv2d. gamma makes up for what the activation function takes from the
    variance: 1.71396 for ReLU, 1.70150 for GELU, 1.78813 for SiLU (timm).

    Errors: those of `conv`.
    """

    kind: ClassVar[str] = "scaled_std_conv"
    reference: ClassVar[str] = (
        "Brock et al. 2021, Characterizing signal propagation in unnormalized ResNets (scaled weight standardization)"
    )

    gamma: FiniteFloat = Field(1.0, description="Factor of all weights.")
    gain: FiniteFloat = Field(1.0, description="Value of a fresh gain.")

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        found = super().weights(*inputs)
        shape = (self.filters, *(1 for _ in found[0].shape[1:]))
        return (*found, Weight("gain", shape, trainable=self.trainable, initial=self.gain))

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        found = dict(super().board(inputs, output))
        return {**found, "parameters": [*found["parameters"], f"gain: {self.filters:,}"]}

    def _applied(self, xp: Any, weights: Mapping[str, Array]) -> Array:
        return super()._applied(xp, weights) * (weights["gain"] * self._scale(weights))

    def _applied_gradient(self, xp: Any, dw: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
        scale = self._scale(weights)
        gain = (dw * super()._applied(xp, weights)).sum(axis=tuple(range(1, dw.ndim)), keepdims=True)
        found = super()._applied_gradient(xp, dw * (weights["gain"] * scale), weights)
        return {**found, "gain": gain * scale}

    def _scale(self, weights: Mapping[str, Array]) -> float:
        """gamma / sqrt(n)"""
        return float(self.gamma / prod(weights["weight"].shape[1:]) ** 0.5)


LAYERS: tuple[type[Layer], ...] = (StdConv, ScaledStdConv)
