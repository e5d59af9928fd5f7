"""Places for all of a graph: Graphviz's for cards, ours for the lines."""

from __future__ import annotations

from netdsl.draw.graph.forks import straighten
from netdsl.draw.graph.layout import Layout, layout, widened
from netdsl.draw.graph.plan import Plan
from netdsl.draw.graph.skips import Skips
from netdsl.draw.graph.texts import settle
from netdsl.draw.options import Options


def placed(planned: Plan, options: Options) -> Layout:
    """Lays a plan out. A shortcut that would run into something is left to Graphviz, which then has to begin anew.

    Raises DrawError.
    """
    down = options.direction == "down"
    left: frozenset[int] = frozenset()
    while True:
        skips = Skips(planned, left)
        skips.reserve()
        found = layout(planned, options.direction, skips.numbers)
        failed = skips.route(found, down)
        if not failed:
            straighten(planned, found, down)
            settle(planned, found, down)
            return widened(found)
        left |= failed
