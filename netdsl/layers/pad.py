"""Positions added around a map, or taken away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, FiniteFloat, model_validator

from netdsl.ir.layer import Arity, Array, Global, Gradients, Layer, LayerError, Passed, Window
from netdsl.ir.types import Extent, TensorType
from netdsl.layers import working
from netdsl.layers.lanes import require_same_rank
from netdsl.layers.patches import padded, type_of, unpadded
from netdsl.layers.rearrange import Rearrangement
from netdsl.layers.sizes import Margins, Steps, check_padding, margins, per_axis, spatial_rank

Stretch = tuple[Extent, Extent]
"""First position that is kept along an axis, and how many; None where that is not known yet."""


class Pad(Rearrangement):
    """Adds positions around (C, *spatial): n becomes before + n + after along each axis. 0 FLOPs.

    Modes: `constant` (or `zeros`) adds the value, `reflect` mirrors without repeating the edge, `replicate` repeats the
    edge, `circular` goes round.

    Errors: E0303 without spatial axes, E0305 where the amount has the wrong length, E0306 where there is not enough
    input to reflect or go round.
    """

    kind: ClassVar[str] = "pad"
    positional: ClassVar[tuple[str, ...]] = ("amount",)
    reference: ClassVar[str] = "ONNX Pad"

    amount: Margins = Field(
        description="Positions added: a number for all sides, one for each axis (height, width), or one for each side "
        "(top, bottom, left, right)."
    )
    value: FiniteFloat = Field(0.0, description="What the added positions hold, in mode constant.")
    mode: Literal["constant", "zeros", "reflect", "replicate", "circular"] = Field(
        "constant", description="How the added positions are filled."
    )

    @model_validator(mode="after")
    def _value_is_used(self) -> Pad:
        if self.value and self.mode != "constant":
            raise ValueError("a value belongs to mode = constant")
        return self

    def _sides(self, x: TensorType) -> tuple[tuple[int, int], ...]:
        spatial_rank(self.kind, x)
        sides = margins(self.kind, "amount", self.amount, x)
        check_padding(self.kind, x, sides, self.mode)
        return sides

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        extents = zip(x.spatial, self._sides(x), strict=True)
        return TensorType((*x.shape[:1], *(None if n is None else n + sum(side) for n, side in extents)))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return _shifted([before for before, _ in self._sides(inputs[0])])

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        mode = "zeros" if self.mode == "constant" else self.mode
        return padded(xp, x, self._sides(type_of(x)), mode, self.value)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        mode = "zeros" if self.mode == "constant" else self.mode
        return Gradients((unpadded(xp, dy, self._sides(type_of(passed.x)), mode),))


class Crop(Rearrangement):
    """Takes positions away from the sides of (C, *spatial), or keeps the middle of a given size. 0 FLOPs.

    n becomes n - before - after; or, with `size`, the size, of which floor((n - size) / 2) positions lie before.

    Errors: E0303 without spatial axes, E0305 where an attribute has the wrong length, E0307 where nothing would be
    left or the input is smaller than the size.
    """

    kind: ClassVar[str] = "crop"
    positional: ClassVar[tuple[str, ...]] = ("amount",)
    reference: ClassVar[str] = "Ronneberger et al. 2015, U-Net, section 2; ONNX Slice"

    amount: Margins | None = Field(
        None,
        description="Positions taken away: a number for all sides, one for each axis (height, width), or one for each "
        "side (top, bottom, left, right).",
    )
    size: Steps | None = Field(None, description="Extent of the middle that is kept, for all axes or for each.")

    @model_validator(mode="after")
    def _one_way(self) -> Crop:
        if (self.amount is None) == (self.size is None):
            raise ValueError("give either an amount or a size")
        return self

    def _stretches(self, x: TensorType) -> list[Stretch]:
        spatial_rank(self.kind, x)
        if self.size is not None:
            sizes = per_axis(self.kind, "size", self.size, x)
            return middle(self.kind, x, sizes, f"the size is at most {TensorType(x.spatial)}; `pad` makes a map larger")
        found: list[Stretch] = []
        for n, (before, after) in zip(x.spatial, margins(self.kind, "amount", self.amount or 0, x), strict=True):
            if n is not None and n <= before + after:
                raise LayerError(
                    "E0307",
                    f"crop takes {before} and {after} positions away along an axis of {n}, its input is {x}",
                    f"both together are at most {n - 1}, so that something is left",
                )
            found.append((before, None if n is None else n - before - after))
        return found

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return TensorType((*x.shape[:1], *(length for _, length in self._stretches(x))))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return _seen(self._stretches(inputs[0]))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return _kept(inputs[0], self._stretches(type_of(inputs[0])))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        return Gradients((_put_back(xp, dy, x, self._stretches(type_of(x))),))


class CropLike(Rearrangement):
    """Keeps the middle of the first tensor, as large as the second: (C, *n) and (D, *o) make (C, *o). 0 FLOPs.

    floor((n - o) / 2) positions before it are left out, and the odd one behind. Of the second tensor only its size is
    read, which may be known when the network runs only (`?`). `crop_like(skip, x)` crops the skip of a U-Net to the
    current tensor.

    Errors: E0303 without spatial axes, E0307 where the first tensor is the smaller one, E0311 where they differ in
    rank.
    """

    kind: ClassVar[str] = "crop_like"
    arity: ClassVar[Arity] = Arity(2, 2)
    read: ClassVar[int | None] = 1
    reference: ClassVar[str] = "Ronneberger et al. 2015, U-Net, section 2 and figure 1; ONNX CenterCropPad"

    def _stretches(self, *inputs: TensorType) -> list[Stretch]:
        x, reference = inputs
        spatial_rank(self.kind, x)
        require_same_rank(self.kind, x, reference)
        help = f"the first tensor is the one that is cropped, and the second is {reference}; `pad` makes a map larger"
        return middle(self.kind, x, reference.spatial, help)

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType((*inputs[0].shape[:1], *(length for _, length in self._stretches(*inputs))))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return _seen(self._stretches(*inputs))

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        kept = [
            f"{working.number(o)}, behind floor(({working.number(n)} - {working.number(o)}) / 2){working.result(first)}"
            for n, (first, o) in zip(inputs[0].spatial, self._stretches(*inputs), strict=True)
        ]
        return {"output": ["channels stay", *working.extents(output, kept)]}

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return _kept(inputs[0], self._stretches(*map(type_of, inputs)))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((_put_back(xp, dy, passed.x, self._stretches(*map(type_of, passed.inputs))), None))


def middle(kind: str, x: TensorType, sizes: Sequence[Extent], help: str) -> list[Stretch]:
    """The middle of each spatial axis, of the given sizes. Raises E0307 where an axis is shorter."""
    found: list[Stretch] = []
    for n, size in zip(x.spatial, sizes, strict=True):
        if n is not None and size is not None and n < size:
            raise LayerError("E0307", f"{kind} keeps {size} positions along an axis of {n}, its input is {x}", help)
        found.append((None if n is None or size is None else (n - size) // 2, size))
    return found


def _kept(x: Array, stretches: Sequence[Stretch]) -> Array:
    return x[(slice(None), slice(None), *_places(stretches))]


def _put_back(xp: Any, dy: Array, x: Array, stretches: Sequence[Stretch]) -> Array:
    """The adjoint of `_kept`: zeros of the shape of `x` around `dy`."""
    dx = xp.zeros(x.shape, dtype=dy.dtype)
    dx[(slice(None), slice(None), *_places(stretches))] = dy
    return dx


def _places(stretches: Sequence[Stretch]) -> list[slice]:
    found = []
    for first, length in stretches:
        assert first is not None and length is not None
        found.append(slice(first, first + length))
    return found


def _seen(stretches: Sequence[Stretch]) -> Window | Global:
    known = [-first for first, _ in stretches if first is not None]
    return _shifted(known) if len(known) == len(stretches) else Global()


def _shifted(padding: Sequence[int]) -> Window:
    """Every output sees one input, `padding` positions before its own."""
    return Window((1,) * len(padding), (1,) * len(padding), tuple(padding))


LAYERS: tuple[type[Layer], ...] = (Pad, Crop, CropLike)
