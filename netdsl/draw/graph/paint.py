"""The parts of a graph that has been laid out, on a canvas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from netdsl.draw.canvas import Canvas, number, smooth
from netdsl.draw.graph.cards import GAP, LINE, PAD, SIZE, SMALL, Card
from netdsl.draw.graph.geometry import Point
from netdsl.draw.graph.layout import Layout, Route
from netdsl.draw.graph.plan import EDGE_SIZE, HEADING, Group, Link, Plan
from netdsl.draw.lettering import text_width
from netdsl.draw.palette import Theme

Mark = Literal["added", "removed", "changed"]
SIGNS: Mapping[Mark, str] = {"added": "+", "removed": "\N{MINUS SIGN}", "changed": "\N{ALMOST EQUAL TO}"}
DASHES: Mapping[Mark, str] = {"added": "", "removed": "6 3", "changed": "2 2.5"}
"""They tell marks apart where colours do not."""


def mark_color(theme: Theme, mark: Mark) -> str:
    return {"added": theme.good, "removed": theme.bad, "changed": theme.changed}[mark]


class Painter:
    """Draws a plan. `shades` are colours of cards by what they cost, `marks` what differs from another network."""

    def __init__(
        self, plan: Plan, layout: Layout, canvas: Canvas, shades: Mapping[str, str], marks: Mapping[str, Mark]
    ) -> None:
        self._plan = plan
        self._layout = layout
        self._canvas = canvas
        self._theme = canvas.theme
        self._shades = shades
        self._marks = marks

    def draw(self, left: float, top: float) -> None:
        """Draws all parts, the corner of the drawing at (left, top)."""
        plan, layout = self._plan, self._layout
        self._canvas.begin("graph", shift=(left, top))
        for group in plan.groups:
            self._group(group)
        # Shortcuts lie on top of other lines.
        for at in sorted(range(len(plan.links)), key=lambda at: plan.links[at].skip):
            self._link(plan.links[at], layout.routes[at])
        for id, card in plan.cards.items():
            self._card(card, layout.cards[id])
        for link, route in zip(plan.links, layout.routes, strict=True):
            self._shape(link, route)
        self._canvas.end()

    # ---------------------------------------------------------------------------------------------------------- parts

    def _group(self, group: Group) -> None:
        theme = self._theme
        left, top, right, bottom = self._layout.groups[group.id]
        mark = self._marks.get(group.id)
        self._canvas.begin("cluster", group.tip)
        self._canvas.rect(
            left, top, right - left, bottom - top, fill=theme.ground(group.level),
            stroke=mark_color(theme, mark) if mark else theme.ground_line, radius=7,
            dash=DASHES[mark] if mark else "5 3" if group.training else "", thickness=1.8 if mark else 0.8,
        )  # fmt: skip
        x, base = left + 10, top + 7 + HEADING * 0.72
        if group.heading:
            self._canvas.text(x, base, group.heading, size=HEADING, bold=True)
            if group.is_line:
                x += text_width(group.heading, HEADING, True) + 6
            else:
                base += 12.5
        if group.under:
            self._canvas.text(x, base, group.under, size=SMALL, fill=theme.faint)
        self._canvas.end()

    def _card(self, card: Card, middle: Point) -> None:
        canvas, theme = self._canvas, self._theme
        width, height = card.width, card.height
        left, top = middle[0] - width / 2, middle[1] - height / 2
        canvas.begin("node", card.tip)
        shade = self._shade(card)
        line = theme.paint("scope" if shade else card.rows[0].category).line
        radius = height / 2 if card.is_terminal else 4.0
        y = top
        for at, row in enumerate(card.rows):
            last = at == len(card.rows) - 1 and not card.lines
            tall = row.height
            fill = shade or theme.paint(row.category).fill
            canvas.path(_rounded(left, y, width, tall, radius if at == 0 else 0, radius if last else 0), fill=fill)
            if theme.paint(row.category).hatch and not shade:
                canvas.path(
                    _rounded(left, y, 6, tall, radius if at == 0 else 0, radius if last else 0, right=False),
                    fill=canvas.hatch(theme.paint(row.category)),
                )
            y += row.height
        if card.lines:
            canvas.path(_rounded(left, y, width, top + height - y, 0, radius), fill=shade or theme.paint("scope").fill)
        canvas.rect(
            left, top, width, height, stroke=line, radius=radius, dash="4 3" if card.training else "",
            thickness=1.1, kind="card",
        )  # fmt: skip
        self._texts(card, left, top)
        canvas.end()
        self._mark(card, left, top)

    def _texts(self, card: Card, left: float, top: float) -> None:
        canvas, theme = self._canvas, self._theme
        right = left + card.width - PAD
        y = top
        for at, row in enumerate(card.rows):
            base = y + row.height / 2 + SIZE * 0.35
            inner = left + PAD
            if card.is_terminal and not row.name:
                canvas.text(left + card.width / 2, base, row.text, size=SIZE, bold=True, anchor="middle")
            elif row.text:
                canvas.text(inner, base, row.text, size=SIZE, bold=row.bold)
            end = right
            if at == 0 and card.badge:
                canvas.text(end, base, card.badge, size=SIZE, bold=True, anchor="end")
                end -= text_width(card.badge, SIZE, True) + GAP / 2
            if row.name:
                faint = theme.faint if not self._shade(card) else theme.ink
                if row.text:
                    canvas.text(end, base, row.name, size=SMALL, fill=faint, anchor="end")
                else:
                    canvas.text(inner, base - 2, row.name, size=SMALL, fill=faint)
            y += row.height
        for line in card.lines:
            y += LINE
            canvas.text(left + PAD, y - 3, line, size=SMALL, fill=theme.ink if self._shade(card) else theme.faint)

    def _shade(self, card: Card) -> str:
        """The colour of what a card costs; "" where it is coloured by its kind."""
        return self._shades.get(card.id, "")

    def _mark(self, card: Card, left: float, top: float) -> None:
        """A frame and a sign around a card that differs."""
        mark = self._marks.get(card.id)
        if mark is None:
            return
        color = mark_color(self._theme, mark)
        self._canvas.begin("mark", mark)
        self._canvas.rect(
            left - 3.5, top - 3.5, card.width + 7, card.height + 7, stroke=color, radius=6, thickness=2.2,
            dash=DASHES[mark], kind="mark",
        )  # fmt: skip
        x, y = left - 3.5, top - 3.5
        self._canvas.rect(x - 7, y - 7, 14, 14, fill=color, radius=7, kind="mark")
        self._canvas.text(
            x, y + 4.2, SIGNS[mark], size=12, fill=self._theme.paper, bold=True, anchor="middle", kind="mark"
        )
        self._canvas.end()

    def _link(self, link: Link, route: Route | None) -> None:
        if route is None:
            return
        canvas, theme = self._canvas, self._theme
        color, thickness, dash = theme.wire, 1.2, ""
        if link.training:
            color, dash = theme.faint, "4 3"
        elif link.skip:
            color, thickness = theme.skip, 1.7
        canvas.begin("edge skip" if link.skip else "edge", link.tip)
        if route.straight:
            d = smooth(route.points, 9)
        else:
            d = f"M{_at(route.points[0])}"
            for at in range(1, len(route.points) - 2, 3):
                d += "C" + " ".join(_at(point) for point in route.points[at : at + 3])
        canvas.path(d, stroke=color, thickness=thickness, dash=dash)
        if route.fork:
            x, y = route.points[0]
            canvas.rect(x - 2.2, y - 2.2, 4.4, 4.4, radius=2.2, fill=color)
        canvas.polygon(_arrow(route.points[-1], route.tip), fill=color)
        canvas.end()

    def _shape(self, link: Link, route: Route | None) -> None:
        if route is None or route.text is None or not link.text:
            return
        x, y = route.text
        self._canvas.text(
            x, y + EDGE_SIZE * 0.35, link.text, size=EDGE_SIZE, fill=self._theme.faint, anchor="middle", kind="shape"
        )


def _at(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"


def _arrow(start: Point, tip: Point) -> list[Point]:
    """A slim triangle from the end of a line to its tip."""
    dx, dy = tip[0] - start[0], tip[1] - start[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    half = 2.9
    nx, ny = -dy / length * half, dx / length * half
    return [tip, (start[0] + nx, start[1] + ny), (start[0] - nx, start[1] - ny)]


def _rounded(
    left: float, top: float, width: float, height: float, above: float, below: float, right: bool = True
) -> str:
    """A rectangle whose corners are rounded by these radii, on the right too or not."""
    a, b = above, below
    ar, br = (a, b) if right else (0.0, 0.0)
    x1, y1 = left + width, top + height
    n = number
    return (
        f"M{n(left + a)} {n(top)}H{n(x1 - ar)}"
        + (f"A{n(ar)} {n(ar)} 0 0 1 {n(x1)} {n(top + ar)}" if ar else "")
        + f"V{n(y1 - br)}"
        + (f"A{n(br)} {n(br)} 0 0 1 {n(x1 - br)} {n(y1)}" if br else "")
        + f"H{n(left + b)}"
        + (f"A{n(b)} {n(b)} 0 0 1 {n(left)} {n(y1 - b)}" if b else "")
        + f"V{n(top + a)}"
        + (f"A{n(a)} {n(a)} 0 0 1 {n(left + a)} {n(top)}" if a else "")
        + "Z"
    )
