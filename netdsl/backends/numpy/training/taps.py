"""Windows that slide over each channel by itself, a tap after the other."""

from __future__ import annotations

from typing import NamedTuple

from netdsl.backends.numpy.training.work import Bench
from netdsl.layers.sizes import Slide

BLOCK_BYTES = 256 * 1024
"""What the images of a block take, input and output."""


class Tap(NamedTuple):
    """What one tap reads, `x`, for which outputs, `y`: index expressions of maps (N, H, W, C)."""

    number: int
    x: tuple[slice, ...]
    y: tuple[slice, ...]


def taps(slides: tuple[Slide, ...]) -> list[Tap]:
    """Those that read anything, in their order."""
    one = Slide(1, 1, 1, 1, 0, 0, 1)
    height, width = (one, one, *slides)[-2:]
    found = []
    for i in range(height.f):
        for j in range(width.f):
            rows, columns = _reach(height, i), _reach(width, j)
            if rows and columns:
                every = slice(None)
                found.append(Tap(i * width.f + j, (every, rows[0], columns[0]), (every, rows[1], columns[1])))
    return found


def _reach(axis: Slide, tap: int) -> tuple[slice, slice] | None:
    """The inputs that a tap reads along one axis, and the outputs that they go to."""
    n, o = axis.n or 0, axis.o or 0
    at = tap * axis.d - axis.before
    first = max(0, -(at // axis.s))
    last = min(o - 1, (n - 1 - at) // axis.s)
    if first > last:
        return None
    start = first * axis.s + at
    return slice(start, last * axis.s + at + 1, axis.s), slice(first, last + 1)


def by_images(bench: Bench, images: int, image_bytes: int) -> list[list[slice]]:
    """The images that each share takes, a few at a time."""
    return [
        [slice(block.n0, block.n1) for block in share] for share in bench.cut(images, 1, image_bytes, BLOCK_BYTES)
    ]  # fmt: skip
