"""Normalisation without a mean: by the responses of neighbouring channels, to unit length, by the root mean square, and
by global responses.

Shapes and conventions as in netdsl/layers/norm.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, Passed, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.axes import Axes, axes_indices, known_channels, per_channel, require_rank, sum_per_channel
from netdsl.layers.norm_base import Epsilon, Norm
from netdsl.layers.patches import type_of


class LocalResponseNorm(Norm):
    """Local response normalisation across channels: y_c = x_c / (k + a * sum_j x_j^2)^beta.

    j runs over the `size` channels around c, from c - floor(size / 2) to c + floor((size - 1) / 2), those outside the
    tensor counting as 0. a is alpha / size as in Caffe and PyTorch, or alpha itself with `divide_alpha = false` as in
    the paper, which also sets k = 2. Any shape (C, ...); the output has the same.
    FLOPs for each element: 1 for the square, one less than the channels in its window for the sum, 4 for a, k, the
    power and the division. Errors: E0315 for a scalar.
    """

    kind: ClassVar[str] = "local_response_norm"
    positional: ClassVar[tuple[str, ...]] = ("size",)
    reference: ClassVar[str] = "Krizhevsky et al. 2012, ImageNet classification, section 3.3; ONNX LRN"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    size: int = Field(5, ge=1, description="Number of channels in the window (n in the paper).")
    alpha: FiniteFloat = Field(1e-4, ge=0, description="Weight of the sum of squares.")
    beta: FiniteFloat = Field(0.75, description="Exponent.")
    k: FiniteFloat = Field(1.0, gt=0, description="Added to the weighted sum.")
    divide_alpha: bool = Field(
        True, description="Whether alpha is divided by size (Caffe, PyTorch) or not (the paper)."
    )

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if not x.shape:
            known_channels(self.kind, x)
        return x

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements, channels = output.elements, output.channels
        if not elements or not channels:
            return None if elements is None else Cost()
        # At distance d from its centre a window still holds a channel for C - d of the C centres.
        neighbours = 0
        for reach in (self.size // 2, (self.size - 1) // 2):
            reach = min(reach, channels - 1)
            neighbours += reach * channels - reach * (reach + 1) // 2
        return Cost(flops=5 * elements + neighbours * (elements // channels))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x / self._sums(x) ** self.beta

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        """With t = k + a * sum x_j^2: dx_c = dy_c t_c^-beta - 2 a beta x_c * sum_i dy_i x_i t_i^(-beta - 1), over the
        channels i in whose window c is."""
        x = passed.x
        sums = self._sums(x)
        dx = dy * sums**-self.beta
        part = self._in_windows(dx * x / sums, self.size // 2, (self.size - 1) // 2)
        part *= -2 * self._factor() * self.beta
        dx += part * x
        return Gradients((dx,))

    def _factor(self) -> float:
        """a"""
        return self.alpha / self.size if self.divide_alpha else self.alpha

    def _sums(self, x: Array) -> Array:
        """k + a * sum_j x_j^2"""
        total = self._in_windows(x * x, (self.size - 1) // 2, self.size // 2)
        total *= self._factor()
        total += self.k
        return total

    def _in_windows(self, x: Array, above: int, below: int) -> Array:
        """For each channel the sum over those from `below` before it to `above` behind it."""
        channels = x.shape[1]
        total = x.copy()
        for d in range(1, min(below, channels - 1) + 1):
            total[:, d:] += x[:, :-d]
        for d in range(1, min(above, channels - 1) + 1):
            total[:, :-d] += x[:, d:]
        return total


class L2Norm(Norm):
    """Scales to unit length, the channels at each position: y = x / max(sqrt(sum_c x_c^2), eps).

    Any shape (C, ...); the output has the same. Makes an embedding of a vector (FaceNet); SSD's learned scale is an
    `affine` behind it. With `axis = positions` each channel gets unit length over its positions, and so on for any
    other axes. FLOPs for each n numbers that get unit length: n squares, n - 1 additions, a root, a comparison,
    n divisions. Along a spatial axis it counts as seeing the whole input.
    Errors: E0315 where the tensor has no such axis.
    """

    kind: ClassVar[str] = "l2_norm"
    positional: ClassVar[tuple[str, ...]] = ("eps",)
    reference: ClassVar[str] = "Liu et al. 2015, ParseNet, section 3.3; ONNX LpNormalization"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    eps: Epsilon = Field(1e-12, description="The least length that is divided by.")
    axis: Axes = Field(
        "channels",
        description="The axis along which the length is taken, by name or counted from 0; a list for several; "
        "`positions` for all spatial axes.",
    )

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        axes_indices(self.kind, self.axis, x)
        return x

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        axes = axes_indices(self.kind, self.axis, output)
        elements = output.elements
        lengths = TensorType(tuple(n for axis, n in enumerate(output.shape) if axis not in axes)).elements
        return None if elements is None or lengths is None else Cost(flops=3 * elements + lengths)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global() if any(axes_indices(self.kind, self.axis, inputs[0])) else None

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        axes = tuple(1 + axis for axis in axes_indices(self.kind, self.axis, type_of(x)))
        length = xp.sqrt((x * x).sum(axis=axes, keepdims=True))
        return x / xp.maximum(length, self.eps)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        axes = tuple(1 + axis for axis in axes_indices(self.kind, self.axis, type_of(x)))
        length = xp.sqrt((x * x).sum(axis=axes, keepdims=True))
        divisor = xp.maximum(length, self.eps)
        y = x / divisor
        # Where the length is held at eps it is a constant.
        along = xp.where(length > self.eps, (dy * y).sum(axis=axes, keepdims=True), 0)
        return Gradients(((dy - y * along) / divisor,))


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


LAYERS: tuple[type[Layer], ...] = (LocalResponseNorm, L2Norm, RmsNorm, GlobalResponseNorm)
