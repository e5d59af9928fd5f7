"""Reduction: the mean, the extremes or the sum along axes that stay, with extent 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, Passed, Window
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.axes import Axes, axes_indices, axis_name
from netdsl.layers.patches import type_of


class Reduce(Layer):
    """Reduces along axes, which stay with extent 1: `reduce(mean)` makes (1, H, W) of (C, H, W).

    The output fits the input again in a join, because extents of 1 are repeated there: mean and maximum over the
    channels, laid end to end, are what the spatial attention of CBAM looks at; `reduce(mean, width)` and
    `reduce(mean, height)` are the two pools of coordinate attention. A mean costs one addition or division for each
    element of the input, the others one operation less for each element of the output. Along a spatial axis it counts
    as seeing the whole input.
    Errors: E0315 where the tensor has no such axis, or an axis is named twice.
    """

    kind: ClassVar[str] = "reduce"
    positional: ClassVar[tuple[str, ...]] = ("how", "axis")
    category: ClassVar[str] = "pool"
    reference: ClassVar[str] = (
        "Woo et al. 2018, CBAM, section 3; ONNX ReduceMean, ReduceMax, ReduceMin, ReduceSum with keepdims"
    )
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs", "output"})

    how: Literal["mean", "max", "min", "sum"] = Field(description="What is made of the numbers along the axes.")
    axis: Axes = Field(
        "channels",
        description="The axis by name or counted from 0; a list for several; `positions` for all spatial axes.",
    )

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        axes = axes_indices(self.kind, self.axis, x)
        return TensorType(tuple(1 if axis in axes else extent for axis, extent in enumerate(x.shape)))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements, made = inputs[0].elements, output.elements
        if elements is None or made is None:
            return None
        return Cost(flops=elements if self.how == "mean" else elements - made)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        (x,) = inputs
        axes = axes_indices(self.kind, self.axis, x)
        return Global() if any(axis and x.shape[axis] != 1 for axis in axes) else None

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        (x,) = inputs
        axes = axes_indices(self.kind, self.axis, x)
        names = " and ".join(axis_name(axis, x.rank) for axis in axes)
        together = TensorType(tuple(x.shape[axis] for axis in axes))
        count = working.product(*together.shape) + (working.result(together.elements) if len(axes) > 1 else "")
        return {"output": [f"{names}: the {self.how} of {count}", "the other axes stay"]}

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        axes = tuple(1 + axis for axis in axes_indices(self.kind, self.axis, type_of(x)))
        return getattr(x, self.how)(axis=axes, keepdims=True)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        if self.how == "sum":
            return Gradients((xp.broadcast_to(dy, x.shape),))
        if self.how == "mean":
            return Gradients((xp.broadcast_to(dy / (x.size // dy.size), x.shape),))
        # Several that are the largest have equal shares, as PyTorch's amax.
        axes = tuple(1 + axis for axis in axes_indices(self.kind, self.axis, type_of(x)))
        hit = x == passed.output
        share = dy / xp.maximum(hit.sum(axis=axes, keepdims=True), 1).astype(dy.dtype)
        return Gradients((xp.where(hit, share, 0),))


LAYERS: tuple[type[Layer], ...] = (Reduce,)
