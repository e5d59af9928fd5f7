"""A drawing in Graphviz's language, DOT."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Literal

from graphviz import Digraph
from graphviz import escape as plain

from netdsl.analysis.notation import caption, grouped, printable, scaled
from netdsl.analysis.tables import item_name, shortened
from netdsl.analysis.tree import Item
from netdsl.draw.palette import LIGHT
from netdsl.draw.picture import Box, Frame, Picture

if TYPE_CHECKING:
    from netdsl.ir.types import TensorType

Direction = Literal["down", "right"]

FONT = "Helvetica,Arial,sans-serif"
FAINT, GROUND_LINE, GROUNDS, INK = LIGHT.faint, LIGHT.ground_line, LIGHT.grounds, LIGHT.ink
PAPER, WIRE, paint = LIGHT.paper, LIGHT.wire, LIGHT.paint

LONGEST_LABEL = 40
"""Characters of a name in a drawing; a longer one loses its middle, and is whole in the tooltip."""

_SYMBOLS = {"add": "+ &nbsp;add", "multiply": "&times; &nbsp;multiply", "subtract": "&minus; &nbsp;subtract"}
"""Joins that are written with their sign."""


def write(picture: Picture, direction: Direction = "down", dpi: int | None = None) -> str:
    """The DOT source of a drawing. Names are quoted or escaped wherever they stand: none can add to the source.

    `dpi` is the resolution of a picture in pixels.
    """
    graph = Digraph("network")
    graph.attr(
        rankdir="TB" if direction == "down" else "LR",
        fontname=FONT, fontsize="16", fontcolor=INK, bgcolor=PAPER, pad="0.3", nodesep="0.3", ranksep="0.32",
        labelloc="t", labeljust="c", label=_title(picture), tooltip=_tip(picture.network.name), newrank="true",
    )  # fmt: skip
    if dpi is not None:
        graph.attr(dpi=str(dpi))
    graph.attr("node", shape="plain", fontname=FONT, fontsize="11", fontcolor=INK)
    graph.attr(
        "edge", fontname=FONT, fontsize="9", fontcolor=FAINT, color=WIRE, arrowsize="0.6", penwidth="1.1"
    )  # fmt: skip
    _parts(graph, picture.root.parts, 0)
    for wire in picture.wires:
        _wire(graph, f"n{wire.source}", f"n{wire.target}", wire.type, wire.trunk, wire.auxiliary)
    for number, (name, box, type, training) in enumerate(picture.ends):
        graph.node(
            f"o{number}",
            _terminal(name, "training only" if training else "output", training),
            tooltip=_tip(f"output {name}: {type}"),
        )
        _wire(graph, f"n{box}", f"o{number}", type, not training, training)
    return str(graph.source)


def _parts(graph: Digraph, parts: Sequence[Box | Frame], level: int) -> None:
    for part in parts:
        if isinstance(part, Box):
            graph.node(f"n{part.number}", _box(part), tooltip=_tip(_box_tip(part)))
        else:
            _frame(graph, part, level)


def _frame(graph: Digraph, frame: Frame, level: int) -> None:
    item = frame.item
    assert item is not None
    with graph.subgraph(name=f"cluster_{_first_number(frame)}_{level}") as inner:
        inner.attr(
            label=_frame_title(item, frame.scope, frame.side_by_side), labeljust="l", labelloc="t", fontsize="11",
            style="rounded,filled,dashed" if item.auxiliary else "rounded,filled",
            fillcolor=GROUNDS[level % len(GROUNDS)], color=GROUND_LINE, margin="12", tooltip=_tip(_item_tip(item)),
        )  # fmt: skip
        _parts(inner, frame.parts, level + 1)


def _first_number(frame: Frame) -> int:
    """The number of the first box in a frame: with the level it names the frame."""
    part: Box | Frame = frame
    while isinstance(part, Frame):
        part = part.parts[0]
    return part.number


def _wire(graph: Digraph, source: str, target: str, type: TensorType, trunk: bool, training: bool) -> None:
    style = {"style": "dashed", "color": FAINT} if training else {}
    # A trunk runs straight, and what goes beside it bends.
    weight = "4" if trunk else "1"
    graph.edge(source, target, label=f"  {type}   ", tooltip=str(type), labeltooltip=str(type), weight=weight, **style)


# ------------------------------------------------------------------------------------------------------------- labels
# Everything below returns Graphviz's HTML-like labels. Text comes into them through `_text` only.


def _text(text: str, longest: int = LONGEST_LABEL) -> str:
    # Graphviz puts names of its own in place of \G and \N, in these labels too.
    return escape(printable(shortened(text, longest))).replace("\\", "\\\\")


def _font(content: str, *, color: str = INK, size: int = 11, bold: bool = False) -> str:
    content = f"<b>{content}</b>" if bold and content else content
    return f'<font color="{color}" point-size="{size}">{content}</font>' if content else ""


def _title(picture: Picture) -> str:
    report = picture.report
    facts = [f"{scaled(report.parameters)} parameters"]
    if report.macs is not None:
        facts.append(f"{scaled(report.macs)} MACs")
    name = _font(_text(picture.network.name, 60), size=16, bold=True)
    rows = f"<tr><td>{name}</td></tr><tr><td>{_font(', '.join(facts), color=FAINT)}</td></tr><tr><td></td></tr>"
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="3">{rows}</table>>'


def _terminal(name: str, role: str, dashed: bool = False) -> str:
    """Where a tensor enters or leaves the network."""
    colors = paint("input")
    rows = [f"<td>{_font(_text(name), bold=True)}</td>"]
    if name != role:
        rows.append(f"<td>{_font(role, color=FAINT, size=9)}</td>")
    return f"<{_table(rows, colors.line, colors.fill, style='rounded,dashed' if dashed else 'rounded')}>"


def _frame_title(item: Item, scope: str, side_by_side: bool) -> str:
    """Two short lines: a title that is broader than the boxes would be crossed by what enters them."""
    heading = "" if item.is_run else _font(_local_name(item, scope), bold=True)
    if item.repeats > 1:
        heading += _font(f" &nbsp;&times; {item.repeats:,}", size=12, bold=True)
    rest = [_text(item.block), "side by side" if side_by_side else "", "training only" if item.auxiliary else ""]
    lines = [heading, _font(", ".join(part for part in rest if part), color=FAINT, size=9)]
    rows = "".join(f'<tr><td align="left">{line}</td></tr>' for line in lines if line)
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>>'


def _box(box: Box) -> str:
    first = box.items[0]
    if first.row is None:
        return _scope_box(box, first)
    if first.row.layer.category == "input":
        return _terminal(first.name, "input")
    paints = [paint(item.row.layer.category) for item in box.items if item.row is not None]
    rows = [
        f'<td align="left" bgcolor="{colors.fill}">{_font(_operation(item), bold=number == 0)}</td>'
        f'<td align="right" bgcolor="{colors.fill}">{_font(_local_name(item, box.scope), color=FAINT, size=9)}</td>'
        for number, (item, colors) in enumerate(zip(box.items, paints, strict=True))
    ]
    return f"<{_table(rows, paints[0].line, paints[0].fill, style='dashed' if box.auxiliary else '')}>"


def _scope_box(box: Box, item: Item) -> str:
    colors = paint("scope")
    repeats = f" &nbsp; &times; {item.repeats:,}" if item.repeats > 1 else ""
    heading = _font(_local_name(item, box.scope) + repeats, bold=True)
    if item.block:
        heading += f" &nbsp; {_font(_text(item.block), color=FAINT)}"
    totals = item.totals
    layers = sum(len(rows) for rows in item.rows)
    facts = [f"{layers:,} layer{'s' * (layers != 1)}", f"{scaled(totals.parameters)} parameters"]
    if totals.macs is not None:
        facts.append(f"{scaled(totals.macs)} MACs")
    rows = [f'<td align="left">{heading}</td>', f'<td align="left">{_font(", ".join(facts), color=FAINT, size=9)}</td>']
    return f"<{_table(rows, colors.line, colors.fill, style='dashed' if box.auxiliary else '')}>"


def _operation(item: Item) -> str:
    row = item.row
    assert row is not None
    text = _SYMBOLS.get(row.kind) or _text(caption(row.layer, row.input_types), 60)
    return f"{text} &nbsp; &times; {item.repeats:,}" if item.repeats > 1 else text


def _local_name(item: Item, scope: str) -> str:
    """The name as it is said inside the scope that is drawn around it: `0`, `1…2`."""
    inside = f"{scope}." if scope else ""
    first, last = item.name.removeprefix(inside), item.last.removeprefix(inside)
    return _text(first if item.last == item.name else f"{first}\N{HORIZONTAL ELLIPSIS}{last}")


def _table(rows: Sequence[str], line: str, fill: str, style: str = "") -> str:
    styled = f' style="{style}"' if style else ""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<table border="1" cellborder="0" cellspacing="0" cellpadding="5" color="{line}" bgcolor="{fill}"{styled}>'
        f"{body}</table>"
    )


# ----------------------------------------------------------------------------------------------------------- tooltips


def _tip(text: str) -> str:
    """A tooltip: plain text, in which nothing is markup or an escape of Graphviz's. Its type says so to `Digraph`."""
    return plain(printable(shortened(text, 400)))  # type: ignore[no-any-return]


def _box_tip(box: Box) -> str:
    return "; ".join(_item_tip(item) for item in box.items)


def _item_tip(item: Item) -> str:
    row = item.row
    text = f"{item_name(item)}: " + (item.block or "scope" if row is None else caption(row.layer, row.input_types))
    if item.totals.parameters:
        text += f", {grouped(item.totals.parameters)} parameters"
    if item.totals.macs:
        text += f", {grouped(item.totals.macs)} MACs"
    return f"{text}, {item.type}"
