"""Transposed convolution: every input lays the kernel, times itself, on the output, and what overlaps is added.

    y[k, i * s + j * d - p_before] += weight[c, k, j] * x[c, i]

    o = (n - 1) s - p_before - p_after + e + output_padding        with e = d (f - 1) + 1   (Dumoulin & Visin 2016, § 4)

Letters as in netdsl/layers/sizes.py. Padding is what is cut off from the output; `same` makes o = n s, as TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, LayerError, Passed, Weight, Window
from netdsl.ir.types import Extent, TensorType
from netdsl.layers import working
from netdsl.layers.axes import known, per_channel, sum_per_channel
from netdsl.layers.patches import type_of
from netdsl.layers.sizes import (
    Count,
    Margins,
    Padding,
    Steps,
    check_groups,
    half,
    margins,
    per_axis,
    spatial_rank,
)
from netdsl.layers.values import Bias, Values, stated, weight_and_bias


class Spread(NamedTuple):
    """How the kernel is laid out along one axis; letters as in netdsl/layers/sizes.py."""

    n: Extent
    f: int
    s: int
    d: int
    before: int
    """Positions cut off in front; those behind follow from o."""
    o: Extent

    @property
    def span(self) -> int:
        return self.d * (self.f - 1) + 1


class ConvTranspose(Layer):
    """Transposed convolution of (C, *spatial) to (filters, *spatial), with as many spatial axes as there are.

    Output extent: (n - 1) stride - 2 padding + dilation (f - 1) + 1 + output_padding along each axis. Owns `weight` of
    shape (C, filters / groups, *kernel) and `bias` of shape (filters). MACs: inputs times weights that each of them
    meets; FLOPs: the additions of the bias.

    Errors: E0302 where groups do not divide channels and filters, E0303 without spatial axes, E0304 where stated values
    have another shape, E0305 where an attribute has the wrong length, E0306 where the output padding is not below
    stride or dilation, E0307 where the padding cuts everything off, E0309 where the number of channels is not known.
    """

    kind: ClassVar[str] = "conv_transpose"
    positional: ClassVar[tuple[str, ...]] = ("filters", "kernel")
    category: ClassVar[str] = "conv"
    reference: ClassVar[str] = "Dumoulin & Visin 2016, A guide to convolution arithmetic, section 4; ONNX ConvTranspose"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    filters: Count = Field(description="Number of output channels.")
    kernel: Steps = Field(description="Extent of the kernel: a number for a square, or one for each axis.")
    stride: Steps = Field(1, description="Step between the kernels of neighbouring inputs, for all axes or for each.")
    padding: Padding = Field(
        0,
        description="Positions cut off from the output: a number, one for each axis (height, width), or one for each "
        "side (top, bottom, left, right); `valid` is none, `half` is (f - 1) / 2, `same` makes the output n stride.",
    )
    output_padding: Margins = Field(
        0, description="Positions added behind, for all axes or for each: of sizes that one stride makes alike, which."
    )
    dilation: Steps = Field(1, description="Step between neighbouring taps of the kernel, for all axes or for each.")
    groups: Count = Field(1, description="Slices of the channels that are convolved apart; divides channels, filters.")
    bias: Bias = Field(True, description="Whether a number is added to each output channel; or these numbers.")
    weight: Values | None = Field(
        None, description="Values of the weight: one kernel for all, or all of them; a single number stands for all."
    )
    trainable: bool = Field(True, description="Whether training changes the weight and the bias.")

    def spreads(self, x: TensorType) -> tuple[Spread, ...]:
        """How the kernel is laid out along each spatial axis. Raises LayerError."""
        rank = spatial_rank(self.kind, x)
        f = per_axis(self.kind, "kernel", self.kernel, x)
        s = per_axis(self.kind, "stride", self.stride, x)
        d = per_axis(self.kind, "dilation", self.dilation, x)
        extra = per_axis(self.kind, "output_padding", self.output_padding, x)
        spans = [d[axis] * (f[axis] - 1) + 1 for axis in range(rank)]
        found = []
        for axis, (n, (before, after)) in enumerate(zip(x.spatial, self._sides(x, spans, s), strict=True)):
            if extra[axis] >= max(s[axis], d[axis], 1):
                raise LayerError(
                    "E0306",
                    f"conv_transpose has output_padding {extra[axis]}, stride {s[axis]} and dilation {d[axis]}",
                    "output_padding is below the stride or the dilation",
                )
            o = None if n is None else (n - 1) * s[axis] + spans[axis] - before - after + extra[axis]
            if o is not None and o < 1:
                raise LayerError(
                    "E0307",
                    f"conv_transpose of {x} makes {o + before + after} positions along an axis, and padding cuts off "
                    f"{before + after}",
                    f"padding is at most {(o + before + after - 1) // 2}, or the kernel larger",
                )
            found.append(Spread(n, f[axis], s[axis], d[axis], before, o))
        return tuple(found)

    def _sides(self, x: TensorType, spans: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """(before, after) that are cut off along each axis; negative where `same` adds positions."""
        if self.padding == "valid":
            return ((0, 0),) * len(spans)
        if self.padding == "half":
            return tuple(half(self.kind, span) for span in spans)
        if self.padding == "same":
            # n s positions are kept of (n - 1) s + e
            surplus = [span - stride for span, stride in zip(spans, strides, strict=True)]
            return tuple((max(total, 0) // 2, total - max(total, 0) // 2) for total in surplus)
        return margins(self.kind, "padding", self.padding, x)

    def _weight_shape(self, x: TensorType) -> tuple[int, ...]:
        channels = known(self.kind, "the number of channels", x.channels, x)
        check_groups(self.kind, x, channels, self.filters, self.groups)
        return (channels, self.filters // self.groups, *per_axis(self.kind, "kernel", self.kernel, x))

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        spreads = self.spreads(x)
        self.weights(x)
        return TensorType((self.filters, *(axis.o for axis in spreads)))

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        shape = self._weight_shape(x)
        values = self.weight
        if values is not None:
            values = stated(self.kind, "weight", values, [shape[2:], shape[1:], shape])
        return weight_and_bias(self.kind, shape, values, self.bias, self.filters, self.trainable)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        (x,) = inputs
        elements, outputs = x.elements, output.elements
        if elements is None or outputs is None:
            return None
        macs = elements * prod(self._weight_shape(x)[1:])
        biases = 0 if self.bias is False else outputs
        return Cost(macs, biases, macs + biases)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        """Output i sees the inputs from ceil((i + p - e + 1) / s) to floor((i + p) / s)."""
        spreads = self.spreads(inputs[0])
        return Window(
            tuple((axis.span - 1) // axis.s + 1 for axis in spreads),
            tuple(Fraction(1, axis.s) for axis in spreads),
            tuple((axis.span - 1 - axis.before) // axis.s for axis in spreads),
        )

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        (x,) = inputs
        spreads = self.spreads(x)
        formulas = []
        for axis, extra in zip(spreads, per_axis(self.kind, "output_padding", self.output_padding, x), strict=True):
            formula = f"({working.number(axis.n)} - 1) * {axis.s} + {axis.span}"
            if axis.n is not None and axis.o is not None:
                after = (axis.n - 1) * axis.s + axis.span + extra - axis.before - axis.o
                cut = f" - 2 * {axis.before}" if axis.before == after else f" - {axis.before} - {after}"
                formula += (cut if axis.before or after else "") + (f" + {extra}" if extra else "") + f" = {axis.o}"
            formulas.append(formula)
        channels, filters, *kernel = self._weight_shape(x)
        weight = working.product(channels, filters, *kernel)
        cost = self.cost(inputs, output)
        meets = working.product(filters, *kernel)
        return {
            "output": [f"channels = filters = {self.filters:,}", *working.extents(x, formulas)],
            "parameters": [
                f"weight: {weight}{working.result(channels * filters * prod(kernel))}",
                *working.biases(self.filters, self.bias),
            ],
            "macs": [
                f"{working.product(*x.shape)} inputs, each times {meets} weights"
                + working.result(None if cost is None else cost.macs)
            ],
        }

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        batch, channels = x.shape[:2]
        spreads = self.spreads(type_of(x))
        groups = self.groups
        # (C, K / G, *f) -> (*f, G, K / G, C / G)
        weight = xp.moveaxis(self._in_groups(weights["weight"], x), (0, 1, 2), (-3, -1, -2))
        y = xp.zeros((batch, self.filters, *_touched(spreads)), dtype=x.dtype)
        flat = x.reshape(batch, groups, channels // groups, -1)
        for tap, places in _laid(spreads):
            # (G, K / G, C / G) @ (N, G, C / G, positions)
            y[(slice(None), slice(None), *places)] += xp.matmul(weight[tap], flat).reshape(
                batch, self.filters, *x.shape[2:]
            )
        y = y[_kept(spreads)]
        if self.bias is not False:
            y += per_channel(weights["bias"], y)
        return xp.ascontiguousarray(y)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        """Each input meets the derivatives of all outputs that it was laid on: an ordinary convolution of them."""
        x = passed.x
        batch, channels = x.shape[:2]
        spreads = self.spreads(type_of(x))
        groups = self.groups
        weight = self._in_groups(passed.weights["weight"], x)  # (G, C / G, K / G, *f)
        found = {"bias": sum_per_channel(dy)} if "bias" in passed.wanted_weights else {}
        whole = xp.zeros((batch, self.filters, *_touched(spreads)), dtype=dy.dtype)
        whole[_kept(spreads)] = dy
        dx = xp.zeros((batch, groups, channels // groups, x[0, 0].size), dtype=dy.dtype) if passed.wanted[0] else None
        dw = xp.empty(weight.shape, dtype=dy.dtype) if "weight" in passed.wanted_weights else None
        flat = x.reshape(batch, groups, channels // groups, -1)
        for tap, places in _laid(spreads):
            met = whole[(slice(None), slice(None), *places)].reshape(batch, groups, self.filters // groups, -1)
            if dx is not None:
                dx += xp.matmul(weight[(..., *tap)], met)
            if dw is not None:
                dw[(..., *tap)] = xp.matmul(flat, met.swapaxes(2, 3)).sum(axis=0)
        if dw is not None:
            found["weight"] = dw.reshape(passed.weights["weight"].shape)
        return Gradients((None if dx is None else dx.reshape(x.shape),), found)

    def _in_groups(self, weight: Array, x: Array) -> Array:
        """(C, K / G, *f) -> (G, C / G, K / G, *f), in the type of `x`."""
        weight = weight.astype(x.dtype, copy=False)
        return weight.reshape(self.groups, x.shape[1] // self.groups, *weight.shape[1:])


def _touched(spreads: Sequence[Spread]) -> tuple[int, ...]:
    """Extents of all that the kernels touch, and of what output padding or `same` add behind it."""
    return tuple(
        max((axis.n - 1) * axis.s + axis.span, axis.before + axis.o)
        for axis in spreads
        if axis.n is not None and axis.o is not None
    )


def _kept(spreads: Sequence[Spread]) -> tuple[slice, ...]:
    """The part of it that padding leaves."""
    kept = [slice(axis.before, axis.before + axis.o) for axis in spreads if axis.o is not None]
    return (slice(None), slice(None), *kept)


def _laid(spreads: Sequence[Spread]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each tap of the kernel, and where all inputs together lay it."""
    for tap in product(*(range(axis.f) for axis in spreads)):
        starts = [j * axis.d for j, axis in zip(tap, spreads, strict=True)]
        yield (
            tap,
            tuple(
                slice(start, start + (axis.n - 1) * axis.s + 1, axis.s)
                for start, axis in zip(starts, spreads, strict=True)
                if axis.n is not None
            ),
        )


LAYERS: tuple[type[Layer], ...] = (ConvTranspose,)
