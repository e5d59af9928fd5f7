"""Shortcuts, drawn as papers draw them: they leave the trunk in front of a block, run down beside it and come back in.

Graphviz is not told of them. It is told that what a shortcut passes is broader than it is, and the shortcut runs in
that space. Shortcuts that lie within each other have a lane each, the shorter ones inside. What is said here of a graph
that goes down holds, turned, for one that goes right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netdsl.draw.graph.geometry import Point, Rect, around, crossing, line_meets, turned
from netdsl.draw.graph.layout import Layout, Route
from netdsl.draw.graph.plan import Link, Plan

LANE = 16
"""Between two shortcuts beside each other, and between a shortcut and what it passes."""
MOST_LANES = 6
"""A shortcut that would run further out is left to Graphviz."""
ARROW = 6
"""Length of an arrow's head."""


@dataclass
class Skip:
    """A shortcut before and after it has a way. `span` are the cards on the ways that it shortens."""

    number: int
    link: Link
    span: list[str]
    lane: int = 1
    around: tuple[str, ...] = ()
    """The groups that hold all that it passes, and its target."""


class Skips:
    """The shortcuts of a plan that are drawn beside what they pass."""

    def __init__(self, plan: Plan, but: frozenset[int] = frozenset()) -> None:
        """`but` are the numbers of links that are left to Graphviz."""
        self._plan = plan
        self._chains = plan.chains
        after: dict[str, list[str]] = defaultdict(list)
        before: dict[str, list[str]] = defaultdict(list)
        for link in plan.links:
            after[link.source].append(link.target)
            before[link.target].append(link.source)
        found = [
            Skip(number, link, sorted((_reached(link.source, after) & _reached(link.end, before)) - _lane(link, after)))
            for number, link in enumerate(plan.links)
            if link.skip and not link.training and number not in but
        ]
        self.skips = self._with_lanes(found)
        self.numbers = frozenset(skip.number for skip in self.skips)

    def _with_lanes(self, found: list[Skip]) -> list[Skip]:
        found.sort(key=lambda skip: (len(skip.span), skip.number))
        taken: dict[str, set[int]] = defaultdict(set)
        kept = []
        for skip in found:
            used = {lane for id in skip.span for lane in taken[id]}
            skip.lane = max(used, default=0) + 1
            if skip.lane > MOST_LANES or not skip.span:
                continue
            for id in skip.span:
                taken[id].add(skip.lane)
            skip.around = _common(self._chains[id] for id in (*skip.span, skip.link.target))
            kept.append(skip)
        return kept

    def reserve(self) -> None:
        """Makes room for the lanes beside cards, and in groups beside the groups in them."""
        for card in self._plan.cards.values():
            card.reserve = 0
        groups = {group.id: group for group in self._plan.groups}
        for group in groups.values():
            group.reserve = 0
        for skip in self.skips:
            room = skip.lane * LANE
            for id in skip.span:
                if len(self._chains[id]) == len(skip.around):
                    self._plan.cards[id].reserve = max(self._plan.cards[id].reserve, room)
                elif skip.around:
                    holder = groups[skip.around[-1]]
                    holder.reserve = max(holder.reserve, room)

    def route(self, layout: Layout, down: bool) -> frozenset[int]:
        """Gives every shortcut its way. Returns those that would run into something."""
        router = _Router(self._plan, layout, down)
        failed = {skip.number for skip in self.skips if not router.route(skip, self.skips)}
        return frozenset(failed)


class _Router:
    def __init__(self, plan: Plan, layout: Layout, down: bool) -> None:
        self._plan = plan
        self._layout = layout
        self._chains = plan.chains
        self._down = down
        self._ways: dict[int, tuple[float, set[str]]] = {}
        """Where each shortcut runs, and what it passes."""
        self._cards: dict[str, Rect] = {}
        for id, middle in layout.cards.items():
            self._cards[id] = self._turned(around(middle, plan.cards[id].width, plan.cards[id].height))
        self._groups = {id: self._turned(rect) for id, rect in layout.groups.items()}

    def _turned(self, rect: Rect) -> Rect:
        return rect if self._down else turned(rect)

    def _point(self, point: Point) -> Point:
        return point if self._down else (point[1], point[0])

    def route(self, skip: Skip, others: Sequence[Skip]) -> bool:
        link = skip.link
        start, level_from = self._start(skip, others)
        if start is None:
            return False
        target = self._cards[link.target]
        passed = [self._outline(id, len(skip.around)) for id in (*skip.span, link.target)]
        x = max([rect[2] for rect in passed] + [start[0]]) + LANE * 0.75
        for lane, span in self._ways.values():
            if not span.isdisjoint(skip.span):
                x = max(x, lane + LANE * 0.75)
        entering = [other for other in others if other.link.target == link.target]
        place = entering.index(skip)
        y = target[1] + (target[3] - target[1]) * (place + 1) / (len(entering) + 1)
        corners = [start, (x, start[1]), (x, y), (target[2] + ARROW, y)]
        if not self._is_free(corners, skip, level_from):
            return False
        self._ways[skip.number] = (x, set(skip.span))
        self._layout.routes[skip.number] = Route(
            [self._point(corner) for corner in corners], self._point((target[2], y)), None, straight=True,
            fork=level_from is not None,
        )  # fmt: skip
        return True

    def _outline(self, id: str, depth: int) -> Rect:
        """A card, or the group that it is in, where that lies within the groups around the shortcut."""
        chain = self._chains[id]
        return self._groups[chain[depth]] if len(chain) > depth else self._cards[id]

    def _start(self, skip: Skip, others: Sequence[Skip]) -> tuple[Point | None, int | None]:
        """Where it leaves the trunk, and the number of the link it leaves; or the side of its source."""
        source = self._cards[skip.link.source]
        span = set(skip.span)
        ways = [
            number
            for number, link in enumerate(self._plan.links)
            if link.source == skip.link.source and link.target in span and not link.skip
        ]
        same = [other for other in others if other.link.source == skip.link.source]
        rank = same.index(skip)
        if len(ways) != 1:
            y = source[1] + (source[3] - source[1]) * (len(same) - rank) / (len(same) + 1)
            return (source[2], y), None
        (number,) = ways
        first = self._plan.links[number].target
        depth = len(skip.around)
        high = self._outline(first, depth)[1] - (ARROW + 3 if len(self._chains[first]) <= depth else 4)
        low = source[3]
        chain = self._chains[skip.link.source]
        if chain[:depth] != skip.around:
            # It comes from outside: it leaves the trunk inside.
            low = self._groups[skip.around[-1]][1]
        elif len(chain) > depth:
            low = self._groups[chain[depth]][3]
        y = high - 5 * rank - 2
        if y < low + 2:
            y = (high + low) / 2
        trunk = self._layout.routes[number]
        if trunk is None:
            return None, None
        points = [self._point(point) for point in trunk.points]
        x = crossing(points, y)
        return (None, None) if x is None else ((x, y), number)

    def _is_free(self, corners: Sequence[Point], skip: Skip, level_from: int | None) -> bool:
        ends = {skip.link.target, skip.link.source}
        for id, rect in self._cards.items():
            if id not in ends and line_meets(corners, rect):
                return False
        # The shape that is written on the trunk gives way, or is in the way.
        for number, route in enumerate(self._layout.routes):
            text = self._plan.links[number].text
            if route is None or route.text is None or not text:
                continue
            width, height = self._plan.links[number].width + 2, 12.0
            rect = self._turned(around(route.text, width, height))
            if line_meets(corners, rect):
                if number != level_from or not self._down:
                    return False
                route.text = (route.text[0], corners[0][1] - height / 2 - 2)
        return True


def _common(chains: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    found: tuple[str, ...] | None = None
    for chain in chains:
        if found is None:
            found = chain
            continue
        length = 0
        while length < min(len(found), len(chain)) and found[length] == chain[length]:
            length += 1
        found = found[:length]
    return found or ()


def _lane(link: Link, after: Mapping[str, Sequence[str]]) -> set[str]:
    """The cards between the target of a shortcut and the join, which only cut or pad."""
    found: set[str] = set()
    id = link.target
    while id != link.end and id not in found:
        found.add(id)
        (id,) = after[id]
    return found


def _reached(start: str, after: Mapping[str, Sequence[str]]) -> set[str]:
    """What can be reached from a card, itself not among it."""
    found: set[str] = set()
    stack = list(after.get(start, ()))
    while stack:
        id = stack.pop()
        if id not in found and id != start:
            found.add(id)
            stack.extend(after.get(id, ()))
    return found
