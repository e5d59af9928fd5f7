"""A sheet of paper with one graph on it, or with several side by side: titles above, a legend below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netdsl.analysis.notation import printable
from netdsl.draw.canvas import Canvas
from netdsl.draw.graph import legend
from netdsl.draw.graph.figures import cost
from netdsl.draw.graph.layout import Layout
from netdsl.draw.graph.paint import Mark, Painter
from netdsl.draw.graph.plan import Plan
from netdsl.draw.lettering import fitted, text_width
from netdsl.draw.options import Options
from netdsl.draw.picture import Picture
from netdsl.draw.words import headline

EDGE = 24
"""Paper around the drawing, in pixels."""
BETWEEN = 48
"""Between graphs side by side."""
TITLE, FACTS = 18, 11.5
"""Font sizes of a title and of what stands under it."""
WIDEST_TITLE = 560
NARROWEST = 340
"""A legend may be so wide, however slim the graph."""


@dataclass
class Panel:
    """One graph. `said` is what is written below its title besides its size."""

    picture: Picture
    plan: Plan
    layout: Layout
    title: str
    said: Sequence[str] = ()
    marks: Mapping[str, Mark] = field(default_factory=dict)

    @property
    def shown_title(self) -> str:
        return fitted(printable(self.title), WIDEST_TITLE, TITLE, True)

    @property
    def facts(self) -> list[str]:
        report = self.picture.report
        notes = [fitted(note, WIDEST_TITLE, FACTS) for note in (*self.said, *self.picture.notes)]
        return [headline(report.parameters, report.macs), *notes]

    @property
    def width(self) -> float:
        widths = [text_width(fact, FACTS) for fact in self.facts]
        return max(self.layout.width, text_width(self.shown_title, TITLE, True), *widths)

    def described(self) -> str:
        """The graph in words."""
        network, report = self.picture.network, self.picture.report
        inputs = ", ".join(f"{name} {type}" for name, type in network.input_types().items())
        outputs = ", ".join(f"{name} {network.type_of(node)}" for name, node in network.outputs.items())
        return (
            f"The layers of {self.title} as boxes, with the shapes of the tensors between them. Inputs: {inputs}. "
            f"Outputs: {outputs}. {len(network.table):,} layers, {headline(report.parameters, report.macs)}."
        )


def sheet(panels: Sequence[Panel], options: Options, title: str, said: str = "") -> str:
    """The graphs as one SVG document. `said` is what its description says besides."""
    theme = options.theme
    canvas = Canvas(theme)
    costs = [_costs(panel, options) for panel in panels]
    most = max((value or 0 for found in costs for value in found.values()), default=0)
    entries = legend.entries(
        theme,
        ()
        if options.heat
        else {row.category for panel in panels for card in panel.plan.cards.values() for row in card.rows},
        any(link.skip for panel in panels for link in panel.plan.links),
        any(card.training for panel in panels for card in panel.plan.cards.values()),
        {mark for panel in panels for mark in panel.marks.values()},
    )
    wide = max(
        sum(panel.width for panel in panels) + BETWEEN * (len(panels) - 1),
        min(legend.row_width(entries), NARROWEST) if entries else 0,
        *(entry.width for entry in entries),
        legend.HEAT_WIDTH if options.heat else 0,
    )
    rows = legend.rows_of(entries, wide)
    width = wide + 2 * EDGE
    top = EDGE + TITLE + 16 * max(len(panel.facts) for panel in panels) + 18
    tall = max(panel.layout.height for panel in panels)
    # What is left over lies on both sides of the panels.
    left = EDGE + (wide - sum(panel.width for panel in panels) - BETWEEN * (len(panels) - 1)) / 2
    for number, panel in enumerate(panels):
        if number:
            x = left - BETWEEN / 2
            canvas.line(x, EDGE, x, top + tall, stroke=theme.ground_line, thickness=0.6, dash="2 4")
        middle = left + panel.width / 2
        canvas.text(middle, EDGE + TITLE * 0.8, panel.shown_title, size=TITLE, bold=True, anchor="middle", kind="title")
        for at, fact in enumerate(panel.facts):
            y = EDGE + TITLE + 15 * (at + 1)
            canvas.text(middle, y, fact, size=FACTS, fill=theme.faint, anchor="middle", kind="facts")
        shades = {id: theme.heat((value / most) ** 0.5 if value and most else 0) for id, value in costs[number].items()}
        Painter(panel.plan, panel.layout, canvas, shades, panel.marks).draw(middle - panel.layout.width / 2, top)
        left += panel.width + BETWEEN
    bottom = top + tall + 26
    canvas.begin("legend")
    if options.heat is not None:
        legend.draw_heat(canvas, (width - legend.HEAT_WIDTH) / 2, bottom, most, options.heat)
        bottom += 30
    for row in rows:
        legend.draw_row(canvas, row, (width - legend.row_width(row)) / 2, bottom)
        bottom += legend.LINE
    canvas.end()
    words = " ".join([*(panel.described() for panel in panels), *([said] if said else [])])
    return canvas.document(
        width,
        bottom + EDGE - 8,
        title=title,
        description=options.description or words,
        style="graph",
        page=options.width,
    )


def _costs(panel: Panel, options: Options) -> dict[str, int | None]:
    if options.heat is None:
        return {}
    return {id: cost(card.items, options.heat) for id, card in panel.plan.cards.items() if card.items}
