"""Softmax and its logarithm: numbers along an axis become a distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from netdsl.ir.layer import Array, Cost, Global, Gradients, Passed, Window
from netdsl.ir.types import TensorType
from netdsl.layers.axes import Axis, axis_index, known_channels, require_divisible
from netdsl.layers.elementwise import Elementwise


class _Softmax(Elementwise):
    """What softmax and its logarithm share: the axis."""

    category: ClassVar[str] = "activation"
    positional: ClassVar[tuple[str, ...]] = ("axis",)

    axis: Axis = Field("channels", description="The axis along which the outputs sum to 1, by name or counted from 0.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        axis_index(self.kind, self.axis, x)
        return x

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global() if axis_index(self.kind, self.axis, inputs[0]) else None

    def distributions(self, x: TensorType) -> int | None:
        """How many groups of numbers that sum to 1 a tensor holds."""
        shape = list(x.shape)
        shape[axis_index(self.kind, self.axis, x)] = 1
        return TensorType(tuple(shape)).elements


class Softmax(_Softmax):
    """Softmax over the channels at each position: y_i = e^x_i / sum_j e^x_j.

    With `groups = r` the C channels are r equal slices, and the softmax runs over the slices: channel i of one slice
    competes with channel i of the others (the radix softmax of split attention). Any shape; the output has the same.
    Over n values: n exponentials, n - 1 additions, n divisions. A softmax along a spatial axis sees the whole input.
    Errors: E0315 where the tensor has no such axis; E0312 where groups do not divide the channels; E0309 where groups
    are given and the number of channels is not known.
    """

    kind: ClassVar[str] = "softmax"
    reference: ClassVar[str] = "Bridle 1990; ResNeSt (Zhang et al. 2020), eq. 1, for groups; ONNX Softmax"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    groups: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Number of equal slices of the channels that compete with each other; none: all channels do."
    )

    @model_validator(mode="after")
    def _groups_are_of_channels(self) -> Softmax:
        if self.groups is not None and self.axis not in ("channels", 0):
            raise ValueError("groups are slices of the channels: leave axis out")
        return self

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if self.groups is not None:
            channels = known_channels(self.kind, x)
            require_divisible(self.kind, "channels", channels, self.groups, "groups")
        return super().infer(x)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        sums = self.distributions(output)
        if elements is None or sums is None:
            return None
        if self.groups is not None:
            sums = elements // self.groups
        return Cost(flops=3 * elements - sums)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = self._in_groups(inputs[0])
        axis = _batched_axis(self, inputs[0])
        e = xp.exp(x - x.max(axis=axis, keepdims=True))
        e /= e.sum(axis=axis, keepdims=True)
        return e.reshape(inputs[0].shape)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        axis = _batched_axis(self, passed.x)
        y, dy = self._in_groups(passed.output), self._in_groups(dy)
        dx = y * (dy - (dy * y).sum(axis=axis, keepdims=True))
        return Gradients((dx.reshape(passed.x.shape),))

    def _in_groups(self, x: Array) -> Array:
        """With groups, (N, C, ...) as (N, groups, C / groups, ...)."""
        if self.groups is None:
            return x
        return x.reshape(x.shape[0], self.groups, x.shape[1] // self.groups, *x.shape[2:])


class LogSoftmax(_Softmax):
    """Logarithm of the softmax over the channels at each position: y_i = x_i - log sum_j e^x_j.

    Any shape; the output has the same. Over n values: n exponentials, n - 1 additions, one logarithm, n subtractions.
    Errors: E0315 where the tensor has no such axis.
    """

    kind: ClassVar[str] = "log_softmax"
    reference: ClassVar[str] = "ONNX LogSoftmax"
    keeps: ClassVar[frozenset[str]] = frozenset({"output"})

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        return None if elements is None else Cost(flops=3 * elements)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        axis = _batched_axis(self, inputs[0])
        z = inputs[0] - inputs[0].max(axis=axis, keepdims=True)
        return z - xp.log(xp.exp(z).sum(axis=axis, keepdims=True))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        axis = _batched_axis(self, passed.x)
        return Gradients((dy - xp.exp(passed.output) * dy.sum(axis=axis, keepdims=True),))


def _batched_axis(layer: _Softmax, x: Array) -> int:
    """The axis of a batch along which a softmax runs."""
    return 1 + axis_index(layer.kind, layer.axis, TensorType(tuple(x.shape[1:])))
