"""Joins: several tensors become one. Sums, products, extremes, means, magnitudes and concatenation.

The lanes of an elementwise join have the same rank, and along each axis the same extent or 1, which is repeated: the
(C, 1, 1) of a squeeze-and-excitation gate fits an image (C, H, W). Unknown extents fit any.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import MANY, Arity, Array, Cost, Gradients, Layer, Passed
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.axes import Axis, axis_index, axis_name, known_channels, require_divisible
from netdsl.layers.lanes import broadcast, concatenate, to_lane


class Join(Layer):
    """Base of the elementwise joins."""

    arity: ClassVar[Arity] = MANY
    category: ClassVar[str] = "join"

    def infer(self, *inputs: TensorType) -> TensorType:
        return broadcast(self.kind, inputs)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        return None if elements is None else Cost(flops=self.operations(len(inputs)) * elements)

    def operations(self, lanes: int) -> int:
        """FLOPs for each output element."""
        return lanes - 1

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients(
            tuple(
                to_lane(self._gradient(xp, dy, passed, number), lane) if wanted else None
                for number, (lane, wanted) in enumerate(zip(passed.inputs, passed.wanted, strict=True))
            )
        )

    @abstractmethod
    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        """The derivative in lane `number`, which may be repeated already: of the shape of `dy`."""


class Add(Join):
    """Sum of the lanes: y = x_1 + x_2 + ....

    Lanes of the same shape, up to extents of 1; one lane passes unchanged. FLOPs for each output: lanes - 1.
    Errors: E0311 where lanes do not fit.
    """

    kind: ClassVar[str] = "add"
    reference: ClassVar[str] = "He et al. 2016, Deep residual learning for image recognition, eq. 1; ONNX Sum"

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return reduce(xp.add, inputs)

    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        return dy


class Multiply(Join):
    """Product of the lanes: y = x_1 * x_2 * ....

    Lanes of the same shape, up to extents of 1; one lane passes unchanged. FLOPs for each output: lanes - 1.
    Errors: E0311 where lanes do not fit.
    """

    kind: ClassVar[str] = "multiply"
    reference: ClassVar[str] = "Hu et al. 2018, Squeeze-and-excitation networks, eq. 4; ONNX Mul"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return reduce(xp.multiply, inputs)

    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        others = [lane for index, lane in enumerate(passed.inputs) if index != number]
        return reduce(xp.multiply, others, dy)


class Subtract(Join):
    """Difference of two lanes: y = x_1 - x_2.

    Two lanes of the same shape, up to extents of 1. 1 FLOP for each output. Errors: E0311 where lanes do not fit.
    """

    kind: ClassVar[str] = "subtract"
    arity: ClassVar[Arity] = Arity(2, 2)
    reference: ClassVar[str] = "ONNX Sub"

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0] - inputs[1]

    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        return -dy if number else dy


class Divide(Join):
    """Quotient of two lanes: y = x_1 / x_2; by zero it is infinite or NaN.

    Two lanes of the same shape, up to extents of 1. 1 FLOP for each output. Errors: E0311 where lanes do not fit.
    """

    kind: ClassVar[str] = "divide"
    arity: ClassVar[Arity] = Arity(2, 2)
    reference: ClassVar[str] = "ONNX Div"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0] / inputs[1]

    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        a, b = passed.inputs
        return dy * (-a / (b * b)) if number else dy / b


class Maximum(Join):
    """The largest of the lanes at each element (maxout).

    Lanes of the same shape, up to extents of 1. FLOPs for each output: lanes - 1. Errors: E0311 where lanes do not fit.
    """

    kind: ClassVar[str] = "maximum"
    reference: ClassVar[str] = "Goodfellow et al. 2013, Maxout networks, section 2; ONNX Max"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs", "output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return reduce(xp.maximum, inputs)

    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        return shared(xp, dy, passed.inputs, passed.output, number)


class Minimum(Join):
    """The smallest of the lanes at each element.

    Lanes of the same shape, up to extents of 1. FLOPs for each output: lanes - 1. Errors: E0311 where lanes do not fit.
    """

    kind: ClassVar[str] = "minimum"
    reference: ClassVar[str] = "ONNX Min"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs", "output"})

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return reduce(xp.minimum, inputs)

    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        return shared(xp, dy, passed.inputs, passed.output, number)


class Average(Join):
    """Mean of the lanes: y = (x_1 + ... + x_n) / n.

    Lanes of the same shape, up to extents of 1. FLOPs for each output: n (n - 1 additions and a division), 0 for one
    lane. Errors: E0311 where lanes do not fit.
    """

    kind: ClassVar[str] = "average"
    reference: ClassVar[str] = "ONNX Mean"

    def operations(self, lanes: int) -> int:
        return lanes if lanes > 1 else 0

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return reduce(xp.add, inputs) / len(inputs)

    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        return dy / len(passed.inputs)


class Magnitude(Join):
    """Length of the vector whose components are the lanes: y = sqrt(x_1^2 + ... + x_n^2).

    The strength of an edge, when the lanes are its derivatives; the absolute value, for one lane. Lanes of the same
    shape, up to extents of 1. FLOPs for each output: 2 n (n squares, n - 1 additions, a root). Does not overflow.
    Errors: E0311 where lanes do not fit.
    """

    kind: ClassVar[str] = "magnitude"
    reference: ClassVar[str] = "Sobel & Feldman 1968, A 3x3 isotropic gradient operator; ONNX ReduceL2"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs", "output"})

    def operations(self, lanes: int) -> int:
        return 2 * lanes

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return reduce(xp.hypot, inputs[1:], xp.abs(inputs[0]))

    def _gradient(self, xp: Any, dy: Array, passed: Passed, number: int) -> Array:
        # Where all lanes are 0 no direction is the steepest: 0, as PyTorch.
        length = xp.where(passed.output == 0, 1, passed.output)
        return dy * (passed.inputs[number] / length)


class Concat(Layer):
    """Lays the lanes end to end along one axis, the channels unless it is said.

    (C_1, H, W), (C_2, H, W), ... become (C_1 + C_2 + ..., H, W). No FLOPs.
    Errors: E0311 where lanes differ along another axis; E0315 where they have no such axis.
    """

    kind: ClassVar[str] = "concat"
    arity: ClassVar[Arity] = MANY
    category: ClassVar[str] = "join"
    reference: ClassVar[str] = "Szegedy et al. 2015, Going deeper with convolutions, section 4; ONNX Concat"

    axis: Axis = Field("channels", description="The axis along which the lanes follow each other.")

    def infer(self, *inputs: TensorType) -> TensorType:
        return concatenate(self.kind, inputs, axis_index(self.kind, self.axis, inputs[0]))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return Cost()

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        axis = axis_index(self.kind, self.axis, inputs[0])
        lanes = " + ".join(working.number(lane.shape[axis]) for lane in inputs)
        return {"output": [f"{axis_name(axis, output.rank)} = {lanes}{working.result(output.shape[axis])}"]}

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        axis = axis_index(self.kind, self.axis, TensorType(tuple(inputs[0].shape[1:])))
        return xp.concatenate(list(inputs), axis=1 + axis)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        axis = 1 + axis_index(self.kind, self.axis, TensorType(tuple(passed.x.shape[1:])))
        found: list[Array | None] = []
        start = 0
        for lane, wanted in zip(passed.inputs, passed.wanted, strict=True):
            end = start + lane.shape[axis]
            found.append(dy[(slice(None),) * axis + (slice(start, end),)] if wanted else None)
            start = end
        return Gradients(tuple(found))


class SumGroups(Layer):
    """Sum of `groups` equal slices of the channels: (C, ...) becomes (C / groups, ...).

    Channel i of the output is the sum of channel i of every slice. Behind a `softmax(groups = r)` and a product it is
    the weighted sum of r branches (selective kernels, split attention). FLOPs for each output: groups - 1.
    Errors: E0312 where groups do not divide the channels; E0309 where their number is not known; E0315 for a scalar.
    """

    kind: ClassVar[str] = "sum_groups"
    positional: ClassVar[tuple[str, ...]] = ("groups",)
    category: ClassVar[str] = "join"
    reference: ClassVar[str] = "Li et al. 2019, Selective kernel networks, eq. 1 and 6; ONNX ReduceSum"

    groups: int = Field(ge=1, description="Number of slices; divides the channels.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        width = require_divisible(self.kind, "channels", known_channels(self.kind, x), self.groups, "groups")
        return TensorType((width, *x.spatial))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        return None if elements is None else Cost(flops=(self.groups - 1) * elements)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        # (N, groups, C / groups, ...)
        return x.reshape(x.shape[0], self.groups, x.shape[1] // self.groups, *x.shape[2:]).sum(axis=1)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        each = xp.broadcast_to(dy[:, None], (x.shape[0], self.groups, *dy.shape[1:]))
        return Gradients((each.reshape(x.shape),))


def shared(xp: Any, dy: Array, inputs: Sequence[Array], output: Array, number: int) -> Array:
    """The share of lane `number` in an extreme: all of it where it alone has the value of the output, an equal share
    where several lanes have (as PyTorch)."""
    winners = sum((lane == output).astype(dy.dtype) for lane in inputs)
    return xp.where(inputs[number] == output, dy / xp.maximum(winners, 1), 0)


LAYERS: tuple[type[Layer], ...] = (
    Add, Multiply, Subtract, Divide, Maximum, Minimum, Average, Magnitude, Concat, SumGroups,
)  # fmt: skip
