"""Windows of arrays: padding, patches, and how to go through many of them in little memory.

Arrays have shape (N, C, *spatial).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, Literal

from netdsl.ir.layer import Array
from netdsl.ir.types import TensorType
from netdsl.layers.sizes import Slide

MOST_PATCH_BYTES = 64 * 2**20
"""Bytes of patches that are laid out at a time."""

_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def type_of(x: Array) -> TensorType:
    """The type of the images in a batch."""
    return TensorType(tuple(x.shape[1:]))


def padded(
    xp: Any,
    x: Array,
    sides: Sequence[tuple[int, int]],
    mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
    value: float = 0.0,
) -> Array:
    """`x` with (before, after) more positions along each spatial axis, which hold `value` in mode `zeros`."""
    if not any(map(any, sides)):
        return x
    if mode == "zeros":
        return xp.pad(x, [(0, 0), (0, 0), *sides], mode="constant", constant_values=value)
    return xp.pad(x, [(0, 0), (0, 0), *sides], mode=_PAD_MODES[mode])


def windows(xp: Any, x: Array, slides: Sequence[Slide]) -> Array:
    """Every window of an array that has its padding: a view of shape (N, C, *o, *f)."""
    k = len(slides)
    spatial = tuple(range(2, 2 + k))
    view = xp.lib.stride_tricks.sliding_window_view(x, tuple(slide.span for slide in slides), axis=spatial)
    steps = tuple(slice(None, None, slide.s) for slide in slides)
    taps = tuple(slice(None, None, slide.d) for slide in slides)
    return view[(slice(None), slice(None), *steps, *taps)]


def blocks(extents: Sequence[int], most: int) -> Iterator[tuple[slice, ...]]:
    """Cuts a box of positions into blocks of at most `most` positions (at least one), in order."""
    if not extents:
        yield ()
        return
    first, rest = extents[0], extents[1:]
    inner = prod(rest)
    if inner <= most:
        rows = max(1, most // max(inner, 1))
        for start in range(0, first, rows):
            yield (slice(start, min(start + rows, first)), *(slice(0, extent) for extent in rest))
        return
    for index in range(first):
        for block in blocks(rest, most):
            yield (slice(index, index + 1), *block)


def taps(x: Array, axis: int, slide: Slide) -> Iterator[Array]:
    """What each tap of the kernel meets along one axis of an array that has its padding, one tap after the other.

    Each is a view of `x` with o positions along that axis.
    """
    assert slide.o is not None
    length = (slide.o - 1) * slide.s + 1
    for tap in range(slide.f):
        start = tap * slide.d
        yield x[(slice(None),) * axis + (slice(start, start + length, slide.s),)]


def reduced(x: Array, slides: Sequence[Slide], combine: Callable[..., Array]) -> Array:
    """Reduces each window of an array that has its padding to a number: (N, C, *spatial) -> (N, C, *o).

    `combine(a, b, out=...)` is associative and commutative (add, maximum), so each axis can be reduced by itself.
    """
    for axis, slide in enumerate(slides, start=2):
        y: Array | None = None
        for part in taps(x, axis, slide):
            y = part.copy() if y is None else combine(y, part, out=y)
        x = y
    return x
