"""Dense layer: every output sees every input. y = weight x + bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Layer, LayerError, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers.axes import known, per_channel
from netdsl.layers.sizes import Count
from netdsl.layers.values import Bias, Values, stated, weight_and_bias


class Dense(Layer):
    """Dense layer (fully connected, linear) of a vector (n) to a vector (units).

    Owns `weight` of shape (units, n) and `bias` of shape (units). MACs: units times n; FLOPs: the additions of the
    bias.

    Errors: E0303 where the input is not a vector, E0304 where stated values have another shape, E0309 where n is not
    known.
    """

    kind: ClassVar[str] = "dense"
    positional: ClassVar[tuple[str, ...]] = ("units",)
    category: ClassVar[str] = "dense"
    reference: ClassVar[str] = "Rosenblatt 1958, The perceptron; ONNX Gemm"

    units: Count = Field(description="Number of outputs.")
    bias: Bias = Field(True, description="Whether a number is added to each output; or these numbers.")
    weight: Values | None = Field(
        None,
        description="Values of the weight: one row for all units, or a row for each; a single number stands for all.",
    )
    trainable: bool = Field(True, description="Whether training changes the weight and the bias.")

    def infer(self, *inputs: TensorType) -> TensorType:
        self.weights(*inputs)
        return TensorType((self.units,))

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        shape = (self.units, features(self.kind, x))
        values = self.weight
        if values is not None:
            values = stated(self.kind, "weight", values, [shape[1:], shape])
        return weight_and_bias(self.kind, shape, values, self.bias, self.units, self.trainable)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        macs = self.units * features(self.kind, inputs[0])
        biases = 0 if self.bias is False else self.units
        return Cost(macs, biases, macs + biases)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global()

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        y = x @ weights["weight"].astype(x.dtype, copy=False).T
        if self.bias is not False:
            y += per_channel(weights["bias"], y)
        return y


def features(kind: str, x: TensorType) -> int:
    """The length of a vector. Raises E0303 where `x` is none, E0309 where its length is not known."""
    if x.rank != 1:
        elements = f" of {x.elements}" if x.elements is not None else ""
        raise LayerError(
            "E0303",
            f"{kind} needs a vector, and its input is {x}",
            f"flatten first, which makes a vector{elements}: flatten -> {kind}(...); "
            "or pool each map to one number: global_avg_pool -> flatten"
            if x.rank
            else None,
        )
    return known(kind, "the length of its input", x.shape[0], x)


LAYERS: tuple[type[Layer], ...] = (Dense,)
