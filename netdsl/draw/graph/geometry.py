"""Rectangles and straight pieces along the axes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

Thing = TypeVar("Thing")

Point = tuple[float, float]
Rect = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def around(middle: Point, width: float, height: float) -> Rect:
    """The rectangle about a point."""
    x, y = middle
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def turned(rect: Rect) -> Rect:
    """The rectangle with its axes exchanged."""
    left, top, right, bottom = rect
    return (top, left, bottom, right)


def meets(a: Point, b: Point, rect: Rect, room: float = 1) -> bool:
    """Whether a straight piece along an axis comes into a rectangle, or nearer to it than `room`."""
    left, right = sorted((a[0], b[0]))
    top, bottom = sorted((a[1], b[1]))
    return right > rect[0] - room and left < rect[2] + room and bottom > rect[1] - room and top < rect[3] + room


def line_meets(corners: Sequence[Point], rect: Rect, room: float = 1) -> bool:
    """Whether a line through these corners, along the axes, comes into a rectangle."""
    return any(meets(a, b, rect, room) for a, b in pairwise(corners))


def sampled(points: Sequence[Point], steps: int = 16) -> list[Point]:
    """Points on a curve of Bézier pieces: a start, and two points of control and an end for each."""
    found = [points[0]]
    for at in range(0, len(points) - 3, 3):
        a, b, c, d = points[at : at + 4]
        for step in range(1, steps + 1):
            t = step / steps
            x, y = (
                (1 - t) ** 3 * a[axis] + 3 * (1 - t) ** 2 * t * b[axis] + 3 * (1 - t) * t**2 * c[axis] + t**3 * d[axis]
                for axis in (0, 1)
            )
            found.append((x, y))
    return found


def crossing(points: Sequence[Point], y: float) -> float | None:
    """Where a curve of Bézier pieces passes the height `y` on its way down; None where it does not."""
    for before, here in pairwise(sampled(points)):
        if before[1] <= y <= here[1]:
            share = (y - before[1]) / (here[1] - before[1]) if here[1] > before[1] else 0.0
            return before[0] + (here[0] - before[0]) * share
    return None


class Grid(Generic[Thing]):
    """Things by where they are, so that a line is compared with those nearby only."""

    CELL = 240

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[tuple[int, Thing]]] = defaultdict(list)
        self._count = 0

    def add(self, rect: Rect, thing: Thing) -> None:
        for cell in self._over(rect):
            self._cells[cell].append((self._count, thing))
        self._count += 1

    def near(self, rect: Rect) -> Iterator[Thing]:
        """The things in the cells that a rectangle touches, each once."""
        seen = set()
        for cell in self._over(rect):
            for number, thing in self._cells.get(cell, ()):
                if number not in seen:
                    seen.add(number)
                    yield thing

    def near_line(self, corners: Sequence[Point]) -> Iterator[Thing]:
        """The things near each piece of a line; one may come more than once."""
        for a, b in pairwise(corners):
            yield from self.near(piece_rect(a, b))

    def _over(self, rect: Rect) -> Iterator[tuple[int, int]]:
        left, top, right, bottom = (int(side // self.CELL) for side in rect)
        return ((x, y) for x in range(left, right + 1) for y in range(top, bottom + 1))


def piece_rect(a: Point, b: Point, room: float = 6) -> Rect:
    """The rectangle around a piece of a line."""
    return (min(a[0], b[0]) - room, min(a[1], b[1]) - room, max(a[0], b[0]) + room, max(a[1], b[1]) + room)
