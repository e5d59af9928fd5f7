"""Tables of a few columns, for a pipe (plain), a terminal (rich), Markdown and CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from io import StringIO

import click


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[str], form: str) -> None:
    """Prints a table; `form` is text, markdown or csv. Columns named in `numeric` are aligned to the right."""
    if form == "csv":
        stream = StringIO()
        csv.writer(stream, lineterminator="\n").writerows([head, *rows])
        click.echo(stream.getvalue(), nl=False)
    elif form == "markdown":
        click.echo(f"| {' | '.join(head)} |")
        click.echo(f"| {' | '.join('---:' if name in numeric else '---' for name in head)} |")
        for row in rows:
            click.echo(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
    elif sys.stdout.isatty():
        _rich(head, rows, numeric)
    else:
        widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
        for row in (head, ["-" * width for width in widths], *rows):
            cells = [
                cell.rjust(width) if name in numeric else cell.ljust(width)
                for name, cell, width in zip(head, row, widths, strict=True)
            ]
            click.echo("  ".join(cells).rstrip())


def _rich(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(head):
        last = position == len(head) - 1
        table.add_column(
            name, justify="right" if name in numeric else "left", no_wrap=True, overflow="ellipsis" if last else "fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)
