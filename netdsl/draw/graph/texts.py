"""Shapes beside the edges, each where nothing else is: no card, no title, no border, no line, no other shape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from netdsl.draw.graph.geometry import Grid, Point, Rect, around, piece_rect, sampled
from netdsl.draw.graph.layout import Layout, Route
from netdsl.draw.graph.plan import EDGE_SIZE, Link, Plan

HEIGHT = EDGE_SIZE * 0.8
"""Of capitals and digits, and a pixel above and below."""


def settle(plan: Plan, layout: Layout, down: bool) -> None:
    """Moves every shape to the first place that is free, from where it is along its line. One that has none is left
    out: it is said where one points at the edge."""
    things: Grid[Rect] = Grid()
    pieces: Grid[tuple[Point, Point]] = Grid()
    for id, middle in layout.cards.items():
        rect = around(middle, plan.cards[id].width + 2, plan.cards[id].height + 2)
        things.add(rect, rect)
    for group in plan.groups:
        left, top, right, bottom = layout.groups[group.id]
        title = (left + 6, top + 3, left + 14 + group.title_width, top + 4 + group.title_height)
        things.add(title, title)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        for a, b in pairwise(corners):
            pieces.add(piece_rect(a, b, 0), (a, b))
    lines = [_line(route) for route in layout.routes]
    for line in lines:
        for a, b in pairwise(line):
            pieces.add(piece_rect(a, b, 0), (a, b))
    for link, route, line in zip(plan.links, layout.routes, lines, strict=True):
        if route is None or route.text is None or not link.text:
            continue
        width = link.width + 2
        for place in _places(link, route, line, down):
            rect = around(place, width, HEIGHT + 2)
            if any(_touch(rect, thing) for thing in things.near(rect)):
                continue
            if any(_cuts(a, b, rect) for a, b in pieces.near(rect)):
                continue
            route.text = place
            things.add(rect, rect)
            break
        else:
            route.text = None


def _line(route: Route | None) -> list[Point]:
    if route is None:
        return []
    points = route.points if route.straight else sampled(route.points)
    return [*points, route.tip]


def _places(link: Link, route: Route, line: list[Point], down: bool) -> Iterator[Point]:
    """Where a shape may stand: as it was placed, then beside its line, from its beginning to its end."""
    assert route.text is not None
    yield route.text
    half, tall = link.width / 2 + 5, HEIGHT / 2 + 4
    for (x0, y0), (x1, y1) in pairwise(line):
        for share in (0.5, 0.25, 0.75):
            x, y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
            if abs(x1 - x0) < abs(y1 - y0):
                yield (x + half, y)
                yield (x - half, y)
            else:
                yield (x, y - tall)
                yield (x, y + tall)


def _touch(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _cuts(a: Point, b: Point, rect: Rect) -> bool:
    """Whether a straight piece comes into a rectangle (Liang and Barsky 1984)."""
    low, high = 0.0, 1.0
    for axis in (0, 1):
        start, step = a[axis], b[axis] - a[axis]
        if abs(step) < 1e-9:
            if not rect[axis] < start < rect[axis + 2]:
                return False
            continue
        first, last = sorted(((rect[axis] - start) / step, (rect[axis + 2] - start) / step))
        low, high = max(low, first), min(high, last)
    return low < high
