"""Dense layer: every output sees every input, y = weight x + bias. Along one axis, the same at every position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, LayerError, Passed, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.axes import Axis, axis_index, axis_name, known
from netdsl.layers.patches import type_of
from netdsl.layers.sizes import Count
from netdsl.layers.values import Bias, Values, stated, weight_and_bias


class Dense(Layer):
    """Dense layer (fully connected, linear) of a vector (n) to a vector (units).

    With `axis`, it works along that axis and is the same at every position of the others: `axis = channels` makes
    (C, H, W) to (units, H, W), as ConvNeXt's blocks do (PyTorch's Linear behind a permutation to channels last).

    Owns `weight` of shape (units, n) and `bias` of shape (units). MACs: units times n at each position; FLOPs: the
    additions of the bias.

    Errors: E0303 where the input is not a vector and no axis is given, E0304 where stated values have another shape,
    E0309 where n is not known, E0315 where the input has no such axis.
    """

    kind: ClassVar[str] = "dense"
    positional: ClassVar[tuple[str, ...]] = ("units",)
    category: ClassVar[str] = "dense"
    reference: ClassVar[str] = "Rosenblatt 1958, The perceptron; ONNX Gemm"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    units: Count = Field(description="Number of outputs.")
    bias: Bias = Field(True, description="Whether a number is added to each output; or these numbers.")
    weight: Values | None = Field(
        None,
        description="Values of the weight: one row for all units, or a row for each; a single number stands for all.",
    )
    trainable: bool = Field(True, description="Whether training changes the weight and the bias.")
    axis: Axis | None = Field(None, description="Work along this axis, at every position; else the input is a vector.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        self.weights(x)
        along = 0 if self.axis is None else axis_index(self.kind, self.axis, x)
        return TensorType((*x.shape[:along], self.units, *x.shape[along + 1 :]))

    def _features(self, x: TensorType) -> int:
        """n. Raises E0303, E0309 or E0315."""
        if self.axis is None:
            return features(self.kind, x)
        along = axis_index(self.kind, self.axis, x)
        return known(self.kind, f"the extent of the {axis_name(along, x.rank)}", x.shape[along], x)

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        shape = (self.units, self._features(x))
        values = self.weight
        if values is not None:
            values = stated(self.kind, "weight", values, [shape[1:], shape])
        return weight_and_bias(self.kind, shape, values, self.bias, self.units, self.trainable)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        outputs = output.elements
        if outputs is None:
            return None
        macs = outputs * self._features(inputs[0])
        biases = 0 if self.bias is False else outputs
        return Cost(macs, biases, macs + biases)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        (x,) = inputs
        pointwise = self.axis is not None and x.rank > 1 and axis_index(self.kind, self.axis, x) == 0
        return None if pointwise else Global()

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        n = self._features(inputs[0])
        cost = self.cost(inputs, output)
        outputs = f"{self.units:,} units" if output.rank == 1 else f"{working.product(*output.shape)} outputs"
        return {
            "output": [f"units = {self.units:,}"],
            "parameters": [
                f"weight: {self.units:,} units * {n:,} inputs = {self.units * n:,}",
                *working.biases(self.units, self.bias),
            ],
            "macs": [f"{outputs} * {n:,} inputs" + working.result(None if cost is None else cost.macs)],
        }

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        along = 1 if self.axis is None else 1 + axis_index(self.kind, self.axis, type_of(x))
        y = xp.moveaxis(x, along, -1) @ weights["weight"].astype(x.dtype, copy=False).T
        if self.bias is not False:
            y += weights["bias"].astype(y.dtype, copy=False)
        return xp.moveaxis(y, -1, along)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        along = 1 if self.axis is None else 1 + axis_index(self.kind, self.axis, type_of(x))
        rows = xp.moveaxis(dy, along, -1)
        found = {}
        if "weight" in passed.wanted_weights:
            # (units, positions) @ (positions, n), where positions are those of all images
            columns = xp.moveaxis(x, along, -1)
            found["weight"] = rows.reshape(-1, self.units).T @ columns.reshape(-1, columns.shape[-1])
        if "bias" in passed.wanted_weights:
            found["bias"] = rows.reshape(-1, self.units).sum(axis=0)
        if not passed.wanted[0]:
            return Gradients((None,), found)
        dx = rows @ passed.weights["weight"].astype(dy.dtype, copy=False)
        return Gradients((xp.moveaxis(dx, -1, along),), found)


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
    if x.shape[0] is None:
        raise LayerError(
            "E0309",
            f"{kind} needs the length of its input, which is only known when the network runs",
            "give every extent in the shape of the network's input, or make maps of a size that does not depend on it: "
            "global_avg_pool -> flatten",
        )
    return x.shape[0]


LAYERS: tuple[type[Layer], ...] = (Dense,)
