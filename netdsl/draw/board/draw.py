"""The board as a picture: operations as coloured plates, shapes between them, arrows."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.analysis.notation import printable
from netdsl.draw.board.lines import Row, Setter, Token, chain_of
from netdsl.draw.board.text import heads_said
from netdsl.draw.canvas import Canvas, number
from netdsl.draw.flow import Flow, Head
from netdsl.draw.lettering import CAP_HEIGHT, fitted, text_width
from netdsl.draw.opening import opened
from netdsl.draw.options import Options
from netdsl.draw.palette import Theme
from netdsl.draw.picture import Picture
from netdsl.draw.words import called, headline
from netdsl.ir.network import Network

PAGE = 960.0
"""Pixels across where no width is asked for."""
NARROWEST = 280.0
MOST_ROWS = 40
"""Rows before scopes are closed."""
SIZE = 12.0
MARGIN = 18.0
_ROW = 27.0
_PLATE = 20.0
"""Height of an operation's plate."""
_PAD = 6.0
"""Pixels between the edge of a plate and what is written on it."""
_INDENT = 22.0
_SPACE = 6.0
_ARROW = 16.0
_NOTE = 14.0


def draw(network: Network, options: Options) -> str:
    """The SVG document. Raises DrawError (E0804) for more steps than the limit."""
    width = max(options.pixels or PAGE, NARROWEST) - 2 * MARGIN

    def make(found: Picture, read: Flow) -> tuple[Picture, list[Row], list[Head]]:
        setter = Setter(width, _INDENT, _width)
        setter.set(chain_of(read))
        return found, setter.rows, read.heads

    (found, rows, heads), notes = opened(network, options, make, lambda made: len(made[1]) <= MOST_ROWS)
    theme = options.theme
    canvas = Canvas(theme)
    wide = max((row.indent * _INDENT + _width(row.tokens) for row in rows), default=0.0)
    facts = headline(found.report.parameters, found.report.macs)
    title = fitted(printable(options.title or network.name), max(wide, 200.0), 16, bold=True)
    wide = max(wide, text_width(title, 16, bold=True), text_width(facts, 11))
    canvas.text(MARGIN, MARGIN + 13, title, size=16, bold=True, kind="title")
    canvas.text(MARGIN, MARGIN + 30, facts, size=11, fill=theme.faint, kind="title")
    top = MARGIN + 46
    for at, row in enumerate(rows):
        _row(canvas, row, MARGIN + row.indent * _INDENT, top + _ROW * at + _ROW / 2)
    end = top + _ROW * len(rows)
    said = [*heads_said(heads), *notes]
    for at, note in enumerate(said, 1):
        text = fitted(note, wide, 10)
        canvas.text(MARGIN, end + 2 + _NOTE * at, text, size=10, fill=theme.faint, kind="note")
    height = end + _NOTE * len(said) + (8 if said else 0) + MARGIN - 6
    return canvas.document(
        wide + 2 * MARGIN, height, title=called(network, options),
        description=options.description or _described(network, found, facts, said), style="board", page=options.width,
    )  # fmt: skip


def _described(network: Network, found: Picture, facts: str, said: Sequence[str]) -> str:
    text = f"{called(network, Options())} from its input to its output, an operation and a shape after the other; "
    return " ".join([f"{text}{len(found.report.rows):,} layers, {facts}.", *(f"{note}." for note in said)])


def _token_width(token: Token) -> float:
    if token.role == "arrow":
        return _ARROW
    inner = text_width(token.text, SIZE, bold=_bold(token))
    return inner + 2 * _PAD if token.role == "operation" else inner


def _bold(token: Token) -> bool:
    return token.role in ("sign", "name")


def _width(tokens: Sequence[Token]) -> float:
    return sum(_token_width(token) for token in tokens) + _SPACE * max(0, len(tokens) - 1)


def _row(canvas: Canvas, row: Row, x: float, middle: float) -> None:
    theme = canvas.theme
    base = middle + SIZE * CAP_HEIGHT / 2
    for token in row.tokens:
        width = _token_width(token)
        if token.role == "arrow":
            _arrow(canvas, theme, x, middle)
        elif token.role == "operation":
            colors = theme.paint(token.category)
            canvas.begin("operation", token.tip)
            canvas.rect(
                x, middle - _PLATE / 2, width, _PLATE, fill=colors.fill, stroke=colors.line, radius=4, kind="plate"
            )  # fmt: skip
            canvas.text(x + _PAD, base, token.text, size=SIZE, kind="op")
            canvas.end()
        else:
            fill = theme.faint if token.role == "note" else theme.ink
            canvas.text(x, base, token.text, size=SIZE, bold=_bold(token), fill=fill, kind=token.role)
        x += width + _SPACE


def _arrow(canvas: Canvas, theme: Theme, x: float, y: float) -> None:
    end = x + _ARROW
    canvas.path(
        f"M{number(x)} {number(y)}L{number(end - 4)} {number(y)}", stroke=theme.wire, thickness=1.2, kind="flow"
    )
    canvas.polygon([(end, y), (end - 5, y - 2.6), (end - 5, y + 2.6)], fill=theme.wire)
