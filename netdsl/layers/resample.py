"""Resampling: maps made larger (or smaller) without weights.

i counts positions of the output, n and o are the extents of input and output along an axis.

    nearest    y[i] = x[floor(i n / o)]
    bilinear   y[i] = (1 - t) x[j] + t x[j + 1] with j + t = (i + 1/2) n / o - 1/2, or i (n - 1) / (o - 1) with corners
               aligned; x is held constant beyond its first and last position
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from netdsl.ir.layer import Arity, Array, Cost, Global, Gradients, Layer, Passed, Window
from netdsl.ir.types import Extent, TensorType
from netdsl.layers import working
from netdsl.layers.lanes import require_same_rank
from netdsl.layers.patches import type_of
from netdsl.layers.sizes import Steps, per_axis, spatial_rank


class Resampling(Layer):
    """Base of both: everything but the extents of the output."""

    category: ClassVar[str] = "reshape"

    mode: Literal["nearest", "bilinear"] = Field("nearest", description="Repeat positions, or interpolate.")
    align_corners: bool = Field(
        False, description="Whether the first and last positions of input and output coincide (bilinear)."
    )

    @model_validator(mode="after")
    def _corners_are_interpolated(self) -> Self:
        if self.align_corners and self.mode == "nearest":
            raise ValueError("align_corners belongs to mode = bilinear")
        return self

    @abstractmethod
    def _extents(self, *inputs: TensorType) -> list[tuple[Extent, Extent]]:
        """(n, o) for each spatial axis."""

    def _ratios(self, *inputs: TensorType) -> list[tuple[Extent, Extent]]:
        """Pairs in the ratio n : o, known wherever the ratio is."""
        return self._extents(*inputs)

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType((*inputs[0].shape[:1], *(o for _, o in self._extents(*inputs))))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        made = inputs[0].elements
        if self.mode == "nearest":
            return Cost()
        flops = 0
        for n, o in self._extents(*inputs):
            if made is None or n is None or o is None:
                return None
            made = made // n * o
            flops += 3 * made if n != o else 0
        return Cost(flops=flops)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        sizes, strides, paddings = [], [], []
        for n, o in self._ratios(*inputs):
            if n is None or o is None:
                return Global()
            linear = self.mode == "bilinear" and n != o
            sizes.append(2 if linear else 1)
            strides.append(_step(n, o, linear and self.align_corners))
            first, denominator = _source(0, n, o, self.align_corners)
            paddings.append(-(first // denominator) if linear else 0)
        return Window(tuple(sizes), tuple(strides), tuple(paddings))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        y = inputs[0]
        for axis, n, o in self._changed(inputs):
            if self.mode == "nearest":
                y = xp.take(y, xp.arange(o) * n // o, axis=axis)
                continue
            low, high, t = self._neighbours(xp, n, o)
            t = t.astype(y.dtype).reshape((-1,) + (1,) * (y.ndim - 1 - axis))
            y = xp.take(y, low, axis=axis) * (1 - t) + xp.take(y, high, axis=axis) * t
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        for axis, n, o in reversed(self._changed(passed.inputs)):
            if self.mode == "nearest":
                dy = _collected(xp, [(dy, [i * n // o for i in range(o)])], axis, n)
                continue
            low, high, t = self._neighbours(xp, n, o)
            t = t.astype(dy.dtype).reshape((-1,) + (1,) * (dy.ndim - 1 - axis))
            dy = _collected(xp, [(dy * (1 - t), low.tolist()), (dy * t, high.tolist())], axis, n)
        return Gradients((dy, *(None for _ in passed.inputs[1:])))

    def _changed(self, inputs: Sequence[Array]) -> list[tuple[int, int, int]]:
        """The axes whose extent changes: (axis of the batch, n, o)."""
        found = []
        for axis, (n, o) in enumerate(self._extents(*map(type_of, inputs)), start=2):
            assert n is not None and o is not None
            if n != o:
                found.append((axis, n, o))
        return found

    def _neighbours(self, xp: Any, n: int, o: int) -> tuple[Array, Array, Array]:
        """j, j + 1 (held inside the input) and t of each output position."""
        numerator, denominator = _source(xp.arange(o), n, o, self.align_corners)
        source = xp.maximum(numerator, 0) / denominator
        low = xp.minimum(xp.floor(source).astype(xp.int64), n - 1)
        return low, xp.minimum(low + 1, n - 1), source - low


class Sized(Layer):
    """Base of the layers that are told their extents."""

    scale: Steps | None = Field(None, description="By how much each axis grows: one number for all, or one for each.")
    size: Steps | None = Field(None, description="Extent of the output instead: for all spatial axes, or for each.")


# Fields are listed from the last base to the first: scale, size, mode, align_corners.
class Upsample(Resampling, Sized):
    """Repeats or interpolates positions: (C, *spatial) to (C, *o), o = n scale, or the size that is given.

    Any number of spatial axes; `bilinear` interpolates linearly along each of them. FLOPs: none for `nearest`; for
    `bilinear` two multiplications and an addition for each number that the interpolation along an axis makes.

    Errors: E0303 without spatial axes, E0305 where scale or size has the wrong length.
    """

    kind: ClassVar[str] = "upsample"
    positional: ClassVar[tuple[str, ...]] = ("scale",)
    reference: ClassVar[str] = "ONNX Resize; PyTorch interpolate"

    @model_validator(mode="after")
    def _one_way(self) -> Upsample:
        if (self.scale is None) == (self.size is None):
            raise ValueError("give either scale or size")
        return self

    def _extents(self, *inputs: TensorType) -> list[tuple[Extent, Extent]]:
        (x,) = inputs
        spatial_rank(self.kind, x)
        if self.size is not None:
            return list(zip(x.spatial, per_axis(self.kind, "size", self.size, x), strict=True))
        scales = per_axis(self.kind, "scale", self.scale or 1, x)
        return [(n, None if n is None else n * scale) for n, scale in zip(x.spatial, scales, strict=True)]

    def _ratios(self, *inputs: TensorType) -> list[tuple[Extent, Extent]]:
        if self.scale is None:
            return self._extents(*inputs)
        (x,) = inputs
        # The step is the same for every extent.
        scales = per_axis(self.kind, "scale", self.scale, x)
        return [(n or 1, (n or 1) * scale) for n, scale in zip(x.spatial, scales, strict=True)]


class UpsampleLike(Resampling):
    """Resizes the first tensor to the spatial extents of the second: (C, *spatial) and (D, *o) make (C, *o).

    Of the second tensor only its size is read: the skip of a U-Net, the finer level of a feature pyramid, or the input,
    whatever size it has when the network runs (`?`). It may be smaller too. Interpolation and FLOPs are those of
    `upsample`. `upsample_like(x, skip)` resizes the current tensor.

    Errors: E0303 without spatial axes, E0311 where the tensors differ in rank.
    """

    kind: ClassVar[str] = "upsample_like"
    arity: ClassVar[Arity] = Arity(2, 2)
    read: ClassVar[int | None] = 1
    reference: ClassVar[str] = "Lin et al. 2017, Feature pyramid networks, section 3; ONNX Resize; PyTorch interpolate"

    def _extents(self, *inputs: TensorType) -> list[tuple[Extent, Extent]]:
        x, reference = inputs
        spatial_rank(self.kind, x)
        require_same_rank(self.kind, x, reference)
        return list(zip(x.spatial, reference.spatial, strict=True))

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        sizes = [f"{working.number(n)} becomes {working.number(o)}" for n, o in self._extents(*inputs)]
        return {"output": ["channels stay", *working.extents(output, sizes)]}


def _source(i: Any, n: int, o: int, align_corners: bool) -> tuple[Any, int]:
    """j + t of output i (or of many), before it is held inside the input, as numerator and denominator."""
    return (i * (n - 1), max(o - 1, 1)) if align_corners else ((2 * i + 1) * n - o, 2 * o)


def _collected(xp: Any, parts: Sequence[tuple[Array, Sequence[int]]], axis: int, n: int) -> Array:
    """The adjoint of `take`: position i of each part along `axis` is added to position sources[i] of n.

    Positions with the same source are added one after the other, those of all sources at once.
    """
    shape = list(parts[0][0].shape)
    shape[axis] = n
    dx = xp.zeros(shape, dtype=parts[0][0].dtype)
    along = (slice(None),) * axis
    for part, sources in parts:
        turns: list[tuple[list[int], list[int]]] = []
        seen = [0] * n
        for position, source in enumerate(sources):
            if seen[source] == len(turns):
                turns.append(([], []))
            turns[seen[source]][0].append(source)
            turns[seen[source]][1].append(position)
            seen[source] += 1
        for targets, positions in turns:
            dx[(*along, targets)] += part[(*along, positions)]
    return dx


def _step(n: int, o: int, align_corners: bool) -> int | Fraction:
    step = Fraction(n - 1, max(o - 1, 1)) if align_corners else Fraction(n, o)
    return step.numerator if step.denominator == 1 else step


LAYERS: tuple[type[Layer], ...] = (Upsample, UpsampleLike)
