"""Rectangles and straight pieces along the axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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


def crossing(points: Sequence[Point], y: float) -> float | None:
    """Where a curve of Bézier pieces passes the height `y` on its way down; None where it does not."""
    before = points[0]
    for at in range(0, len(points) - 3, 3):
        a, b, c, d = points[at : at + 4]
        for step in range(1, 17):
            t = step / 16
            x, here = (
                (1 - t) ** 3 * a[axis] + 3 * (1 - t) ** 2 * t * b[axis] + 3 * (1 - t) * t**2 * c[axis] + t**3 * d[axis]
                for axis in (0, 1)
            )
            if before[1] <= y <= here:
                share = (y - before[1]) / (here - before[1]) if here > before[1] else 0.0
                return before[0] + (x - before[0]) * share
            before = (x, here)
    return None
