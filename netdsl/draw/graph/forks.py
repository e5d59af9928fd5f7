"""The lines of forks and joins, straight and with round corners: out of one card, along, and down into each lane.

Graphviz draws them as curves. A curve stays where a straight line would run into something, or along another line that
comes from elsewhere.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from netdsl.draw.graph.geometry import Point, around, line_meets
from netdsl.draw.graph.layout import Layout, Route
from netdsl.draw.graph.plan import EDGE_SIZE, Link, Plan
from netdsl.draw.graph.skips import ARROW

STEM = 19
"""Between a card and the line along."""


def straighten(plan: Plan, layout: Layout) -> None:
    """Gives the links of a graph that goes down straight lines, where that is possible."""
    tidier = _Tidier(plan, layout)
    for number in sorted(range(len(plan.links)), key=lambda at: not plan.links[at].trunk):
        route = layout.routes[number]
        if route is not None and not route.straight:
            tidier.tidy(plan.links[number], route)


class _Tidier:
    def __init__(self, plan: Plan, layout: Layout) -> None:
        self._cards = {
            id: around(middle, plan.cards[id].width, plan.cards[id].height) for id, middle in layout.cards.items()
        }
        self._groups = layout.groups
        self._chains = plan.chains
        self._leaving = Counter(link.source for link in plan.links if not link.skip)
        self._arriving = Counter(
            link.target
            for link, route in zip(plan.links, layout.routes, strict=True)
            if route is not None and not route.straight
        )
        self._titles = [
            (rect[0] + 6, rect[1] + 3, rect[0] + 14 + group.title_width, rect[1] + 4 + group.title_height)
            for group in plan.groups
            for rect in [layout.groups[group.id]]
        ]
        self._taken: list[tuple[Point, Point, str, str]] = []
        """Pieces of lines, and the cards between which they run."""
        for link, route in zip(plan.links, layout.routes, strict=True):
            if route is not None and route.straight:
                self._take(route.points, link)

    def _take(self, corners: list[Point], link: Link) -> None:
        for a, b in pairwise(corners):
            self._taken.append((a, b, link.source, link.target))

    def tidy(self, link: Link, route: Route) -> None:
        source, target = self._cards[link.source], self._cards[link.target]
        x0, x1 = (source[0] + source[2]) / 2, (target[0] + target[2]) / 2
        low, high = self._gap(link)
        if high - low < ARROW + 4:
            return
        joins = self._arriving[link.target] > 1
        along = high - ARROW - 7 if joins else max(low + (high - low) / 2, min(low + STEM, high - ARROW - 4))
        if abs(x0 - x1) < 1.5:
            corners = [(x1, source[3]), (x1, target[1] - ARROW)]
        else:
            corners = [(x0, source[3]), (x0, along), (x1, along), (x1, target[1] - ARROW)]
        if not self._is_free(corners, link):
            return
        route.points, route.tip, route.straight = corners, (x1, target[1]), True
        self._take(corners, link)
        if route.text is None:
            return
        # To the right of the stem, or of the lane.
        half = EDGE_SIZE / 2 + 2
        y = route.text[1]
        if self._leaving[link.source] > 1:
            y = min(low + half + 1, high - half)
        elif joins:
            y = min(max(y, source[3] + half + 1), along - half)
        route.text = (x0 + 5 + link.width / 2, y)

    def _gap(self, link: Link) -> tuple[float, float]:
        """Between the bottom of the source and the top of the target, or of the groups around only one of them."""
        above, below = self._chains[link.source], self._chains[link.target]
        shared = 0
        while shared < min(len(above), len(below)) and above[shared] == below[shared]:
            shared += 1
        low = self._groups[above[shared]][3] if len(above) > shared else self._cards[link.source][3]
        high = self._groups[below[shared]][1] if len(below) > shared else self._cards[link.target][1]
        return low, high

    def _is_free(self, corners: list[Point], link: Link) -> bool:
        for id, rect in self._cards.items():
            if id not in (link.source, link.target) and line_meets(corners, rect, 2):
                return False
        if any(line_meets(corners, title) for title in self._titles):
            return False
        for a, b in pairwise(corners):
            for c, d, source, target in self._taken:
                if source != link.source and target != link.target and _along(a, b, c, d):
                    return False
        # What comes back up would cross its own source.
        return all(a[1] <= b[1] + 0.01 for a, b in pairwise(corners))


def _along(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two pieces run along each other, or nearly so."""
    for axis in (0, 1):
        if abs(a[axis] - b[axis]) < 0.01 and abs(c[axis] - d[axis]) < 0.01 and abs(a[axis] - c[axis]) < 5:
            first = sorted((a[1 - axis], b[1 - axis]))
            second = sorted((c[1 - axis], d[1 - axis]))
            if first[0] < second[1] - 1 and second[0] < first[1] - 1:
                return True
    return False
