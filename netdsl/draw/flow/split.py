"""From steps that read each other to series, forks and tangles."""

from __future__ import annotations

import heapq
from collections import defaultdict
from itertools import pairwise

from netdsl.draw.flow.parts import Fork, Series, Step, Tangle, steps_of

MAX_NESTING = 60
"""Forks within lanes of forks; deeper ones are tangles."""


def ordered(steps: dict[int, Step], main: set[int]) -> list[int]:
    """The steps, those that are read first, and as the spec has them where that leaves a choice."""
    waiting = {number: sum(source in main for source in steps[number].inputs) for number in main}
    readers: dict[int, list[int]] = defaultdict(list)
    for number in main:
        for source in steps[number].inputs:
            readers[source].append(number)
    ready = [number for number, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[int] = []
    done: set[int] = set()
    rest = iter(sorted(main))
    while len(order) < len(main):
        # A closed scope may read what reads it: then whichever comes first in the spec is drawn first.
        number = heapq.heappop(ready) if ready else next(number for number in rest if number not in done)
        if number in done:
            continue
        done.add(number)
        order.append(number)
        steps[number].inputs = [source for source in steps[number].inputs if source in done and source != number]
        for reader in readers[number]:
            waiting[reader] -= 1
            if not waiting[reader] and reader not in done:
                heapq.heappush(ready, reader)
    return order


class Splitter:
    """Splits steps in order into series, forks and tangles."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def series(self, places: list[int], edges: list[tuple[int, int]], start: int, stop: int, level: int) -> Series:
        """The steps at `places`, in order, wired by `edges`, of which some come from `start` and go to `stop`."""
        parts: Series = []
        rank = {place: at for at, place in enumerate([start, *places, stop])}
        # A step that no edge leads past is on every way through.
        past = [0] * (len(rank) + 1)
        for source, target in edges:
            past[rank[source] + 1] += 1
            past[rank[target]] -= 1
        cuts, crossing = [start], 0
        for at, place in enumerate(places, 1):
            crossing += past[at]
            if not crossing:
                cuts.append(place)
        cuts.append(stop)
        by_gap: list[list[tuple[int, int]]] = [[] for _ in cuts[1:]]
        gap_of: dict[int, int] = {}
        gap = -1
        cut_set = set(cuts)
        for place in rank:
            if place in cut_set:
                gap += 1
            gap_of[place] = gap
        for edge in edges:
            by_gap[gap_of[edge[0]]].append(edge)
        inside: list[list[int]] = [[] for _ in cuts]
        for place in places:
            if place not in cut_set:
                inside[gap_of[place]].append(place)
        for gap, (first, last) in enumerate(pairwise(cuts)):
            parts.extend(self._between(inside[gap], by_gap[gap], (first, last), (start, stop), level))
            if last != stop:
                parts.append(self._steps[last])
        return parts

    def _between(
        self, places: list[int], edges: list[tuple[int, int]], cut: tuple[int, int], ends: tuple[int, int], level: int
    ) -> Series:
        """What lies between two steps that every way leads through."""
        first, last = cut
        direct = sum(edge == cut for edge in edges)
        if not places and direct <= 1:
            return []
        lanes = self._components(places, edges, cut)
        if (len(lanes) == 1 and not direct) or level >= MAX_NESTING:
            return [Tangle([self._steps[place] for place in places])]
        source = first if first >= 0 else None
        join = last if last < len(self._steps) else None
        series = [self.series(inner, wired, first, last, level + 1) for inner, wired in lanes]
        series += [[] for _ in range(direct)]
        return [Fork(self._in_order(series, source, join), self._number(source), self._number(join))]

    def _number(self, place: int | None) -> int | None:
        return None if place is None else self._steps[place].number

    def _components(
        self, places: list[int], edges: list[tuple[int, int]], cut: tuple[int, int]
    ) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Steps that are wired with each other, and their edges, for each lane."""
        parent = {place: place for place in places}

        def root(place: int) -> int:
            while parent[place] != place:
                parent[place] = parent[parent[place]]
                place = parent[place]
            return place

        for source, target in edges:
            if source not in cut and target not in cut:
                parent[root(target)] = root(source)
        found: dict[int, tuple[list[int], list[tuple[int, int]]]] = {}
        for place in places:
            found.setdefault(root(place), ([], []))[0].append(place)
        for edge in edges:
            if edge != cut:
                found[root(edge[1] if edge[0] in cut else edge[0])][1].append(edge)
        return list(found.values())

    def _in_order(self, lanes: list[Series], source: int | None, join: int | None) -> list[Series]:
        """The lanes in the order in which their join reads them."""
        if join is None:
            return lanes
        reads = self._steps[join].inputs
        start = self._number(source)

        def key(lane: Series) -> int:
            numbers: set[int | None] = {step.number for step in steps_of(lane)}
            numbers = numbers or {start}
            return next((at for at, number in enumerate(reads) if number in numbers), len(reads))

        return sorted(lanes, key=key)
