"""The lines of forks and joins, straight and with round corners: out of one card, along, and down into each lane.

Graphviz draws them as curves. A curve stays where a straight line would run into something, or along another line that
comes from elsewhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from netdsl.draw.graph.geometry import Grid, Point, Rect, around, line_meets, piece_rect, turned
from netdsl.draw.graph.layout import Layout, Route
from netdsl.draw.graph.plan import EDGE_SIZE, Link, Plan
from netdsl.draw.graph.skips import ARROW

STEM = 19
"""Between a card and the line along."""


def straighten(plan: Plan, layout: Layout, down: bool) -> None:
    """Gives links straight lines, where that is possible."""
    tidier = _Tidier(plan, layout, down)

    def order(number: int) -> tuple[bool, float]:
        """Trunks come first; then long lines, which the shorter ones of the same fork or join lie on."""
        link = plan.links[number]
        (x0, y0), (x1, y1) = layout.cards[link.source], layout.cards[link.target]
        return (not link.trunk, -abs(x1 - x0 if down else y1 - y0))

    for number in sorted(range(len(plan.links)), key=order):
        route = layout.routes[number]
        if route is not None and not route.straight:
            tidier.tidy(plan.links[number], route)


class _Tidier:
    """What is said of a graph that goes down holds, turned, for one that goes right."""

    def __init__(self, plan: Plan, layout: Layout, down: bool) -> None:
        self._down = down
        self._cards = {
            id: self._turned(around(middle, plan.cards[id].width, plan.cards[id].height))
            for id, middle in layout.cards.items()
        }
        self._groups = {id: self._turned(rect) for id, rect in layout.groups.items()}
        self._chains = plan.chains
        self._leaving = Counter(link.source for link in plan.links if not link.skip)
        self._arriving = Counter(
            link.target
            for link, route in zip(plan.links, layout.routes, strict=True)
            if route is not None and not route.straight
        )
        self._titles = [
            self._turned((rect[0] + 6, rect[1] + 3, rect[0] + 14 + group.title_width, rect[1] + 4 + group.title_height))
            for group in plan.groups
            for rect in [layout.groups[group.id]]
        ]
        self._taken: Grid[tuple[Point, Point, str, str]] = Grid()
        """Pieces of lines, and the cards between which they run."""
        self._lines: dict[tuple[str, float], list[tuple[float, float]]] = defaultdict(list)
        """What is taken at a height, by the card where a line begins or ends."""
        self._near: Grid[tuple[str, Rect]] = Grid()
        """Cards by their ids; titles have none."""
        for id, rect in self._cards.items():
            self._near.add(rect, (id, rect))
        for title in self._titles:
            self._near.add(title, ("", title))
        for link, route in zip(plan.links, layout.routes, strict=True):
            if route is not None and route.straight:
                self._take([self._point(point) for point in route.points], link)

    def _turned(self, rect: Rect) -> Rect:
        return rect if self._down else turned(rect)

    def _point(self, point: Point) -> Point:
        return point if self._down else (point[1], point[0])

    def _take(self, corners: list[Point], link: Link) -> None:
        for a, b in pairwise(corners):
            level = round(a[1], 1) if a[1] == b[1] else None
            if level is not None:
                # On the line of its own fork or join: there it is in nobody's way who was not in the way before.
                low, high = sorted((a[0], b[0]))
                lines = [self._lines[end, level] for end in (link.source, link.target)]
                if any(first <= low and high <= last for line in lines for first, last in line):
                    continue
                for line in lines:
                    line.append((low, high))
            self._taken.add(piece_rect(a, b, 0), (a, b, link.source, link.target))

    def tidy(self, link: Link, route: Route) -> None:
        source, target = self._cards[link.source], self._cards[link.target]
        x0, x1 = (source[0] + source[2]) / 2, (target[0] + target[2]) / 2
        low, high = self._gap(link)
        if high - low < ARROW + 4:
            return
        joins = self._arriving[link.target] > 1
        along = high - ARROW - 7 if joins else low + min(STEM, max((high - low) / 2, high - low - ARROW - 4))
        if abs(x0 - x1) < 1.5:
            corners = [(x1, source[3]), (x1, target[1] - ARROW)]
        else:
            corners = [(x0, source[3]), (x0, along), (x1, along), (x1, target[1] - ARROW)]
        if not self._is_free(corners, link):
            around_them = self._detour(link, corners) if joins else None
            if around_them is None:
                return
            corners = around_them
        route.points, route.tip = [self._point(corner) for corner in corners], self._point((x1, target[1]))
        route.straight = True
        self._take(corners, link)
        if route.text is None:
            return
        forks = len(corners) == 4 or self._leaving[link.source] > 1
        free = self._spaces(link, along if forks and not joins else low)
        if not self._down:
            # Above the piece that leads along, where no frame begins.
            if joins:
                free = [(low, along)]
            first, last = next((space for space in free if space[1] - space[0] > link.width + 2), free[-1])
            route.text = ((first + last) / 2, (x0 if joins else x1) - EDGE_SIZE / 2 - 3)
            return
        if len(corners) > 4:
            route.text = (x0 + 5 + link.width / 2, low + 8)
            return
        # To the right of the lane, or of the stem of a fork.
        half = EDGE_SIZE / 2 + 2
        if joins:
            route.text = (x0 + 5 + link.width / 2, min(max(route.text[1], source[3] + half + 1), along - half))
        elif self._leaving[link.source] > 1 and along - low >= 2 * half:
            route.text = (x0 + 5 + link.width / 2, low + half)
        elif len(corners) == 4:
            first, last = next((space for space in free if space[1] - space[0] > 2 * half), free[-1])
            route.text = (x1 + 5 + link.width / 2, (first + last) / 2)
        else:
            route.text = (x0 + 5 + link.width / 2, route.text[1])

    def _spaces(self, link: Link, start: float) -> list[tuple[float, float]]:
        """The pieces of the way into the target that no frame's border crosses."""
        outside = set(self._chains[link.source])
        borders = [start]
        borders += [self._groups[id][1] for id in self._chains[link.target] if id not in outside]
        borders.append(self._cards[link.target][1] - ARROW)
        return list(pairwise(borders))

    def _detour(self, link: Link, corners: list[Point]) -> list[Point] | None:
        """Down beside the cards that are in the way of a lane to its join; None where there is no such way."""
        start, end = corners[0], corners[-1]
        x, along = start[0], corners[1][1] if len(corners) == 4 else end[1] - 7
        blocking = [
            rect
            for id, rect in self._near.near(piece_rect(start, (x, along)))
            if id and id not in (link.source, link.target) and line_meets([start, (x, along)], rect, 2)
        ]
        if not blocking:
            return None
        room = min(rect[1] for rect in blocking) - start[1]
        for beside in (max(rect[2] for rect in blocking) + 9, min(rect[0] for rect in blocking) - 9):
            for share in (0.5, 0.25, 0.75):
                y = start[1] + share * room
                way = [start, (x, y), (beside, y), (beside, along), (end[0], along), end]
                if self._is_free(way, link):
                    return way
        return None

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
        ends = (link.source, link.target)
        for id, rect in self._near.near_line(corners):
            if id not in ends and line_meets(corners, rect, 2 if id else 1):
                return False
        for a, b in pairwise(corners):
            for c, d, source, target in self._taken.near(piece_rect(a, b)):
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
