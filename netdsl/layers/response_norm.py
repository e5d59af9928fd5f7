"""Normalisation without a mean: by the root mean square over the channels, and by global responses.

Shapes and conventions as in netdsl/layers/norm.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, Passed, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.axes import known_channels, per_channel, require_rank, sum_per_channel
from netdsl.layers.norm import Epsilon, Norm


class RmsNorm(Norm):
    """Root mean square normalisation over the channels, at each position: y = weight * x / sqrt(mean(x^2) + eps).

    Any shape (C, ...); the output has the same. For a vector (C) this is PyTorch's RMSNorm(C), for an image timm's
    RmsNorm2d. Owns `weight` of shape (C) where affine. FLOPs: 3 for each element (square, mean, division) and 2 for
    each position; 1 more for each element where affine.
    Errors: E0309 where the number of channels is not known; E0315 for a scalar.
    """

    kind: ClassVar[str] = "rms_norm"
    positional: ClassVar[tuple[str, ...]] = ("eps",)
    reference: ClassVar[str] = (
        "Zhang & Sennrich 2019, Root mean square layer normalization, eq. 4; ONNX RMSNormalization"
    )
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    eps: Epsilon = Field(1e-6, description="Added to the mean of the squares.")
    affine: bool = Field(True, description="Whether a learned scale follows, one for each channel.")
    trainable: bool = Field(True, description="Whether training changes the scale.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        known_channels(self.kind, x)
        return x

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        if not self.affine:
            return ()
        shape = (known_channels(self.kind, inputs[0]),)
        return (Weight("weight", shape, trainable=self.trainable, initial="ones"),)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements, positions = output.elements, TensorType(output.spatial).elements
        if elements is None or positions is None:
            return None
        return Cost(flops=(4 if self.affine else 3) * elements + 2 * positions)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        y = x / xp.sqrt((x * x).mean(axis=1, keepdims=True) + self.eps)
        if self.affine:
            y *= per_channel(weights["weight"], y)
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        root = xp.sqrt((x * x).mean(axis=1, keepdims=True) + self.eps)
        y = x / root
        found = {"weight": sum_per_channel(dy * y)} if "weight" in passed.wanted_weights else {}
        if not passed.wanted[0]:
            return Gradients((None,), found)
        inner = dy * per_channel(passed.weights["weight"], dy) if self.affine else dy
        return Gradients(((inner - y * (inner * y).mean(axis=1, keepdims=True)) / root,), found)


class GlobalResponseNorm(Norm):
    """Global response normalisation: y_c = x_c + weight_c * x_c * g_c / (mean(g) + eps) + bias_c.

    g_c is the length of channel c over all positions, sqrt(sum x_c^2), and the mean is over the channels: channels
    compete by how strongly they respond. (C, *spatial) with at least one spatial axis; the output has the same shape.
    Owns `weight` and `bias` of shape (C), zeros when fresh, which makes the identity (gamma and beta in the paper;
    timm's names and shapes). Every output sees the whole input. FLOPs: 6 for each element, 2 C + 1 for the mean, eps
    and the divisions.
    Errors: E0315 without a spatial axis; E0309 where the number of channels is not known.
    """

    kind: ClassVar[str] = "global_response_norm"
    positional: ClassVar[tuple[str, ...]] = ("eps",)
    reference: ClassVar[str] = "Woo et al. 2023, ConvNeXt V2, algorithm 1"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    eps: Epsilon = Field(1e-6, description="Added to the mean of the lengths.")
    trainable: bool = Field(True, description="Whether training changes the weight and the bias.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        require_rank(self.kind, x, 2)
        known_channels(self.kind, x)
        return x

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        shape = (known_channels(self.kind, inputs[0]),)
        return (Weight("weight", shape, trainable=self.trainable), Weight("bias", shape, trainable=self.trainable))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements, channels = output.elements, output.channels
        return None if elements is None or channels is None else Cost(flops=6 * elements + 2 * channels + 1)

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        cost = self.cost(inputs, output)
        elements, channels = working.product(*output.shape), working.number(output.channels)
        total = working.result(None if cost is None else cost.flops)
        return {"flops": [f"6 * {elements} + 2 * {channels} + 1{total}"]}

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global()

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        length = xp.sqrt((x * x).sum(axis=tuple(range(2, x.ndim)), keepdims=True))  # (N, C, 1, ...)
        response = length / (length.mean(axis=1, keepdims=True) + self.eps)
        y = x * (1 + per_channel(weights["weight"], x) * response)
        y += per_channel(weights["bias"], x)
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        axes = tuple(range(2, x.ndim))
        length = xp.sqrt((x * x).sum(axis=axes, keepdims=True))  # (N, C, 1, ...)
        divisor = length.mean(axis=1, keepdims=True) + self.eps
        response = length / divisor
        both = (dy * x).sum(axis=axes, keepdims=True)
        found = {"weight": sum_per_channel(both * response), "bias": sum_per_channel(dy)}
        if not passed.wanted[0]:
            return Gradients((None,), found)
        weight = per_channel(passed.weights["weight"], x)
        # The derivative in the length of each channel: by itself, and through the mean of all of them.
        part = both * weight / divisor
        part -= (part * response).mean(axis=1, keepdims=True)
        dx = dy * (1 + weight * response)
        dx += x * (part / xp.where(length == 0, 1, length))
        return Gradients((dx,), found)


LAYERS: tuple[type[Layer], ...] = (RmsNorm, GlobalResponseNorm)
