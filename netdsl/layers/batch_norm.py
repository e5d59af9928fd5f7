"""Batch normalisation: by running statistics in evaluation, by those of the batch in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Cost, Draw, Gradients, Layer, LayerError, Passed, Trained, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.axes import known_channels, per_channel
from netdsl.layers.norm_base import AffineNorm


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


def _all_but_channels(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _moved(running: Array, newest: Array, momentum: float) -> Array:
    """(1 - momentum) * running + momentum * newest, in the type of `running`."""
    return ((1 - momentum) * running + momentum * newest).astype(running.dtype, copy=False)
