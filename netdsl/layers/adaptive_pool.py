"""Pooling to a size that is given, whatever the size of the input: one number for each map, or a grid of them.

Along each axis, window i of o goes from floor(i n / o) to ceil((i + 1) n / o): windows overlap where o does not divide
n, and repeat positions where o is larger than n.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import Any, ClassVar

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, Passed, Weight, Window
from netdsl.ir.types import Extent, TensorType
from netdsl.layers import working
from netdsl.layers.patches import type_of
from netdsl.layers.sizes import Step, per_axis, spatial_rank


class GlobalPool(Layer):
    """Base of the pools whose window is the whole map."""

    category: ClassVar[str] = "pool"

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return TensorType((*x.shape[:1], *(1,) * spatial_rank(self.kind, x)))

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        spatial = TensorType(inputs[0].spatial)
        size = working.product(*spatial.shape) + working.result(spatial.elements)
        return {"output": ["channels stay", f"one number for each map of {size}"]}

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global()


class GlobalAvgPool(GlobalPool):
    """The mean of each map: (C, H, W) to (C, 1, 1), any number of spatial axes; `flatten` makes a vector of it.

    FLOPs: one addition or division for each element of the input. Errors: E0303 without spatial axes.
    """

    kind: ClassVar[str] = "global_avg_pool"
    reference: ClassVar[str] = "Lin et al. 2014, Network in network, section 3.2; ONNX GlobalAveragePool"

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = inputs[0].elements
        return None if elements is None else Cost(flops=elements)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        return Gradients((xp.broadcast_to(dy / prod(x.shape[2:]), x.shape),))


class GlobalMaxPool(GlobalPool):
    """The largest number of each map: (C, H, W) to (C, 1, 1), any number of spatial axes.

    FLOPs: a comparison less than there are elements in a map, for each map. Errors: E0303 without spatial axes.
    """

    kind: ClassVar[str] = "global_max_pool"
    reference: ClassVar[str] = "Oquab et al. 2015, Is object localization for free?, section 3; ONNX GlobalMaxPool"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements, maps = inputs[0].elements, output.elements
        return None if elements is None or maps is None else Cost(flops=elements - maps)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x.max(axis=tuple(range(2, x.ndim)), keepdims=True)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        flat = x.reshape(*x.shape[:2], prod(x.shape[2:]))
        first = flat.argmax(axis=2)[:, :, None]
        dx = xp.where(xp.arange(flat.shape[2]) == first, dy.reshape(*x.shape[:2], 1), 0)
        return Gradients((dx.reshape(x.shape),))


class GemPool(GlobalPool):
    """Generalised mean of each map, with a learned exponent: y = mean(max(x, eps)^p)^(1 / p).

    p = 1 is the mean, and the larger p the nearer it comes to the maximum. (C, H, W) to (C, 1, 1), any number of
    spatial axes. Owns `p` of shape (1). FLOPs: a comparison, a power and an addition or division for each element of
    the input, and a root for each map. Errors: E0303 without spatial axes.
    """

    kind: ClassVar[str] = "gem_pool"
    positional: ClassVar[tuple[str, ...]] = ("p", "eps")
    reference: ClassVar[str] = "Radenovic et al. 2018, Fine-tuning CNN image retrieval with no human annotation, eq. 3"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    p: FiniteFloat = Field(3.0, gt=0, description="Exponent of a fresh layer.")
    eps: FiniteFloat = Field(1e-6, gt=0, description="The least number that is raised to the power.")
    trainable: bool = Field(True, description="Whether training changes the exponent.")

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        return (Weight("p", (1,), trainable=self.trainable, initial=self.p),)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements, maps = inputs[0].elements, output.elements
        return None if elements is None or maps is None else Cost(flops=3 * elements + maps)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        p = weights["p"].astype(x.dtype, copy=False).reshape((1,) * x.ndim)
        return (xp.maximum(x, self.eps) ** p).mean(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1 / p)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        """With m = mean(max(x, eps)^p) and y = m^(1/p): dy/dx = m^(1/p - 1) x^(p - 1) / n where x > eps, and
        dy/dp = y (mean(x^p log x) / (p m) - log(m) / p^2)."""
        x = passed.x
        axes = tuple(range(2, x.ndim))
        p = passed.weights["p"].astype(x.dtype, copy=False).reshape((1,) * x.ndim)
        base = xp.maximum(x, self.eps)
        powers = base**p
        mean = powers.mean(axis=axes, keepdims=True)
        y = mean ** (1 / p)
        found = {}
        if "p" in passed.wanted_weights:
            logarithms = (powers * xp.log(base)).mean(axis=axes, keepdims=True)
            found["p"] = (dy * y * (logarithms / (p * mean) - xp.log(mean) / (p * p))).sum().reshape(1)
        if not passed.wanted[0]:
            return Gradients((None,), found)
        outer = dy * y / (mean * prod(x.shape[2:]))
        return Gradients((xp.where(x >= self.eps, outer * powers / base, 0),), found)


class AdaptivePool(Layer):
    """Base of the pools that are told the size of their output."""

    category: ClassVar[str] = "pool"
    positional: ClassVar[tuple[str, ...]] = ("size",)

    size: Step | tuple[Step | None, ...] = Field(
        description="Extent of the output: a number for a square, or one for each axis; `?` keeps an axis as it is."
    )

    def _extents(self, x: TensorType) -> list[tuple[Extent, Extent]]:
        """(n, o) for each spatial axis."""
        spatial_rank(self.kind, x)
        wanted = per_axis(self.kind, "size", self.size, x)
        return [(n, n if o is None else o) for n, o in zip(x.spatial, wanted, strict=True)]

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return TensorType((*x.shape[:1], *(o for _, o in self._extents(x))))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        """Where o does not divide n windows differ in size: the largest counts."""
        extents = self._extents(inputs[0])
        if all(o == 1 for _, o in extents):
            return Global()
        sizes, strides = [], []
        for n, o in extents:
            if n is None or o is None:
                return Global()
            sizes.append(max(end - start for start, end in bins(n, o)))
            strides.append(Fraction(n, o) if n % o else n // o)
        return Window(tuple(sizes), tuple(strides), (0,) * len(sizes))

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        formulas = [
            f"{working.number(o)}: window i goes from floor(i * {working.number(n)} / {working.number(o)}) "
            f"to ceil((i + 1) * {working.number(n)} / {working.number(o)})"
            for n, o in self._extents(inputs[0])
        ]
        return {"output": ["channels stay", *working.extents(output, formulas)]}

    def _visits(self, x: TensorType) -> int | None:
        """How many numbers all windows of all maps hold together."""
        total = x.channels
        for n, o in self._extents(x):
            if n is None or o is None or total is None:
                return None
            total *= sum(end - start for start, end in bins(n, o))
        return total

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        y = inputs[0]
        # The windows are boxes, and all windows of an axis are crossed with all of the others: one axis at a time.
        for axis, (n, o) in enumerate(self._extents(type_of(y)), start=2):
            assert n is not None and o is not None
            if n != o:
                along = (slice(None),) * axis
                parts = [self._reduce(y[(*along, slice(*window))], axis) for window in bins(n, o)]
                y = xp.stack(parts, axis=axis)
        return y

    @abstractmethod
    def _reduce(self, x: Array, axis: int) -> Array:
        """One number for all positions along `axis`."""


class AdaptiveAvgPool(AdaptivePool):
    """The mean of each of `size` windows: (C, *spatial) to (C, *size), e.g. 512x7x7 whatever the image.

    Window i of o goes from floor(i n / o) to ceil((i + 1) n / o). FLOPs: one addition or division for each number in
    each window. Errors: E0303 without spatial axes, E0305 where the size has the wrong length.
    """

    kind: ClassVar[str] = "adaptive_avg_pool"
    reference: ClassVar[str] = "He et al. 2014, Spatial pyramid pooling, section 2.2; PyTorch AdaptiveAvgPool2d"

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        visits = self._visits(inputs[0])
        return None if visits is None else Cost(flops=visits)

    def _reduce(self, x: Array, axis: int) -> Array:
        return x.mean(axis=axis)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        for axis, (n, o) in enumerate(self._extents(type_of(passed.x)), start=2):
            assert n is not None and o is not None
            if n == o:
                continue
            along = (slice(None),) * axis
            dx = xp.zeros((*dy.shape[:axis], n, *dy.shape[axis + 1 :]), dtype=dy.dtype)
            for index, (start, end) in enumerate(bins(n, o)):
                dx[(*along, slice(start, end))] += dy[(*along, slice(index, index + 1))] / (end - start)
            dy = dx
        return Gradients((dy,))


class AdaptiveMaxPool(AdaptivePool):
    """The largest number of each of `size` windows: (C, *spatial) to (C, *size).

    Window i of o goes from floor(i n / o) to ceil((i + 1) n / o). FLOPs: one comparison less than there are numbers in
    a window, for each. Errors: E0303 without spatial axes, E0305 where the size has the wrong length.
    """

    kind: ClassVar[str] = "adaptive_max_pool"
    reference: ClassVar[str] = "He et al. 2014, Spatial pyramid pooling, section 2.2; PyTorch AdaptiveMaxPool2d"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        visits, elements = self._visits(inputs[0]), output.elements
        return None if visits is None or elements is None else Cost(flops=visits - elements)

    def _reduce(self, x: Array, axis: int) -> Array:
        return x.max(axis=axis)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        # Of equal numbers the first in the order of memory gets dy: so the last axis is reduced first.
        x = passed.x
        order = [(axis, n, o) for axis, (n, o) in enumerate(self._extents(type_of(x)), start=2) if n != o][::-1]
        stages = [x]
        for axis, n, o in order:
            assert n is not None and o is not None
            along = (slice(None),) * axis
            parts = [stages[-1][(*along, slice(*window))].max(axis=axis) for window in bins(n, o)]
            stages.append(xp.stack(parts, axis=axis))
        for (axis, n, o), before in zip(reversed(order), stages[-2::-1], strict=True):
            assert n is not None and o is not None
            along = (slice(None),) * axis
            dx = xp.zeros(before.shape, dtype=dy.dtype)
            for index, (start, end) in enumerate(bins(n, o)):
                first = xp.expand_dims(before[(*along, slice(start, end))].argmax(axis=axis), axis)
                places = xp.arange(end - start).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
                dx[(*along, slice(start, end))] += xp.where(places == first, dy[(*along, slice(index, index + 1))], 0)
            dy = dx
        return Gradients((dy,))


def bins(n: int, o: int) -> list[tuple[int, int]]:
    """Where the windows of an adaptive pool of n positions to o begin and end."""
    return [(i * n // o, -(-(i + 1) * n // o)) for i in range(o)]


LAYERS: tuple[type[Layer], ...] = (GlobalAvgPool, GlobalMaxPool, GemPool, AdaptiveAvgPool, AdaptiveMaxPool)
