"""Scales and shifts, learned or fixed, and the mean of colours: y = a x + b for each channel and their like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Cost, Gradients, Layer, LayerError, Passed, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.axes import known_channels, per_channel, sum_per_channel
from netdsl.layers.elementwise import Elementwise


class LayerScale(Elementwise):
    """A learned factor for each channel, which owns its parameter under the name of the step itself.

    y = scale * x. Any shape (C, ...); the output has the same. The parameter has shape (C, 1, 1) (one 1 for each
    spatial axis; torchvision's ConvNeXt) or (C) (`shape = vector`; timm). Its name is the address of the step: in scope
    `features.1.0` the step `layer_scale: layer_scale(1e-6)` owns `features.1.0.layer_scale`, and
    `gamma: layer_scale(shape = vector)` owns `features.1.0.gamma`. 1 FLOP for each element.
    Errors: E0309 where the number of channels is not known; E0315 for a scalar.
    """

    kind: ClassVar[str] = "layer_scale"
    positional: ClassVar[tuple[str, ...]] = ("initial",)
    category: ClassVar[str] = "norm"
    reference: ClassVar[str] = "Touvron et al. 2021, Going deeper with image transformers, section 2; ONNX Mul"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    initial: FiniteFloat = Field(1e-6, description="Value of a fresh parameter.")
    shape: Literal["channels_first", "vector"] = Field(
        "channels_first", description="Shape of the parameter: (C, 1, 1) for an image, or (C)."
    )
    trainable: bool = Field(True, description="Whether training changes the parameter.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        known_channels(self.kind, x)
        return x

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        shape: tuple[int, ...] = (known_channels(self.kind, x),)
        if self.shape == "channels_first":
            shape += (1,) * len(x.spatial)
        return (Weight("", shape, trainable=self.trainable, initial=self.initial),)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x * per_channel(weights[""], x)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x, weight = passed.x, passed.weights[""]
        found = {"": sum_per_channel(dy * x).reshape(weight.shape)} if passed.wanted_weights else {}
        return Gradients((dy * per_channel(weight, x) if passed.wanted[0] else None,), found)


class Scalar(Elementwise):
    """A learned number that everything is multiplied by, which owns its parameter under the name of the step itself.

    y = scalar * x. Any shape; the output has the same. The parameter has shape (1), as PyTorch's
    `nn.Parameter(torch.zeros(1))` (ReZero), or none at all, () (`shape = scalar`: timm's `skipinit_gain`). Its name is
    the address of the step: in scope `layer1.0` the step `alpha: scalar(0)` owns `layer1.0.alpha`. Starting at 0, a
    residual branch is switched off until training turns it on. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "scalar"
    positional: ClassVar[tuple[str, ...]] = ("initial",)
    category: ClassVar[str] = "norm"
    reference: ClassVar[str] = (
        "Bachlechner et al. 2020, ReZero; De & Smith 2020, Batch normalization biases (SkipInit); ONNX Mul"
    )
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    initial: FiniteFloat = Field(1.0, description="Value of a fresh parameter.")
    trainable: bool = Field(True, description="Whether training changes the parameter.")
    shape: Literal["vector", "scalar"] = Field("vector", description="Shape of the parameter: (1), or ().")

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        shape = (1,) if self.shape == "vector" else ()
        return (Weight("", shape, trainable=self.trainable, initial=self.initial),)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x * weights[""].astype(x.dtype, copy=False).reshape((1,) * x.ndim)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x, weight = passed.x, passed.weights[""]
        found = {"": (dy * x).sum().reshape(weight.shape)} if passed.wanted_weights else {}
        if not passed.wanted[0]:
            return Gradients((None,), found)
        return Gradients((dy * weight.astype(dy.dtype, copy=False).reshape((1,) * dy.ndim),), found)


class Scale(Elementwise):
    """Multiplication by a number: y = by * x.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "scale"
    positional: ClassVar[tuple[str, ...]] = ("by",)
    category: ClassVar[str] = "fixed"
    reference: ClassVar[str] = "Szegedy et al. 2017, Inception-v4, section 3.3 (residual scaling); ONNX Mul"

    by: FiniteFloat = Field(description="The factor.")

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0] * self.by

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((dy * self.by,))


class Shift(Elementwise):
    """Addition of a number: y = x + by.

    Any shape; the output has the same. 1 FLOP for each element.
    """

    kind: ClassVar[str] = "shift"
    positional: ClassVar[tuple[str, ...]] = ("by",)
    category: ClassVar[str] = "fixed"
    reference: ClassVar[str] = "ONNX Add"

    by: FiniteFloat = Field(description="The number added.")

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0] + self.by

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((dy,))


Coefficient = bool | FiniteFloat | tuple[FiniteFloat, ...]


class Affine(Elementwise):
    """A scale and a shift for each channel: y_c = scale_c * x_c + shift_c.

    `true` is a parameter of shape (C): `weight` for the scale, `bias` for the shift. `false` leaves the term out. A
    number, or a list with one number for each channel, gives the values: they are constants of the spec with
    `trainable = false`, which is how `transform_input` of GoogLeNet is written, and start values of a parameter else.
    Any shape (C, ...); the output has the same. 1 FLOP for each element and term.
    Errors: E0318 where a list is not as long as the input has channels; E0309 where their number is not known and is
    needed; E0315 for a scalar.
    """

    kind: ClassVar[str] = "affine"
    positional: ClassVar[tuple[str, ...]] = ("scale", "shift")
    category: ClassVar[str] = "norm"
    reference: ClassVar[str] = "ONNX Mul and Add"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    scale: Coefficient = Field(True, description="The factors: learned, none, one number, or one for each channel.")
    shift: Coefficient = Field(True, description="The terms: learned, none, one number, or one for each channel.")
    trainable: bool = Field(True, description="Whether training changes them; given values are constants otherwise.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        for values in (self.scale, self.shift):
            if isinstance(values, tuple):
                _require_values(self.kind, len(values), x)
        self.weights(x)
        return x

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        owned = []
        for name, values, default in (("weight", self.scale, "ones"), ("bias", self.shift, "zeros")):
            if self._is_parameter(values):
                shape = (known_channels(self.kind, inputs[0]),)
                initial: Any = default if values is True else values
                owned.append(Weight(name, shape, trainable=self.trainable, initial=initial))
        return tuple(owned)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        terms = (self.scale is not False) + (self.shift is not False)
        return None if elements is None else Cost(flops=terms * elements)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        y = inputs[0]
        if self.scale is not False:
            y = y * self._coefficient(xp, self.scale, weights.get("weight"), y)
        if self.shift is not False:
            y = y + self._coefficient(xp, self.shift, weights.get("bias"), y)
        return y

    def _is_parameter(self, values: Coefficient) -> bool:
        return values is True or (values is not False and self.trainable)

    def _coefficient(self, xp: Any, values: Coefficient, weight: Array | None, x: Array) -> Array:
        if self._is_parameter(values):
            return per_channel(weight, x)
        return per_channel(xp.asarray(values), x) if isinstance(values, tuple) else values

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        found = {}
        if "weight" in passed.wanted_weights:
            found["weight"] = sum_per_channel(dy * x)
        if "bias" in passed.wanted_weights:
            found["bias"] = sum_per_channel(dy)
        if not passed.wanted[0] or self.scale is False:
            return Gradients((dy,), found)
        return Gradients((dy * self._coefficient(xp, self.scale, passed.weights.get("weight"), dy),), found)


class Grayscale(Layer):
    """Brightness of a colour image: y = 0.299 R + 0.587 G + 0.114 B.

    Shape (3, ...), channels red, green, blue, in any unit; the output is (1, ...), in the same unit. Other
    coefficients may be given, one for each channel. 5 FLOPs for each output. Fixed: it owns no weights.
    Errors: E0318 where the input does not have as many channels as there are coefficients.
    """

    kind: ClassVar[str] = "grayscale"
    positional: ClassVar[tuple[str, ...]] = ("coefficients",)
    category: ClassVar[str] = "fixed"
    reference: ClassVar[str] = "ITU-R BT.601, section 2.5.1 (luma)"

    coefficients: tuple[FiniteFloat, ...] = Field(
        (0.299, 0.587, 0.114), min_length=1, description="Weight of each channel in the sum."
    )

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        _require_values(self.kind, len(self.coefficients), x)
        return TensorType((1, *x.spatial))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        return None if elements is None else Cost(flops=(2 * len(self.coefficients) - 1) * elements)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        y = x[:, :1] * self.coefficients[0]
        for channel, coefficient in enumerate(self.coefficients[1:], start=1):
            y += x[:, channel : channel + 1] * coefficient
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        coefficients = xp.asarray(self.coefficients, dtype=dy.dtype)
        return Gradients((dy * per_channel(coefficients, dy),))


def _require_values(kind: str, count: int, type: TensorType) -> None:
    """Raises E0318 where `count` given values are not one for each channel."""
    channels = known_channels(kind, type)
    if channels != count:
        raise LayerError(
            "E0318",
            f"{kind} has values for {count} channels, and its input is {type}, which has {channels}",
            f"give {channels} {'value' if channels == 1 else 'values'}, one for each channel",
        )


LAYERS: tuple[type[Layer], ...] = (LayerScale, Scalar, Scale, Shift, Affine, Grayscale)
