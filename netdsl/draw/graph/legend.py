"""What the colours and lines of a graph mean, written below it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from netdsl.draw.canvas import Canvas
from netdsl.draw.graph.figures import COST_NAMES, spelled
from netdsl.draw.graph.paint import DASHES, SIGNS, Mark, mark_color
from netdsl.draw.lettering import text_width
from netdsl.draw.options import Heat
from netdsl.draw.palette import Theme

SIZE = 10
SWATCH, GAP, BETWEEN, LINE = 16, 6, 18, 20


@dataclass(frozen=True)
class Entry:
    """A sample and its word. `sign` is a category of layers, or a kind of line."""

    word: str
    kind: Literal["fill", "line", "mark"]
    sign: str

    @property
    def width(self) -> float:
        return SWATCH + GAP + text_width(self.word, SIZE)


def entries(
    theme: Theme, categories: Iterable[str], skips: bool, training: bool, marks: Collection[Mark] = ()
) -> list[Entry]:
    """What a legend has to say: the categories that there are, in the order of the theme, unusual lines, marks."""
    present = set(categories)
    found = [
        Entry(paint.word, "fill", name) for name, paint in theme.paints.items() if name in present and name != "input"
    ]
    if skips:
        found.append(Entry("shortcut", "line", "skip"))
    if training:
        found.append(Entry("training only", "line", "training"))
    return found + [Entry(mark, "mark", mark) for mark in SIGNS if mark in marks]


def rows_of(found: list[Entry], width: float) -> list[list[Entry]]:
    """The entries in rows that are as wide as the drawing at most."""
    rows: list[list[Entry]] = []
    used = width
    for entry in found:
        used += BETWEEN + entry.width
        if not rows or used > width:
            rows.append([])
            used = entry.width
        rows[-1].append(entry)
    return rows


def row_width(row: list[Entry]) -> float:
    return sum(entry.width for entry in row) + BETWEEN * (len(row) - 1)


HEAT_WIDTH = 220


def draw_heat(canvas: Canvas, left: float, top: float, most: int | None, of: Heat) -> None:
    """The scale of costs: shades go with the square root, so that small costs can be told apart."""
    theme = canvas.theme
    steps = 44
    for step in range(steps):
        canvas.rect(
            left + step * HEAT_WIDTH / steps, top, HEAT_WIDTH / steps + 0.4, 10, fill=theme.heat((step + 0.5) / steps)
        )
    canvas.rect(left, top, HEAT_WIDTH, 10, stroke=theme.ground_line)
    name = COST_NAMES[of]
    canvas.text(left, top - 5, name[0].upper() + name[1:] if name != "MACs" else name, size=SIZE, fill=theme.faint)
    if most:
        for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
            canvas.text(
                left + share * HEAT_WIDTH, top + 22, spelled(round(most * share * share), of), size=SIZE,
                fill=theme.faint, anchor=anchor,  # type: ignore[arg-type]
            )  # fmt: skip


def draw_row(canvas: Canvas, row: list[Entry], left: float, top: float) -> None:
    """Samples and their words, from `left` on."""
    theme = canvas.theme
    middle = top + 6
    for entry in row:
        right = left + SWATCH
        if entry.kind == "fill":
            paint = theme.paint(entry.sign)
            canvas.rect(left, top, SWATCH, 12, fill=canvas.hatch(paint), stroke=paint.line, radius=2)
        elif entry.kind == "mark":
            mark: Mark = entry.sign  # type: ignore[assignment]
            color = mark_color(theme, mark)
            canvas.rect(left, top, SWATCH, 12, stroke=color, radius=3, thickness=2, dash=DASHES[mark])
            canvas.text(left + SWATCH / 2, middle + 3.5, SIGNS[mark], size=SIZE, fill=color, bold=True, anchor="middle")
        elif entry.sign == "skip":
            canvas.line(left, middle, right, middle, stroke=theme.skip, thickness=1.7)
        else:
            canvas.line(left, middle, right, middle, stroke=theme.faint, thickness=1.2, dash="4 3")
        canvas.text(right + GAP, middle + 3.5, entry.word, size=SIZE, fill=theme.faint)
        left += entry.width + BETWEEN
