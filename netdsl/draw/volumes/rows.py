"""Breaks a line of pieces into rows of a page, as a good typesetter breaks a paragraph: all rows at once.

A row costs the square of the share of it that stays empty, and a break more where it cuts an arc or a group in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from netdsl.draw.volumes.pieces import Piece
from netdsl.draw.volumes.strip import Arc, Bracket, gap

_CUT_ARC = 0.2
_CUT_REPEAT = 0.25
_CUT_SCOPE = 0.03
_BESIDE = 0.5
"""Of a break in front of a piece that clings to the one before it."""


def breaks(pieces: Sequence[Piece], arcs: Sequence[Arc], brackets: Sequence[Bracket], width: float) -> list[int]:
    """Where rows begin: numbers of pieces, the first of them 0. A piece that is wider than a row has one to itself."""
    count = len(pieces)
    costs = [0.0] * (count + 1)
    # An arc that begins with the last piece of a row branches off the line that leads to the next row.
    _spread(costs, [(arc.source + 1, arc.target) for arc in arcs], _CUT_ARC, count)
    _spread(costs, [(b.first, b.last) for b in brackets if b.repeated], _CUT_REPEAT, count)
    _spread(costs, [(b.first, b.last) for b in brackets if not b.repeated], _CUT_SCOPE, count)
    for at, piece in enumerate(pieces):
        if at and piece.clings and not piece.fresh:
            costs[at] += _BESIDE
    widths = _widths(pieces)
    best = [0.0] + [inf] * count
    source = [0] * (count + 1)
    for start in range(count):
        if best[start] == inf:
            continue
        used = gap(None, pieces[start], False, True)
        for end in range(start + 1, count + 1):
            used += pieces[end - 1].width + (widths[end - 1] if end - 1 > start else 0)
            if used > width and end > start + 1:
                break
            empty = max(0.0, 1 - used / width)
            # The last row may be short, but no single piece should be left over.
            cost = best[start]
            if end == count:
                cost += 0.25 * empty * empty
            elif not pieces[end].fresh:
                cost += 0.1 + empty * empty + costs[end]
            if cost < best[end]:
                best[end], source[end] = cost, start
            if end < count and pieces[end].fresh:
                break
    rows = []
    at = count
    while at > 0:
        at = source[at]
        rows.append(at)
    return rows[::-1] or [0]


def _widths(pieces: Sequence[Piece]) -> list[float]:
    """The gap in front of each piece, where it is not the first of its row."""
    found = []
    before: Piece | None = None
    last: Piece | None = None
    shown = False
    for piece in pieces:
        show = not piece.same_size(last)
        found.append(gap(before, piece, shown, show))
        before, shown = piece, show
        last = piece if piece.type is not None else last
    return found


def _spread(costs: list[float], ranges: Sequence[tuple[int, int]], cost: float, count: int) -> None:
    """Adds a cost to every break between the ends of a range."""
    change = [0] * (count + 2)
    for first, last in ranges:
        change[first + 1] += 1
        change[last + 1] -= 1
    total = 0
    for at in range(count + 1):
        total += change[at]
        costs[at] += total * cost
