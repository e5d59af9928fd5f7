"""Rectifiers: activation functions that pass positive numbers on, and differ in what they make of negative ones.

Conventions as in netdsl/layers/activation.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Gradients, Layer, Passed, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.axes import known_channels, per_channel, sum_per_channel
from netdsl.layers.elementwise import Elementwise, Pointwise

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
"""Klambauer et al. 2017, eq. 14: they make mean 0 and variance 1 a fixed point."""


class Activation(Pointwise):
    """Base of the functions of one element. Any shape; the output has the same."""

    category: ClassVar[str] = "activation"


class Relu(Activation):
    """Rectified linear unit: y = max(x, 0).

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "relu"
    reference: ClassVar[str] = "Nair & Hinton 2010, Rectified linear units improve RBMs; ONNX Relu"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.maximum(inputs[0], 0)

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return xp.where(y > 0, dy, 0)


class Relu6(Activation):
    """Rectified linear unit with a ceiling: y = min(max(x, 0), 6).

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "relu6"
    reference: ClassVar[str] = "Sandler et al. 2018, MobileNetV2, section 5; ONNX Clip"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.clip(inputs[0], 0, 6)

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return xp.where((y > 0) & (y < 6), dy, 0)


class LeakyRelu(Activation):
    """Leaky rectified linear unit: y = x where x > 0, slope * x elsewhere.

    PyTorch's slope is 0.01; Darknet and YOLO use 0.1. Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "leaky_relu"
    positional: ClassVar[tuple[str, ...]] = ("slope",)
    reference: ClassVar[str] = "Maas et al. 2013, Rectifier nonlinearities improve acoustic models; ONNX LeakyRelu"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    slope: FiniteFloat = Field(0.01, description="Slope for negative inputs.")

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return xp.where(x > 0, x, self.slope * x)

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return xp.where(x > 0, dy, self.slope * dy)


class Prelu(Elementwise):
    """Leaky rectified linear unit with a learned slope: y = x where x > 0, weight * x elsewhere.

    Owns `weight` of shape (C) or (1). Any shape; the output has the same. 1 FLOP for each element.
    Errors: E0309 where the number of channels is not known and each channel has a slope; E0315 for a scalar.
    """

    kind: ClassVar[str] = "prelu"
    category: ClassVar[str] = "activation"
    positional: ClassVar[tuple[str, ...]] = ("per_channel",)
    reference: ClassVar[str] = "He et al. 2015, Delving deep into rectifiers, section 2.1; ONNX PRelu"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    per_channel: bool = Field(True, description="One slope for each channel; otherwise one for all.")
    initial: FiniteFloat = Field(0.25, description="Slope of a fresh layer.")
    trainable: bool = Field(True, description="Whether training changes the slopes.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        self.weights(x)
        return x

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        count = known_channels(self.kind, x) if self.per_channel else 1
        return (Weight("weight", (count,), trainable=self.trainable, initial=self.initial),)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return xp.where(x > 0, x, per_channel(weights["weight"], x) * x)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        weight = per_channel(passed.weights["weight"], x)
        dx = xp.where(x > 0, dy, weight * dy) if passed.wanted[0] else None
        if "weight" not in passed.wanted_weights:
            return Gradients((dx,))
        part = sum_per_channel(xp.where(x > 0, 0, dy * x)) if self.per_channel else xp.where(x > 0, 0, dy * x).sum()
        return Gradients((dx,), {"weight": part.reshape(passed.weights["weight"].shape)})


class Elu(Activation):
    """Exponential linear unit: y = x where x > 0, alpha * (e^x - 1) elsewhere.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "elu"
    positional: ClassVar[tuple[str, ...]] = ("alpha",)
    reference: ClassVar[str] = "Clevert et al. 2016, Fast and accurate deep network learning by ELUs, eq. 16; ONNX Elu"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    alpha: FiniteFloat = Field(1.0, description="The output tends to -alpha for very negative inputs.")

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return xp.where(x > 0, x, self.alpha * xp.expm1(xp.minimum(x, 0)))

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return xp.where(x > 0, dy, dy * (self.alpha * xp.exp(xp.minimum(x, 0))))


class Selu(Activation):
    """Self-normalising exponential linear unit: y = scale * x where x > 0, scale * alpha * (e^x - 1) elsewhere.

    alpha = 1.67326..., scale = 1.05070.... Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "selu"
    reference: ClassVar[str] = "Klambauer et al. 2017, Self-normalizing neural networks, eq. 2 and 14; ONNX Selu"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return xp.where(x > 0, SELU_SCALE * x, SELU_SCALE * SELU_ALPHA * xp.expm1(xp.minimum(x, 0)))

    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        return xp.where(y > 0, SELU_SCALE * dy, dy * (y + SELU_SCALE * SELU_ALPHA))


LAYERS: tuple[type[Layer], ...] = (Relu, Relu6, LeakyRelu, Prelu, Elu, Selu)
