"""The drawing as a whole: how deep the network is opened, rows on the page, and how one row leads to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netdsl.analysis.notation import printable
from netdsl.analysis.tables import shortened
from netdsl.draw.canvas import Canvas
from netdsl.draw.flow import Flow
from netdsl.draw.lettering import fitted, text_width
from netdsl.draw.opening import opened
from netdsl.draw.options import Options
from netdsl.draw.picture import Picture
from netdsl.draw.volumes.build import Builder, Draft
from netdsl.draw.volumes.rows import breaks
from netdsl.draw.volumes.strip import Arc, Bracket, Strip, Stub, arrow, strip
from netdsl.draw.words import called, headline
from netdsl.ir.network import Network

PAGE = 960.0
"""Pixels across where no width is asked for: a slide, 254 mm."""
NARROWEST = 280.0
"""Pixels across at least: what is asked for below that is drawn so wide and made smaller."""
TALLEST_PAGE = 1.35
LEAST_PAGE = 860.0
"""How high a drawing may become before its scopes are closed: in widths, and in pixels (the text of an A4 page)."""
MARGIN = 16.0
_BETWEEN = 22.0
"""Pixels between two rows, in which the line goes back to the left."""
_NOTE = 13.0
"""Pixels of a line of notes."""
_SIDE = 12.0
"""Pixels on both sides of the rows for the line that leads from one to the next."""


def draw(network: Network, options: Options) -> str:
    """The SVG document. Raises DrawError (E0804) for more steps than the limit.

    Without a depth, scopes are open as far as the drawing fits a page; a line below it says where they are closed.
    """
    width = max(options.pixels or PAGE, NARROWEST)
    page, notes = opened(
        network, options, lambda found, read: _Page(found, read, options, width),
        lambda page: page.height <= max(TALLEST_PAGE * width, LEAST_PAGE),
    )  # fmt: skip
    page.notes = notes
    return page.draw()


def _size(width: float) -> float:
    """How large boxes are on a page of this width: those of a narrow column are smaller, so that it holds some."""
    return min(1.0, max(0.65, width / 700))


class _Page:
    """Rows and their places."""

    def __init__(self, found: Picture, read: Flow, options: Options, width: float) -> None:
        self._picture = found
        self._options = options
        room = width - 2 * (MARGIN + _SIDE)
        line = Builder(found, read, options, room, _size(width)).line()
        self.notes: tuple[str, ...] = found.notes
        starts = breaks(line.pieces, line.arcs, line.brackets, room)
        self._rows = _rows(line, starts)
        wide = max((row.width for row in self._rows), default=0.0)
        self._single = len(self._rows) == 1
        self._title = fitted(printable(options.title or found.network.name), max(wide, 200.0), 16, bold=True)
        self._facts = headline(found.report.parameters, found.report.macs)
        head = max(text_width(self._title, 16, bold=True), text_width(self._facts, 11))
        self._side = 0.0 if self._single else _SIDE
        self._width = max(wide + 2 * (MARGIN + self._side), head + 2 * MARGIN)
        self._head = MARGIN + 46.0
        self._linked = [strip.pieces[0].linked for strip in self._rows]
        y = self._head
        self._axes: list[float] = []
        for row in self._rows:
            self._axes.append(y + row.up)
            y += row.up + row.down + _BETWEEN
        self._end = y - _BETWEEN

    @property
    def height(self) -> float:
        return self._end + MARGIN + (4 + _NOTE * len(self.notes) if self.notes else 0.0)

    def draw(self) -> str:
        theme = self._options.theme
        canvas = Canvas(theme)
        canvas.text(self._width / 2, MARGIN + 14, self._title, size=16, bold=True, anchor="middle", kind="title")
        canvas.text(
            self._width / 2, MARGIN + 31, self._facts, size=11, fill=theme.faint, anchor="middle", kind="title"
        )  # fmt: skip
        left = MARGIN + self._side if not self._single else (self._width - self._rows[0].width) / 2
        for at, (row, axis) in enumerate(zip(self._rows, self._axes, strict=True)):
            if at and self._linked[at]:
                before = self._rows[at - 1]
                y = self._axes[at - 1] + before.down + _BETWEEN / 2
                right, far = self._width - MARGIN, MARGIN
                arrow(
                    canvas,
                    [
                        (left + before.leave, self._axes[at - 1]), (right, self._axes[at - 1]), (right, y), (far, y),
                        (far, axis), (left + row.enter, axis),
                    ],
                    theme.wire, head=not row.pieces[0].headless,
                )  # fmt: skip
            row.paint(canvas, left, axis, lead=at == 0)
        for at, note in enumerate(self.notes, 1):
            canvas.text(
                self._width / 2, self._end + 8 + _NOTE * at, fitted(note, self._width - 2 * MARGIN, 9), size=9,
                fill=theme.faint, anchor="middle", kind="note",
            )  # fmt: skip
        network = self._picture.network
        return canvas.document(
            self._width, self.height, title=called(network, self._options),
            description=self._options.description or self._described(), style="volumes", page=self._options.width,
        )  # fmt: skip

    def _described(self) -> str:
        network = self._picture.network
        ends = [network.input_types(), {name: network.type_of(node) for name, node in network.outputs.items()}]
        first, last = (", ".join(f"{shortened(name, 60)} {type}" for name, type in end.items()) for end in ends)
        text = f"Feature maps of {called(network, Options())} as boxes, from {first} to {last}; "
        text += f"{len(self._picture.report.rows):,} layers, {self._facts}."
        return " ".join([text, *(f"{note}." for note in self.notes)])


def _rows(line: Draft, starts: Sequence[int]) -> list[Strip]:
    """The rows of a line; an arc that is cut becomes two stubs under one letter."""
    bounds = [*starts, len(line.pieces)]
    row_of = [row for row in range(len(starts)) for _ in range(bounds[row], bounds[row + 1])]
    letters: dict[int, str] = {}
    rows = []
    arcs: list[list[Arc]] = [[] for _ in starts]
    stubs: list[list[Stub]] = [[] for _ in starts]
    brackets: list[list[Bracket]] = [[] for _ in starts]
    for arc in line.arcs:
        first, last = row_of[arc.source], row_of[arc.target]
        if last == first + 1 and arc.source == bounds[last] - 1 and line.pieces[bounds[last]].linked:
            # It branches off the line that leads from row to row.
            arcs[last].append(replace(arc, source=-1, target=arc.target - bounds[last]))
            continue
        if first == last:
            arcs[first].append(replace(arc, source=arc.source - bounds[first], target=arc.target - bounds[first]))
            continue
        if arc.source not in letters:
            letters[arc.source] = _letter(len(letters))
            stubs[first].append(Stub(arc.source - bounds[first], letters[arc.source], True))
        text = f"{letters[arc.source]}: {arc.text}" if arc.text else letters[arc.source]
        stubs[last].append(Stub(arc.target - bounds[last], text, False))
    for stub in line.stubs:
        row = row_of[stub.at]
        stubs[row].append(replace(stub, at=stub.at - bounds[row]))
    for bracket in line.brackets:
        for row in range(row_of[bracket.first], row_of[bracket.last] + 1):
            first, last = max(bracket.first, bounds[row]), min(bracket.last, bounds[row + 1] - 1)
            brackets[row].append(
                replace(
                    bracket, first=first - bounds[row], last=last - bounds[row], opens=first == bracket.first,
                    closes=last == bracket.last,
                )
            )  # fmt: skip
    for row in range(len(starts)):
        pieces = line.pieces[bounds[row] : bounds[row + 1]]
        rows.append(strip(pieces, arcs[row], stubs[row], brackets[row]))
    return rows


def _letter(number: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("A") + rest) + text
    return text
