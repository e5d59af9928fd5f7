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


def unpadded(
    xp: Any,
    dx: Array,
    sides: Sequence[tuple[int, int]],
    mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
) -> Array:
    """The adjoint of `padded`: the derivative in `x`, given that in what `padded` made of it.

    What an added position got goes to the position that it was copied from.
    """
    for axis, (before, after) in enumerate(sides, start=2):
        if not before and not after:
            continue
        along = (slice(None),) * axis
        n = dx.shape[axis] - before - after
        front, behind = dx[(*along, slice(0, before))], dx[(*along, slice(before + n, None))]
        dx = dx[(*along, slice(before, before + n))]
        if mode == "zeros":
            continue
        dx = dx.copy()
        if mode == "reflect":
            dx[(*along, slice(1, before + 1))] += xp.flip(front, axis)
            dx[(*along, slice(n - 1 - after, n - 1))] += xp.flip(behind, axis)
        elif mode == "replicate":
            dx[(*along, slice(0, 1))] += front.sum(axis=axis, keepdims=True)
            dx[(*along, slice(n - 1, n))] += behind.sum(axis=axis, keepdims=True)
        else:
            dx[(*along, slice(n - before, n))] += front
            dx[(*along, slice(0, after))] += behind
    return dx


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
        x = _reduced_along(x, axis, slide, combine)
    return x


def _reduced_along(x: Array, axis: int, slide: Slide, combine: Callable[..., Array]) -> Array:
    y: Array | None = None
    for part in taps(x, axis, slide):
        y = part.copy() if y is None else combine(y, part, out=y)
    return y


def sum_gradient(xp: Any, dy: Array, extents: Sequence[int], slides: Sequence[Slide]) -> Array:
    """The adjoint of `reduced` by sums: (N, C, *o) -> (N, C, *extents), the padding included."""
    for axis, (n, slide) in reversed(list(enumerate(zip(extents, slides, strict=True), start=2))):
        dx = xp.zeros((*dy.shape[:axis], n, *dy.shape[axis + 1 :]), dtype=dy.dtype)
        for part in taps(dx, axis, slide):
            part += dy
        dy = dx
    return dy


def max_gradient(xp: Any, dy: Array, x: Array, slides: Sequence[Slide]) -> Array:
    """The derivative of `reduced` by maxima in `x`, which has its padding: dy goes to the largest number of its window.

    Of equal ones it goes to the first, in the order of memory: the last axis is reduced first, and along each axis the
    first of the largest wins.
    """
    stages = [x]
    order = list(reversed(list(enumerate(slides, start=2))))
    for axis, slide in order:
        stages.append(_reduced_along(stages[-1], axis, slide, xp.maximum))
    for (axis, slide), before, after in zip(reversed(order), stages[-2::-1], stages[:0:-1], strict=True):
        dx = xp.zeros(before.shape, dtype=dy.dtype)
        free = xp.ones(after.shape, dtype=bool)
        for part, target in zip(taps(before, axis, slide), taps(dx, axis, slide), strict=True):
            hit = (part == after) & free
            target += xp.where(hit, dy, 0)
            free &= ~hit
        dy = dx
    return dy
