"""The summary on a terminal, in colours that follow the layers' categories."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from netdsl.analysis import tables
from netdsl.analysis.summary import Summary

_STYLES = {
    "conv": "cyan",
    "dense": "magenta",
    "pool": "yellow",
    "norm": "dim",
    "activation": "green",
    "join": "blue",
    "reshape": "dim",
    "regularisation": "dim",
    "fixed": "red",
}
_OPTIONAL = {"Receptive field": 110, "Other FLOPs": 96}
"""Columns that a terminal narrower than this many characters does without."""


def show(summary: Summary, console: Console | None = None) -> None:
    """Prints the table on a rich console. Names are shown as they are: nothing in them is read as markup.

    This module needs rich, which is slow to import: plain text, for a pipe, is `summary.text()`.
    """
    console = console or Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, title=Text(tables.title(summary)), title_justify="left", pad_edge=False)
    shown = [name for name in tables.HEAD if console.width >= _OPTIONAL.get(name, 0)]
    for name in shown:
        numeric = name in tables.NUMERIC
        table.add_column(
            name, justify="right" if numeric else "left", no_wrap=numeric or name == "Output", overflow="fold"
        )
    for line in tables.lines(summary, summary.depth):
        row = line.item.row
        style = "bold" if row is None else _STYLES.get(row.layer.category, "")
        cells = dict(zip(tables.HEAD, line.cells, strict=True))
        cells["Layer"] = "  " * line.level + line.name
        table.add_row(*(Text(cells[name], style if name in ("Layer", "Operation") else "") for name in shown))
    console.print(table)
    totals = Table.grid(padding=(0, 2))
    for label, value in tables.foot(summary):
        totals.add_row(Text(label, "bold"), Text(value))
    console.print(totals)
    for note in tables.notes(summary):
        console.print(Text(note, "dim"))
