"""Normalisation by mean and variance: batch, layer, group, instance.

Shapes are (C, ...) with any spatial axes. All of them leave the shape as it is, and keep the floating-point type.
Variances are those of a population (divided by n, not n - 1).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, Passed, Window
from netdsl.ir.types import TensorType
from netdsl.layers.axes import known_channels, require_divisible, require_rank
from netdsl.layers.batch_norm import BatchNorm, FrozenBatchNorm
from netdsl.layers.norm_base import AffineNorm, Epsilon, Norm, standardise, standardise_gradient
from netdsl.layers.response_norm import L2Norm, LocalResponseNorm

__all__ = [
    "LAYERS",
    "AffineNorm",
    "BatchNorm",
    "Epsilon",
    "FrozenBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "L2Norm",
    "LayerNorm",
    "LocalResponseNorm",
    "Norm",
]


class OwnStatistics(AffineNorm):
    """Base of those that normalise each image by itself."""

    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return self.scale_and_shift(standardise(xp, self._sets(x), self.eps)[0].reshape(x.shape), weights)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        normal, deviation = standardise(xp, self._sets(x), self.eps)
        inner, found = self.affine_gradients(xp, dy, normal.reshape(x.shape), passed)
        if not passed.wanted[0]:
            return Gradients((None,), found)
        dx = standardise_gradient(xp, inner.reshape(normal.shape), normal, deviation, (1,))
        return Gradients((dx.reshape(x.shape),), found)

    @abstractmethod
    def _sets(self, x: Array) -> Array:
        """The same numbers in an array where those that share a mean and a variance lie along axis 1."""


class LayerNorm(OwnStatistics):
    """Layer normalisation over the channels, at each position: y = weight * (x - mean) / sqrt(var + eps) + bias.

    Any shape (C, ...); the output has the same. For a vector (C) this is PyTorch's LayerNorm(C), for an image
    ConvNeXt's LayerNorm2d; ConvNeXt's eps is 1e-6. Owns `weight` and `bias` of shape (C) where affine.
    FLOPs: 5 for each element and 2 for each position; 2 more for each element where affine.
    Errors: E0309 where the number of channels is not known; E0315 for a scalar.
    """

    kind: ClassVar[str] = "layer_norm"
    positional: ClassVar[tuple[str, ...]] = ("eps",)
    reference: ClassVar[str] = "Ba et al. 2016, Layer normalization, eq. 4; ONNX LayerNormalization"

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return self.statistics_cost(output.elements, TensorType(output.spatial).elements)

    def _sets(self, x: Array) -> Array:
        return x


class GroupNorm(OwnStatistics):
    """Group normalisation: mean and variance of C / groups channels at all positions, for each image.

    y = weight * (x - mean) / sqrt(var + eps) + bias. Any shape (C, ...); the output has the same. Owns `weight` and
    `bias` of shape (C) where affine. One group is layer normalisation over the whole image. Every output sees the
    whole input. FLOPs: 5 for each element and 2 for each group; 2 more for each element where affine.
    Errors: E0312 where groups do not divide the channels; E0309 where their number is not known; E0315 for a scalar.
    """

    kind: ClassVar[str] = "group_norm"
    positional: ClassVar[tuple[str, ...]] = ("groups",)
    reference: ClassVar[str] = "Wu & He 2018, Group normalization, eq. 7; ONNX GroupNormalization"

    groups: int = Field(ge=1, description="Number of groups; divides the channels.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        require_divisible(self.kind, "channels", known_channels(self.kind, x), self.groups, "groups")
        return x

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return self.statistics_cost(output.elements, self.groups)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global() if inputs[0].spatial else None

    def _sets(self, x: Array) -> Array:
        return _grouped(x, self.groups)


class InstanceNorm(OwnStatistics):
    """Instance normalisation: mean and variance of each channel of each image, over the positions.

    y = (x - mean) / sqrt(var + eps), then weight * y + bias where affine (PyTorch's default is without). Shape
    (C, ...) with at least one spatial axis; the output has the same. Every output sees the whole input.
    FLOPs: 5 for each element and 2 for each channel; 2 more for each element where affine.
    Errors: E0315 without a spatial axis; E0309 where the number of channels is not known.
    """

    kind: ClassVar[str] = "instance_norm"
    positional: ClassVar[tuple[str, ...]] = ("eps",)
    reference: ClassVar[str] = "Ulyanov et al. 2016, Instance normalization, eq. 1; ONNX InstanceNormalization"

    affine: bool = Field(False, description="Whether a learned scale and shift follow, one for each channel.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        require_rank(self.kind, x, 2)
        return super().infer(x)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return self.statistics_cost(output.elements, output.channels)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global()

    def _sets(self, x: Array) -> Array:
        return _grouped(x, x.shape[1])


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, ...) -> (N groups, everything in a group), the groups being equal slices of the channels."""
    n = x.shape[0]
    return x.reshape(n * groups, x[0].size // groups if n else 0)


LAYERS: tuple[type[Layer], ...] = (BatchNorm, LayerNorm, GroupNorm, InstanceNorm)
