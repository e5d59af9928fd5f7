"""Convolution: a small window slides over the input, and the same weights are applied at every position.

    y[k, i] = bias[k] + sum over c, j of  weight[k, c, j] * x[c, i * stride - padding + j * dilation]

i and j run over all spatial axes. This is the cross-correlation that the field calls a convolution; `flip_kernel` makes
it the convolution of mathematics and signal processing. Sizes: see netdsl/layers/sizes.py.

Legend: N batch, C channels of the input, K filters, G groups, f extents of the kernel, o extents of the output.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, LayerError, Nested, Passed, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.axes import known, per_channel, sum_per_channel
from netdsl.layers.correlate import correlate, input_gradient, weight_gradient
from netdsl.layers.patches import padded, type_of, unpadded
from netdsl.layers.sizes import (
    Count,
    Padding,
    PaddingMode,
    Slide,
    Steps,
    check_groups,
    check_padding,
    slides,
)
from netdsl.layers.values import Bias, Values, stated, weight_and_bias


class AnyConvolution(Layer):
    """Base of the convolutions: all but how many filters there are, and which channels each of them reads."""

    category: ClassVar[str] = "conv"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    kernel: Steps = Field(description="Extent of the window: a number for a square, or one for each axis (3x5).")
    stride: Steps = Field(1, description="Step between neighbouring windows, for all axes or for each.")
    padding: Padding = Field(
        0,
        description="Positions added around the input: a number, one for each axis (height, width), or one for each "
        "side (top, bottom, left, right); `valid` is none, `half` is (f - 1) / 2, `same` makes the output "
        "ceil(n / stride).",
    )
    dilation: Steps = Field(1, description="Step between neighbouring taps of the kernel, for all axes or for each.")
    bias: Bias = Field(True, description="Whether a number is added to each output channel; or these numbers.")
    padding_mode: PaddingMode = Field("zeros", description="What the added positions hold.")
    flip_kernel: bool = Field(False, description="Turn the kernel around: the convolution of signal processing.")
    weight: Values | None = Field(
        None,
        description="Values of the weight: one kernel for all filters and channels, one for each filter, or all of "
        "them; a single number stands for all.",
    )
    trainable: bool = Field(True, description="Whether training changes the weight and the bias.")

    @abstractmethod
    def _filters(self, x: TensorType) -> int:
        """K."""

    @abstractmethod
    def _groups(self, x: TensorType) -> int:
        """G, which divides C and K."""

    def _weight_shape(self, x: TensorType, slide: Sequence[Slide]) -> tuple[int, ...]:
        return (self._filters(x), self._channels(x) // self._groups(x), *(axis.f for axis in slide))

    def _channels(self, x: TensorType) -> int:
        return known(self.kind, "the number of channels", x.channels, x)

    def _links(self, x: TensorType) -> int:
        """Pairs of a filter and a channel that it reads."""
        return self._filters(x) * (self._channels(x) // self._groups(x))

    def slides(self, x: TensorType) -> tuple[Slide, ...]:
        """How the window slides along each spatial axis."""
        return slides(self.kind, x, self.kernel, self.stride, self.padding, self.dilation)

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        slide = self.slides(x)
        check_padding(self.kind, x, [(axis.before, axis.after) for axis in slide], self.padding_mode)
        self.weights(x)
        return TensorType((self._filters(x), *(axis.o for axis in slide)))

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        shape = self._weight_shape(x, self.slides(x))
        values = None if self.weight is None else self._stated(self.weight, shape)
        return weight_and_bias(self.kind, shape, values, self.bias, self._filters(x), self.trainable)

    def _stated(self, values: Nested, shape: tuple[int, ...]) -> Nested:
        """Stated values laid out so that they broadcast to `shape`, which is (K, C / G, *f)."""
        filters, channels, *rest = shape
        kernel = tuple(rest)
        each = (filters, *kernel)
        one = [(channels, *kernel)] if filters == 1 else []
        found = stated(self.kind, "weight", values, [kernel, each, *one, (filters, 1, *kernel), shape])
        if isinstance(found, tuple) and _rank(found) == len(each) and len(found) == filters:
            return tuple((row,) for row in found)  # (K, *f) -> (K, 1, *f)
        return found

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        """MACs: outputs times weights of a filter. FLOPs: the additions of the bias."""
        (x,) = inputs
        positions = TensorType(output.spatial).elements
        if positions is None:
            return None
        macs = positions * self._links(x) * prod(axis.f for axis in self.slides(x))
        biases = 0 if self.bias is False else positions * self._filters(x)
        return Cost(macs, biases, macs + biases)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return window_of(self.slides(inputs[0]))

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        (x,) = inputs
        slide = self.slides(x)
        filters, channels, links, groups = self._filters(x), self._channels(x), self._links(x), self._groups(x)
        kernel = working.product(*(axis.f for axis in slide))
        each = f"{channels:,} channels" if groups == 1 else f"{channels:,} / {groups:,} channels"
        weights = f"{filters:,} filters * ({each} * {kernel})"
        if links != filters * (channels // groups):  # a table says which filter reads which channel
            weights = f"{links:,} kernels * {kernel}"
        cost = self.cost(inputs, output)
        macs = working.result(None if cost is None else cost.macs)
        return {
            "output": [f"channels = filters = {filters:,}", *working.slid(x, slide)],
            "parameters": [
                f"weight: {weights} = {links * prod(axis.f for axis in slide):,}",
                *working.biases(filters, self.bias),
            ],
            "macs": [f"{working.product(*output.spatial)} positions * {weights}{macs}"],
        }

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        type = type_of(x)
        slide = self.slides(type)
        kernels = self._kernels(xp, weights, x.shape[1], slide).astype(x.dtype, copy=False)
        x = padded(xp, x, [(axis.before, axis.after) for axis in slide], self.padding_mode)
        y = correlate(xp, x, kernels, slide, self._groups(type))
        if self.bias is not False:
            y += per_channel(weights["bias"], y)
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x, weights = passed.x, passed.weights
        type = type_of(x)
        slide = self.slides(type)
        groups = self._groups(type)
        sides = [(axis.before, axis.after) for axis in slide]
        kernels = self._kernels(xp, weights, x.shape[1], slide).astype(x.dtype, copy=False)
        found = {"bias": sum_per_channel(dy)} if "bias" in passed.wanted_weights else {}
        if passed.wanted_weights - {"bias"}:
            dw = weight_gradient(xp, dy, padded(xp, x, sides, self.padding_mode), kernels.shape, slide, groups)
            found |= self._kernels_gradient(xp, dw, weights)
        if not passed.wanted[0]:
            return Gradients((None,), found)
        extents = [n + before + after for n, (before, after) in zip(x.shape[2:], sides, strict=True)]
        dx = input_gradient(xp, dy, kernels, extents, slide, groups)
        return Gradients((unpadded(xp, dx, sides, self.padding_mode),), found)

    def _kernels(self, xp: Any, weights: Mapping[str, Array], channels: int, slide: Sequence[Slide]) -> Array:
        """The kernels as they are laid on the input: (K, C / G, *f)."""
        kernels = self._applied(xp, weights)
        return xp.flip(kernels, _last(kernels, len(slide))) if self.flip_kernel else kernels

    def _kernels_gradient(self, xp: Any, dw: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
        """The derivatives in the weights (not the bias), by name, given that in the kernels."""
        if self.flip_kernel:
            dw = xp.flip(dw, _last(dw, dw.ndim - 2))
        return self._applied_gradient(xp, dw, weights)

    def _applied(self, xp: Any, weights: Mapping[str, Array]) -> Array:
        """The weight that is applied, made of those that are stored."""
        return weights["weight"]

    def _applied_gradient(self, xp: Any, dw: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
        """The derivatives in the weights that are stored, given that in the one that is applied."""
        return {"weight": dw}


class Convolution(AnyConvolution):
    """Base of those that apply their weights as they are stored: what follows may be folded into them."""


class Filtered(Layer):
    """Base of the layers that say how many filters they have."""

    filters: Count = Field(description="Number of output channels.")


# Fields are listed, in messages and in the documentation, from the last base to the first: filters, kernel, stride, ...
class Conv(Convolution, Filtered):
    """Convolution of (C, *spatial) to (filters, *spatial): images (C, H, W), sequences (C, L) or volumes (C, D, H, W).

    Output extent: floor((n + 2 padding - f) / stride) + 1 along each axis, where f counts the dilation in. Owns
    `weight` of shape (filters, C / groups, *kernel) and `bias` of shape (filters).

    With `connections`, filter k reads the channels in row k of the table only, as C3 of LeNet-5 does, and the weight
    keeps only the kernels that exist: shape (links, *kernel), row by row in the order of the table.

    Errors: E0301 where the kernel is larger than its padded input, E0302 where groups do not divide channels and
    filters, E0303 without spatial axes, E0304 where stated values have another shape, E0305 where an attribute has the
    wrong length, E0306 where a padding cannot be made, E0308 for a table that does not fit, E0309 where the number of
    channels is not known.
    """

    kind: ClassVar[str] = "conv"
    positional: ClassVar[tuple[str, ...]] = ("filters", "kernel")
    reference: ClassVar[str] = "LeCun et al. 1989; Dumoulin & Visin 2016, A guide to convolution arithmetic; ONNX Conv"

    groups: Count = Field(1, description="Slices of the channels that are convolved apart; divides channels, filters.")
    connections: tuple[tuple[int, ...], ...] | None = Field(
        None, description="For each filter the list of the input channels it reads, counted from 0."
    )

    def _filters(self, x: TensorType) -> int:
        return self.filters

    def _groups(self, x: TensorType) -> int:
        check_groups(self.kind, x, self._channels(x), self.filters, self.groups)
        return self.groups

    def _links(self, x: TensorType) -> int:
        return super()._links(x) if self.connections is None else sum(map(len, self.connections))

    def _weight_shape(self, x: TensorType, slide: Sequence[Slide]) -> tuple[int, ...]:
        shape = super()._weight_shape(x, slide)
        if self.connections is None:
            return shape
        self._check_connections(self.connections, x)
        return (self._links(x), *shape[2:])

    def _check_connections(self, table: tuple[tuple[int, ...], ...], x: TensorType) -> None:
        channels = self._channels(x)
        if self.groups != 1:
            raise LayerError("E0308", f"conv has connections and {self.groups} groups", "leave groups out")
        if len(table) != self.filters:
            raise LayerError(
                "E0308",
                f"conv has {self.filters} filters and a table of connections with {len(table)} rows",
                "the table has one row for each filter: the channels that it reads",
            )
        for row, read in enumerate(table):
            missing = sorted({channel for channel in read if not 0 <= channel < channels})
            if missing:
                raise LayerError(
                    "E0308",
                    f"row {row} of the connections reads channel {missing[0]}, and the input {x} has {channels}",
                    f"channels are counted from 0: 0 to {channels - 1}",
                )
            if not read or len(set(read)) < len(read):
                what = "reads a channel twice" if read else "is empty"
                raise LayerError(
                    "E0308", f"row {row} of the connections {what}", "list each channel that it reads once"
                )

    def _stated(self, values: Nested, shape: tuple[int, ...]) -> Nested:
        if self.connections is None:
            return super()._stated(values, shape)
        return stated(self.kind, "weight", values, [shape[1:], shape])

    def _kernels(self, xp: Any, weights: Mapping[str, Array], channels: int, slide: Sequence[Slide]) -> Array:
        kernels = super()._kernels(xp, weights, channels, slide)
        if self.connections is None:
            return kernels
        # Kernels that do not exist count as zeros.
        full = xp.zeros((self.filters, channels, *kernels.shape[1:]), dtype=kernels.dtype)
        full[self._table(self.connections)] = kernels
        return full

    def _kernels_gradient(self, xp: Any, dw: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
        found = super()._kernels_gradient(xp, dw, weights)
        return found if self.connections is None else {"weight": found["weight"][self._table(self.connections)]}

    def _table(self, connections: tuple[tuple[int, ...], ...]) -> tuple[list[int], list[int]]:
        """The filter and the channel of each kernel that exists."""
        rows = [row for row, read in enumerate(connections) for _ in read]
        return rows, list(chain.from_iterable(connections))


class DepthwiseConv(Convolution):
    """Convolution of each channel by itself: (C, *spatial) to (C * multiplier, *spatial).

    The same as `conv` with as many groups as channels: output channel c * multiplier + m is filter m of channel c. Owns
    `weight` of shape (C * multiplier, 1, *kernel) and `bias` of shape (C * multiplier).

    Errors: those of `conv`.
    """

    kind: ClassVar[str] = "depthwise_conv"
    positional: ClassVar[tuple[str, ...]] = ("kernel",)
    reference: ClassVar[str] = "Howard et al. 2017, MobileNets, section 3.1; ONNX Conv with group = C"

    multiplier: Count = Field(1, description="Filters for each channel.")

    def _filters(self, x: TensorType) -> int:
        return self._channels(x) * self.multiplier

    def _groups(self, x: TensorType) -> int:
        return self._channels(x)


def window_of(slide: Sequence[Slide]) -> Window:
    """What an output position sees, as `Window` says it."""
    return Window(
        tuple(axis.span for axis in slide), tuple(axis.s for axis in slide), tuple(axis.before for axis in slide)
    )


def _last(array: Array, count: int) -> tuple[int, ...]:
    """The last `count` axes."""
    return tuple(range(array.ndim - count, array.ndim))


def _rank(values: Nested) -> int:
    return 1 + _rank(values[0]) if isinstance(values, tuple) and values else 0


LAYERS: tuple[type[Layer], ...] = (Conv, DepthwiseConv)
