"""Convolution: a small window slides over the input, and the same weights are applied at every position.

    y[k, i] = bias[k] + sum over c, j of  weight[k, c, j] * x[c, i * stride - padding + j * dilation]

i and j run over all spatial axes. This is the cross-correlation that the field calls a convolution; `flip_kernel` makes
it the convolution of mathematics and signal processing. Sizes: see netdsl/layers/sizes.py.

Legend: N batch, C channels of the input, K filters, G groups, f extents of the kernel, o extents of the output.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, Nested, Passed, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.axes import known, per_channel, sum_per_channel
from netdsl.layers.correlate import correlate, input_gradient, weight_gradient
from netdsl.layers.patches import padded, type_of, unpadded
from netdsl.layers.sizes import Count, Padding, PaddingMode, Slide, Steps, check_padding, slides
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
