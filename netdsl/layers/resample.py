"""Resampling: maps made larger (or smaller) without weights.

i counts positions of the output, n and o are the extents of input and output along an axis.

    nearest    y[i] = x[floor(i n / o)]
    bilinear   y[i] = (1 - t) x[j] + t x[j + 1] with j + t = (i + 1/2) n / o - 1/2, or i (n - 1) / (o - 1) with corners
               aligned; x is held constant beyond its first and last position
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from netdsl.ir.layer import Array, Cost, Global, Layer, Window
from netdsl.ir.types import Extent, TensorType
from netdsl.layers.patches import type_of
from netdsl.layers.sizes import Steps, per_axis, spatial_rank


class Upsample(Layer):
    """Repeats or interpolates positions: (C, *spatial) to (C, *o), o = n scale, or the size that is given.

    Any number of spatial axes; `bilinear` interpolates linearly along each of them. FLOPs: none for `nearest`; for
    `bilinear` two multiplications and an addition for each number that the interpolation along an axis makes.

    Errors: E0303 without spatial axes, E0305 where scale or size has the wrong length.
    """

    kind: ClassVar[str] = "upsample"
    positional: ClassVar[tuple[str, ...]] = ("scale",)
    category: ClassVar[str] = "reshape"
    reference: ClassVar[str] = "ONNX Resize; PyTorch interpolate"

    scale: Steps | None = Field(None, description="By how much each axis grows: one number for all, or one for each.")
    size: Steps | None = Field(None, description="Extent of the output instead: for all spatial axes, or for each.")
    mode: Literal["nearest", "bilinear"] = Field("nearest", description="Repeat positions, or interpolate.")
    align_corners: bool = Field(
        False, description="Whether the first and last positions of input and output coincide (bilinear)."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Upsample:
        if (self.scale is None) == (self.size is None):
            raise ValueError("give either scale or size")
        if self.align_corners and self.mode == "nearest":
            raise ValueError("align_corners belongs to mode = bilinear")
        return self

    def _extents(self, x: TensorType) -> list[tuple[Extent, Extent]]:
        """(n, o) for each spatial axis."""
        spatial_rank(self.kind, x)
        if self.size is not None:
            return list(zip(x.spatial, per_axis(self.kind, "size", self.size, x), strict=True))
        scales = per_axis(self.kind, "scale", self.scale or 1, x)
        return [(n, None if n is None else n * scale) for n, scale in zip(x.spatial, scales, strict=True)]

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return TensorType((*x.shape[:1], *(o for _, o in self._extents(x))))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        made = inputs[0].elements
        if self.mode == "nearest":
            return Cost()
        flops = 0
        for n, o in self._extents(inputs[0]):
            if made is None or n is None or o is None:
                return None
            made = made // n * o
            flops += 3 * made if n != o else 0
        return Cost(flops=flops)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        sizes, strides, paddings = [], [], []
        scales = self.scale if self.scale is None else per_axis(self.kind, "scale", self.scale, inputs[0])
        for axis, (n, o) in enumerate(self._extents(inputs[0])):
            if scales is not None:
                n, o = n or 1, (n or 1) * scales[axis]  # the step is the same for every extent
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
        for axis, (n, o) in enumerate(self._extents(type_of(y)), start=2):
            assert n is not None and o is not None
            if n == o:
                continue
            i = xp.arange(o)
            if self.mode == "nearest":
                y = xp.take(y, i * n // o, axis=axis)
                continue
            numerator, denominator = _source(i, n, o, self.align_corners)
            source = xp.maximum(numerator, 0) / denominator
            low = xp.minimum(xp.floor(source).astype(xp.int64), n - 1)
            high = xp.minimum(low + 1, n - 1)
            t = (source - low).astype(y.dtype).reshape((-1,) + (1,) * (y.ndim - 1 - axis))
            y = xp.take(y, low, axis=axis) * (1 - t) + xp.take(y, high, axis=axis) * t
        return y


def _source(i: Any, n: int, o: int, align_corners: bool) -> tuple[Any, int]:
    """j + t of output i (or of many), before it is held inside the input, as numerator and denominator."""
    return (i * (n - 1), max(o - 1, 1)) if align_corners else ((2 * i + 1) * n - o, 2 * o)


def _step(n: int, o: int, align_corners: bool) -> int | Fraction:
    step = Fraction(n - 1, max(o - 1, 1)) if align_corners else Fraction(n, o)
    return step.numerator if step.denominator == 1 else step


LAYERS: tuple[type[Layer], ...] = (Upsample,)
