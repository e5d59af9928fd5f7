"""The board as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.analysis.notation import printable
from netdsl.draw.board.lines import Row, Setter, Token, chain_of
from netdsl.draw.flow import Flow, Head
from netdsl.draw.opening import opened
from netdsl.draw.options import Options
from netdsl.draw.picture import Picture
from netdsl.draw.words import headline
from netdsl.ir.network import Network

COLUMNS = 100
"""Characters of a line where no width is asked for."""
MOST_LINES = 60
"""Lines before scopes are closed."""
_INDENT = 2
_CHARACTER = 2.1
"""Millimetres of a character of 10 points, for whoever gives the width of a page."""


def text(network: Network, options: Options) -> str:
    """The network as lines of text. Raises DrawError (E0804) for more steps than the limit."""
    columns = COLUMNS if options.width is None else max(40, int(options.width / _CHARACTER))

    def make(found: Picture, read: Flow) -> tuple[Picture, list[Row], list[Head]]:
        setter = Setter(columns, _INDENT, lambda tokens: len(_written(tokens)))
        setter.set(chain_of(read))
        return found, setter.rows, read.heads

    (found, rows, heads), notes = opened(network, options, make, lambda made: len(made[1]) <= MOST_LINES)
    title = printable(options.title or network.name)
    lines = [f"{title}: {headline(found.report.parameters, found.report.macs)}", ""]
    lines += [" " * (row.indent * _INDENT) + _written(row.tokens) for row in rows]
    said = [*heads_said(heads), *notes]
    return "\n".join([*lines, *([""] if said else []), *said, ""])


def heads_said(heads: Sequence[Head]) -> list[str]:
    """A line for each output of training."""
    return [f"{printable(head.name)}: {head.layers} layers in training only -> {head.type}" for head in heads]


def _written(tokens: Sequence[Token]) -> str:
    return " ".join(token.text for token in tokens)
