"""Places for everything, by Graphviz: it is told how large all things are, and says where they are.

Lengths are pixels on our side; Graphviz counts points, and one stands for a pixel. Its y goes up, ours goes down.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from netdsl.draw import engines
from netdsl.draw.errors import DrawError
from netdsl.draw.graph.geometry import Point
from netdsl.draw.graph.plan import EDGE_SIZE, MARGIN, Group, Link, Plan
from netdsl.draw.options import Direction

MANY = 600
"""Cards from which on a layout that is good enough is taken: the best one takes minutes for a thousand."""


@dataclass
class Route:
    """An edge: a start, and three points (two of control, one on the way) for each piece of the curve; then the tip of
    the arrow, and the middle of its text."""

    points: list[Point]
    tip: Point
    text: Point | None
    straight: bool = False
    """Whether the points are corners of straight pieces, to be rounded."""
    fork: bool = False
    """Whether it begins on another edge."""


@dataclass
class Layout:
    """Where everything is: middles of cards, corners of groups (left, top, right, bottom), routes of links."""

    width: float
    height: float
    cards: dict[str, Point]
    groups: dict[str, tuple[float, float, float, float]]
    routes: list[Route | None]
    """None for a link that Graphviz was not told of."""


def layout(plan: Plan, direction: Direction, without: frozenset[int]) -> Layout:
    """Lays a plan out, `without` the links of these numbers. Raises DrawError (E0801, E0805)."""
    answer = engines.draw(_written(plan, direction, without), "json0")
    try:
        return _read(json.loads(answer), plan)
    except (ValueError, KeyError, TypeError):
        raise DrawError("E0805", "Graphviz answered with something that is no layout", "is `dot` Graphviz?") from None


def _written(plan: Plan, direction: Direction, without: frozenset[int]) -> str:
    """The plan in Graphviz's language. Nothing of a name comes into it: ids and sizes only."""
    down = direction == "down"
    # Graphviz may look for the very best places as long as there are few things to place.
    few = "" if len(plan.cards) < MANY else "nslimit=0.1"
    lines = [
        "digraph {",
        f"graph [rankdir={'TB' if down else 'LR'} nodesep={_inches(22)} ranksep={_inches(15)} newrank=true {few}]",
        'node [shape=box fixedsize=true label="" margin=0]',
        "edge [arrowsize=0.6]",
    ]
    _write_parts(plan.parts, plan, lines, down)
    for id in plan.cards:
        if id.startswith("o"):
            lines.append(_node(id, plan, down))
    for number, link in enumerate(plan.links):
        if number not in without:
            lines.append(f"{link.source} -> {link.target} [{_attributes(number, link, down)}]")
    lines.append("}")
    return "\n".join(lines)


def _write_parts(parts: list[str | Group], plan: Plan, lines: list[str], down: bool) -> None:
    for part in parts:
        if isinstance(part, Group):
            title = _space(part.title_width, part.title_height)
            lines.append(f"subgraph {part.id} {{ graph [margin={MARGIN + part.reserve} labeljust=l label={title}]")
            _write_parts(part.parts, plan, lines, down)
            lines.append("}")
        else:
            lines.append(_node(part, plan, down))


def _node(id: str, plan: Plan, down: bool) -> str:
    """A card, with the room that shortcuts take beside it."""
    card = plan.cards[id]
    width, height = (2 * card.reserve, 0) if down else (0, 2 * card.reserve)
    return f"{id} [width={_inches(card.width + width)} height={_inches(card.height + height)}]"


def _attributes(number: int, link: Link, down: bool) -> str:
    # A trunk runs straight, and what goes beside it bends. Lanes begin side by side: they hang on what they come from.
    weight = 1000 if link.trunk else link.pull
    label = ""
    if link.text:
        label = f" label={_space(link.width + (10 if down else 6), EDGE_SIZE + 4)}"
    return f"id=e{number} weight={weight}{label}"


def _space(width: float, height: float) -> str:
    """A label that is so large and empty; none for no size."""
    if not width or not height:
        return '""'
    return (
        f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="0" fixedsize="true" width="{round(width)}" '
        f'height="{round(height)}"><tr><td></td></tr></table>>'
    )


def _inches(pixels: float) -> str:
    return f"{pixels / 72:.4f}"


def _read(found: dict[str, Any], plan: Plan) -> Layout:
    left, bottom, right, top = (float(number) for number in found["bb"].split(","))

    def place(text: str) -> Point:
        x, y = text.split(",")
        return float(x) - left, top - float(y)

    cards: dict[str, Point] = {}
    groups: dict[str, tuple[float, float, float, float]] = {}
    for part in found.get("objects", ()):
        if "pos" in part:
            cards[part["name"]] = place(part["pos"])
        elif "bb" in part:
            x0, y0, x1, y1 = (float(number) for number in part["bb"].split(","))
            groups[part["name"]] = (x0 - left, top - y1, x1 - left, top - y0)
    routes: dict[int, Route] = {}
    for edge in found.get("edges", ()):
        tip: Point | None = None
        points: list[Point] = []
        for word in edge["pos"].split():
            if word.startswith("e,"):
                tip = place(word[2:])
            else:
                points.append(place(word))
        routes[int(edge["id"][1:])] = Route(points, tip or points[-1], place(edge["lp"]) if "lp" in edge else None)
    return Layout(right - left, top - bottom, cards, groups, [routes.get(number) for number in range(len(plan.links))])


def widened(found: Layout) -> Layout:
    """The same, with room for the shortcuts that run beside all else."""
    points = [point for route in found.routes if route is not None for point in (*route.points, route.tip)]
    for left, top, right, bottom in found.groups.values():
        points += [(left, top), (right, bottom)]
    width = max([found.width, *(x + 3 for x, _ in points)])
    height = max([found.height, *(y + 3 for _, y in points)])
    return Layout(width, height, found.cards, found.groups, found.routes)
