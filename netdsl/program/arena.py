"""Where buffers lie in one arena, so that those that are live at the same time do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from netdsl.program.ir import ALIGNMENT


class Demand(NamedTuple):
    """A buffer that wants a place: how many bytes, and the first and last step at which it is live."""

    bytes: int
    first: int
    last: int


def plan(demands: Sequence[Demand]) -> list[int]:
    """The offset of each buffer, a multiple of ALIGNMENT.

    Greedy by size (Pisarchyk & Lee 2020, Efficient memory management for deep neural net inference, section 5.2): the
    largest buffer first, each into the smallest gap that it fits between those that are live at the same time, else
    behind them. Finding the least arena is NP-hard; on networks this comes within a few per cent of the bound.
    """
    offsets = [0] * len(demands)
    placed: list[int] = []
    for index in sorted(range(len(demands)), key=lambda i: (-demands[i].bytes, demands[i].first, i)):
        size, first, last = demands[index]
        taken = sorted(
            (offsets[other], offsets[other] + demands[other].bytes)
            for other in placed
            if demands[other].first <= last and first <= demands[other].last
        )
        offsets[index] = _best_gap(taken, size)
        placed.append(index)
    return offsets


def _best_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The start of the smallest stretch of `size` free bytes; `taken` is sorted by where it starts."""
    best, smallest = -1, 0
    free = 0
    for start, end in taken:
        gap = start - free
        if gap >= size and (best < 0 or gap < smallest):
            best, smallest = free, gap
        free = max(free, aligned(end))
    return free if best < 0 else best


def aligned(offset: int) -> int:
    """`offset` rounded up to a multiple of ALIGNMENT."""
    return -(-offset // ALIGNMENT) * ALIGNMENT
