"""The summary as text: a table for a pipe, Markdown, CSV, HTML. A terminal's colours are in `terminal.py`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from html import escape
from io import StringIO
from typing import NamedTuple

from netdsl.analysis.cost import Totals
from netdsl.analysis.figures import Figures
from netdsl.analysis.notation import byte_size, caption, grouped, printable, scaled
from netdsl.analysis.receptive import Field, Reach, Whole
from netdsl.analysis.tree import Item, walk

HEAD = ("Layer", "Operation", "Output", "Parameters", "MACs", "Other FLOPs", "Receptive field")
"""Column titles."""
NUMERIC = frozenset({"Parameters", "MACs", "Other FLOPs"})

LONGEST_NAME = 72
"""Characters of a name in a table; a longer one loses its middle."""


COUNTED = (
    "1 MAC = 2 FLOPs. MACs are those of convolution and dense layers for one image; other FLOPs are bias additions, "
    "normalization, activations, pooling and joins.",
    "Receptive field: the inputs that a position sees, and behind / the step to what its neighbour sees.",
)
"""What the tables count, in the words that stand below them."""
FOLDED = (
    "`x 3` stands for three equal neighbours: their line is the sum of all three, and below it stand the lines of the "
    "first."
)
AUXILIARY = "Auxiliary heads run in training only; the totals leave them out unless they say otherwise."


class Line(NamedTuple):
    """One line of a table, in words."""

    level: int
    item: Item
    name: str
    operation: str
    output: str
    parameters: str
    macs: str
    other_flops: str
    sees: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells in the order of HEAD."""
        return self[2:]


def lines(figures: Figures, depth: int | None = None) -> Iterator[Line]:
    """The lines of the table from top to bottom. With `depth`, scopes below that level are not opened."""
    for level, item, is_open in walk(figures.items, depth):
        totals = item.totals
        yield Line(
            level,
            item,
            shortened(item_name(item)),
            operation(item),
            str(item.type),
            _number(totals.parameters),
            _number(totals.macs),
            _number(totals.other_flops),
            "" if is_open else sees(figures.fields.get(_last_row(item))),
        )


def item_name(item: Item) -> str:
    """The name of a line: `layer1.0`, `layer1.1 ... layer1.2`."""
    return printable(item.name if item.last == item.name else f"{item.name} ... {item.last}")


def operation(item: Item) -> str:
    """What a line does: a layer in the field's notation, a block's name; with the number of repeats."""
    if item.row is None:
        text = printable(item.block)
    else:
        text = caption(item.row.layer, item.row.input_types)
        if item.row.address != item.row.name:
            text += f" (weights of {printable(item.row.address)})"
    if item.repeats > 1:
        text = f"{text} x {item.repeats:,}".strip()
    return f"{text} (training only)".strip() if item.auxiliary else text


def sees(reach: Reach | None) -> str:
    """A receptive field in a cell: `7x7 /2` is 7 by 7 inputs, 2 further on for the next position."""
    if isinstance(reach, Whole):
        return "all"
    if not isinstance(reach, Field) or not reach.axes:
        return ""
    size = "x".join(str(axis.size) for axis in reach.axes)
    strides = [str(axis.stride) for axis in reach.axes]
    step = strides[0] if len(set(strides)) == 1 else "x".join(strides)
    return size if step == "1" else f"{size} /{step}"


def shortened(text: str, longest: int = LONGEST_NAME) -> str:
    """Text that loses its middle where it is too long."""
    if len(text) <= longest:
        return text
    keep = longest - 3
    return f"{text[: keep - keep // 2]}...{text[len(text) - keep // 2 :]}"


def title(figures: Figures) -> str:
    network = figures.network
    inputs = ", ".join(f"{name} {type}" for name, type in network.input_types().items())
    return printable(f"{network.name}: {inputs}" if inputs else network.name)


def foot(figures: Figures) -> list[tuple[str, str]]:
    """The totals, as label and value."""
    report = figures.report
    found = _totals(report.main)
    if figures.network.auxiliary:
        found += [(f"{label} with auxiliary heads", value) for label, value in _totals(report.with_auxiliary)[:3]]
    return found


def notes(figures: Figures) -> list[str]:
    """What is counted, in whole sentences."""
    report = figures.report
    found = list(COUNTED)
    if any(item.repeats > 1 for _, item, _ in walk(figures.items)):
        found.append(FOLDED)
    if figures.network.auxiliary:
        found.append(AUXILIARY)
    if report.why_unknown:
        found.append(report.why_unknown[:1].upper() + report.why_unknown[1:] + ".")
    return [printable(note) for note in found]


def _totals(totals: Totals) -> list[tuple[str, str]]:
    fixed = totals.parameters - totals.trainable_parameters
    parameters = _with_unit(totals.parameters) + (f", {fixed:,} of them fixed" if fixed else "")
    flops = totals.flops
    sum_of = "" if flops is None else f" = 2 x {grouped(totals.macs)} + {grouped(totals.other_flops)} other"
    found = [
        ("Parameters", parameters),
        ("MACs", _with_unit(totals.macs)),
        ("FLOPs", f"{_with_unit(flops)}{sum_of}"),
        ("Buffers", f"{totals.buffers:,} tensor{'s' * (totals.buffers != 1)}"),
        ("Memory", f"parameters {byte_size(totals.parameter_bytes)}, activations {byte_size(totals.activation_bytes)}"),
    ]
    if totals.connections:
        found.insert(3, ("Connections", grouped(totals.connections)))
    return found


def _with_unit(number: int | None) -> str:
    return grouped(number) if number is None or number < 1000 else f"{number:,} ({scaled(number)})"


def _number(number: int | None) -> str:
    return "-" if number == 0 else grouped(number)


def _last_row(item: Item) -> str:
    return item.rows[-1][-1].name


# ------------------------------------------------------------------------------------------------------------ formats


def text(figures: Figures, depth: int | None = None) -> str:
    """A table in plain characters, columns aligned, no colours."""
    rows = [("  " * line.level + line.name, *line.cells[1:]) for line in lines(figures, depth)]
    widths = [max(len(cell) for cell in column) for column in zip(HEAD, *rows, strict=True)]
    rule = "  ".join("-" * width for width in widths)
    found = [title(figures), "", _aligned(HEAD, widths), rule, *(_aligned(row, widths) for row in rows), rule]
    totals = foot(figures)
    width = max(len(label) for label, _ in totals)
    found += [f"{label:<{width}}  {value}" for label, value in totals]
    return "\n".join([*found, "", *notes(figures)])


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    parts = [
        cell.rjust(width) if name in NUMERIC else cell.ljust(width)
        for name, cell, width in zip(HEAD, cells, widths, strict=True)
    ]
    return "  ".join(parts).rstrip()


def markdown(figures: Figures, depth: int | None = None) -> str:
    """A table in GitHub's Markdown; names in full, since Markdown has no indentation."""
    align = ["---:" if name in NUMERIC else "---" for name in HEAD]
    found = [f"### {_in_markdown(title(figures))}", "", f"| {' | '.join(HEAD)} |", f"| {' | '.join(align)} |"]
    for line in lines(figures, depth):
        name = f"**{_in_markdown(line.name)}**" if line.item.row is None else _in_markdown(line.name)
        found.append(f"| {' | '.join([name, *(_in_markdown(cell) for cell in line.cells[1:])])} |")
    found += ["", *(f"* {label}: {_in_markdown(value)}" for label, value in foot(figures))]
    return "\n".join([*found, "", *(f"{_in_markdown(note)}\n" for note in notes(figures))]).rstrip()


def _in_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{character}" if character in "\\`*_[]<>|#&" else character for character in text)


CSV_HEAD = (
    "name", "kind", "operation", "inputs", "output_shape", "parameters", "trainable_parameters", "buffers", "macs",
    "other_flops", "flops", "connections", "activation_bytes", "parameter_bytes", "receptive_field", "auxiliary",
)  # fmt: skip


def csv_text(figures: Figures) -> str:
    """One line for each layer, nothing folded, plain numbers; empty where a number is not known."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for row in figures.report.rows:
        writer.writerow([
            row.name, row.kind, caption(row.layer, row.input_types), " ".join(row.inputs), str(row.type),
            row.parameters, row.trainable_parameters, row.buffers, row.macs, row.other_flops, row.flops,
            row.connections, row.activation_bytes, row.parameter_bytes, sees(figures.fields.get(row.name)),
            str(row.auxiliary).lower(),
        ])  # fmt: skip
    return stream.getvalue()


def html(figures: Figures, depth: int | None = None) -> str:
    """A table for a notebook, without scripts or styles of the page around it."""
    head = "".join(f'<th style="text-align:{_side(name)}">{name}</th>' for name in HEAD)
    rows = [
        f"<tr>{''.join(_html_cell(name, cell, line) for name, cell in zip(HEAD, line.cells, strict=True))}</tr>"
        for line in lines(figures, depth)
    ]
    totals = "<br>".join(f"{escape(label)}: {escape(value)}" for label, value in foot(figures))
    small = "<br>".join(escape(note) for note in notes(figures))
    return (
        f"<table><caption>{escape(title(figures))}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table><p>{totals}</p><p><small>{small}</small></p>"
    )


def _side(name: str) -> str:
    return "right" if name in NUMERIC else "left"


def _html_cell(name: str, cell: str, line: Line) -> str:
    style = f"text-align:{_side(name)}"
    if name == "Layer":
        style += f";padding-left:{0.5 + 1.2 * line.level:g}em"
    content = escape(cell)
    return f'<td style="{style}">{f"<b>{content}</b>" if line.item.row is None else content}</td>'
