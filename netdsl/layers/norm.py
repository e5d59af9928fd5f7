"""Normalisation: batch, layer, group, instance, local response, and to unit length.

Shapes are (C, ...) with any spatial axes. All of them leave the shape as it is, are computed as in evaluation, and
keep the floating-point type. Variances are those of a population (divided by n, not n - 1).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Cost, Draw, Global, Gradients, Layer, LayerError, Passed, Trained, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers.axes import (
    Axes,
    axes_indices,
    known_channels,
    per_channel,
    require_divisible,
    require_rank,
    sum_per_channel,
)
from netdsl.layers.elementwise import Elementwise
from netdsl.layers.patches import type_of

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


class BatchNorm(AffineNorm):
    """Batch normalisation with running statistics: y = weight * (x - running_mean) / sqrt(running_var + eps) + bias.

    Any shape (C, ...); the output has the same. Owns `weight` and `bias` (where affine), and the buffers
    `running_mean`, `running_var` of shape (C) and `num_batches_tracked`, an int64 scalar. 2 FLOPs for each element:
    in evaluation scale and shift are constants.
    Errors: E0309 where the number of channels is not known; E0315 for a scalar.
    """

    kind: ClassVar[str] = "batch_norm"
    positional: ClassVar[tuple[str, ...]] = ("eps", "momentum")
    reference: ClassVar[str] = "Ioffe & Szegedy 2015, Batch normalization, algorithm 2; ONNX BatchNormalization"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    momentum: FiniteFloat = Field(
        0.1, ge=0, le=1, description="Weight of the newest batch in the running statistics (training only)."
    )

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        shape = (known_channels(self.kind, inputs[0]),)
        return (
            *super().weights(*inputs),
            Weight("running_mean", shape, role="buffer", trainable=False, initial="zeros"),
            Weight("running_var", shape, role="buffer", trainable=False, initial="ones"),
            Weight("num_batches_tracked", (), role="buffer", trainable=False, initial="zeros", dtype="int64"),
        )

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        return None if elements is None else Cost(flops=2 * elements)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        # Scale and shift are formed in double precision: they are short, and mean * scale cancels against the bias.
        scale = self._scale(xp, weights)
        shift = -weights["running_mean"] * scale
        if self.affine:
            shift += weights["bias"]
        y = x * per_channel(scale, x)
        y += per_channel(shift, x)
        return y

    def _scale(self, xp: Any, weights: Mapping[str, Array]) -> Array:
        """What evaluation multiplies each channel by, in double precision."""
        scale = 1 / xp.sqrt(weights["running_var"].astype(xp.float64) + self.eps)
        return scale * weights["weight"] if self.affine else scale

    def train(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array], draw: Draw) -> Trained:
        """Normalises by mean and variance of the batch (algorithm 1), and moves the running ones towards them.

        As in PyTorch the running variance is that of a sample (divided by n - 1). Raises LayerError E0953 where there
        is but one value for each channel.
        """
        x = inputs[0]
        count = x.size // x.shape[1]
        if count < 2:
            raise LayerError(
                "E0953",
                f"batch_norm in training has a single value for each channel: an input of shape {x.shape}",
                "take batches of more than one image, or freeze this layer",
            )
        axes = _all_but_channels(x)
        # Sums of a whole batch are formed in double precision.
        mean = x.mean(axis=axes, dtype=xp.float64)
        y = x - per_channel(mean, x)
        variance = (y * y).mean(axis=axes, dtype=xp.float64)
        inverse = 1 / xp.sqrt(variance + self.eps)
        y *= per_channel(inverse, x)
        running = {
            "running_mean": _moved(weights["running_mean"], mean, self.momentum),
            "running_var": _moved(weights["running_var"], variance * (count / (count - 1)), self.momentum),
            "num_batches_tracked": weights["num_batches_tracked"] + 1,
        }
        return Trained(self.scale_and_shift(y, weights), (mean, inverse), running)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        """With y' = (x - mean) * inverse: dx = weight * inverse * (dy - mean(dy) - y' * mean(dy * y'))."""
        x = passed.x
        mean, inverse = passed.extra
        count = x.size // x.shape[1]
        axes = _all_but_channels(x)
        normal = x - per_channel(mean, x)
        normal *= per_channel(inverse, x)
        shift = dy.sum(axis=axes, dtype=xp.float64)
        scale = (dy * normal).sum(axis=axes, dtype=xp.float64)
        found = {"bias": shift.astype(x.dtype), "weight": scale.astype(x.dtype)} if self.affine else {}
        if not passed.wanted[0]:
            return Gradients((None,), found)
        normal *= per_channel(-scale / count, x)
        normal += dy
        normal -= per_channel(shift / count, x)
        normal *= per_channel(inverse * passed.weights["weight"] if self.affine else inverse, x)
        return Gradients((normal,), found)

    def frozen(self) -> Layer:
        return FrozenBatchNorm(**dict(self))


class FrozenBatchNorm(BatchNorm):
    """Batch normalisation none of whose weights is trained: it uses its running statistics in training as well, and
    leaves them as they are. No layer of the vocabulary: what `batch_norm` is in training while it is frozen."""

    kind: ClassVar[str] = "frozen_batch_norm"
    keeps: ClassVar[frozenset[str]] = frozenset()

    def train(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array], draw: Draw) -> Trained:
        return Trained(self.forward(xp, inputs, weights))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        if passed.wanted_weights:
            raise TypeError("a frozen batch_norm has no gradients of its weights")
        return Gradients((dy * per_channel(self._scale(xp, passed.weights), dy),))

    def frozen(self) -> Layer:
        return self


class OwnStatistics(AffineNorm):
    """Base of those that normalise each image by itself."""

    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return self.scale_and_shift(_standardise(xp, self._sets(x), self.eps)[0].reshape(x.shape), weights)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        normal, deviation = _standardise(xp, self._sets(x), self.eps)
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


def _standardise(xp: Any, x: Array, eps: float) -> tuple[Array, Array]:
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


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, ...) -> (N groups, everything in a group), the groups being equal slices of the channels."""
    n = x.shape[0]
    return x.reshape(n * groups, x[0].size // groups if n else 0)


def _all_but_channels(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _moved(running: Array, newest: Array, momentum: float) -> Array:
    """(1 - momentum) * running + momentum * newest, in the type of `running`."""
    return ((1 - momentum) * running + momentum * newest).astype(running.dtype, copy=False)


LAYERS: tuple[type[Layer], ...] = (BatchNorm, LayerNorm, GroupNorm, InstanceNorm, LocalResponseNorm, L2Norm)
