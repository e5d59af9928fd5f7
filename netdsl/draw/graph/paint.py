"""A graph that has been laid out, on a canvas."""

from __future__ import annotations

from netdsl.analysis.notation import printable
from netdsl.draw.canvas import Canvas, number, smooth
from netdsl.draw.graph import legend
from netdsl.draw.graph.cards import GAP, LINE, PAD, SIZE, SMALL, Card
from netdsl.draw.graph.figures import cost
from netdsl.draw.graph.geometry import Point
from netdsl.draw.graph.layout import Layout, Route
from netdsl.draw.graph.plan import EDGE_SIZE, HEADING, Group, Link, Plan
from netdsl.draw.lettering import fitted, text_width
from netdsl.draw.options import Options
from netdsl.draw.picture import Picture
from netdsl.draw.words import headline

EDGE = 24
"""Paper around the drawing, in pixels."""
TITLE, FACTS = 18, 11.5
"""Font sizes of the title and what stands under it."""


def paint(picture: Picture, plan: Plan, layout: Layout, options: Options) -> str:
    """The drawing as an SVG document."""
    return _Painter(picture, plan, layout, options).document()


class _Painter:
    def __init__(self, picture: Picture, plan: Plan, layout: Layout, options: Options) -> None:
        self._picture = picture
        self._plan = plan
        self._layout = layout
        self._options = options
        self._theme = options.theme
        self._canvas = Canvas(options.theme)
        self._costs: dict[str, int | None] = {}
        if options.heat is not None:
            self._costs = {id: cost(card.items, options.heat) for id, card in plan.cards.items() if card.items}
        self._most = max((value or 0 for value in self._costs.values()), default=0)

    def document(self) -> str:
        layout, theme = self._layout, self._theme
        title = fitted(printable(self._options.title or self._picture.network.name), 560, TITLE, True)
        report = self._picture.report
        facts = [headline(report.parameters, report.macs), *(fitted(note, 560, FACTS) for note in self._picture.notes)]
        categories = {row.category for card in self._plan.cards.values() for row in card.rows}
        found = legend.entries(
            theme,
            () if self._costs else categories,
            any(link.skip for link in self._plan.links),
            any(card.training for card in self._plan.cards.values()),
        )
        wide = max(
            layout.width,
            text_width(title, TITLE, True),
            *(text_width(fact, FACTS) for fact in facts),
            min(legend.row_width(found), 340) if found else 0,
            *(entry.width for entry in found),
            legend.HEAT_WIDTH if self._costs else 0,
        )
        rows = legend.rows_of(found, wide)
        width = wide + 2 * EDGE
        top = EDGE + TITLE + 16 * len(facts) + 18
        canvas = self._canvas
        canvas.text(width / 2, EDGE + TITLE * 0.8, title, size=TITLE, bold=True, anchor="middle", kind="title")
        for at, fact in enumerate(facts):
            canvas.text(
                width / 2,
                EDGE + TITLE + 15 * (at + 1),
                fact,
                size=FACTS,
                fill=theme.faint,
                anchor="middle",
                kind="facts",
            )
        canvas.begin("graph", shift=((width - layout.width) / 2, top))
        for group in self._plan.groups:
            self._group(group)
        order = sorted(range(len(self._plan.links)), key=lambda at: self._plan.links[at].skip)
        for at in order:
            self._link(self._plan.links[at], layout.routes[at])
        for id, card in self._plan.cards.items():
            self._card(card, layout.cards[id])
        for link, route in zip(self._plan.links, layout.routes, strict=True):
            self._shape(link, route)
        canvas.end()
        bottom = top + layout.height + 26
        canvas.begin("legend")
        if self._costs and self._options.heat is not None:
            legend.draw_heat(canvas, (width - legend.HEAT_WIDTH) / 2, bottom, self._most, self._options.heat)
            bottom += 30
        for row in rows:
            self._legend_row(row, (width - legend.row_width(row)) / 2, bottom)
            bottom += legend.LINE
        canvas.end()
        return canvas.document(
            width,
            bottom + EDGE - 8,
            title=self._options.title or self._picture.network.name,
            description=self._options.description or self._described(),
            style="graph",
            page=self._options.width,
        )

    def _described(self) -> str:
        """The drawing in words."""
        network, report = self._picture.network, self._picture.report
        inputs = ", ".join(f"{name} {type}" for name, type in network.input_types().items())
        outputs = ", ".join(f"{name} {network.type_of(node)}" for name, node in network.outputs.items())
        return (
            f"The layers of {network.name} as boxes, with the shapes of the tensors between them. Inputs: {inputs}. "
            f"Outputs: {outputs}. {len(network.table):,} layers, {headline(report.parameters, report.macs)}."
        )

    # ---------------------------------------------------------------------------------------------------------- parts

    def _group(self, group: Group) -> None:
        theme = self._theme
        left, top, right, bottom = self._layout.groups[group.id]
        self._canvas.begin("cluster", group.tip)
        self._canvas.rect(
            left, top, right - left, bottom - top, fill=theme.ground(group.level), stroke=theme.ground_line, radius=7,
            dash="5 3" if group.training else "", thickness=0.8,
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
        line = theme.paint("scope" if self._costs else card.rows[0].category).line
        radius = height / 2 if card.is_terminal else 4.0
        shade = self._shade(card)
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
        if not self._costs or card.is_terminal:
            return ""
        value = self._costs[card.id]
        return self._theme.heat((value / self._most) ** 0.5 if value and self._most else 0)

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

    def _legend_row(self, row: list[legend.Entry], left: float, top: float) -> None:
        canvas, theme = self._canvas, self._theme
        for entry in row:
            middle = top + 6
            if entry.kind == "fill":
                paint = theme.paint(entry.sign)
                fill = canvas.hatch(paint) if paint.hatch else paint.fill
                canvas.rect(left, top, legend.SWATCH, 12, fill=fill, stroke=paint.line, radius=2)
            elif entry.sign == "skip":
                canvas.line(left, middle, left + legend.SWATCH, middle, stroke=theme.skip, thickness=1.7)
            else:
                canvas.line(left, middle, left + legend.SWATCH, middle, stroke=theme.faint, thickness=1.2, dash="4 3")
            canvas.text(left + legend.SWATCH + legend.GAP, middle + 3.5, entry.word, size=legend.SIZE, fill=theme.faint)
            left += entry.width + legend.BETWEEN


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
