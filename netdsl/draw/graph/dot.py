"""A graph in Graphviz's language, DOT, for whoever wants to lay it out or change it by other means."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from graphviz import Digraph
from graphviz import escape as plain

from netdsl.analysis.notation import printable
from netdsl.analysis.tables import shortened
from netdsl.draw.graph.cards import Card
from netdsl.draw.graph.plan import Group, Link, Plan
from netdsl.draw.lettering import fitted
from netdsl.draw.options import Options
from netdsl.draw.palette import Theme
from netdsl.draw.picture import Picture
from netdsl.draw.words import headline

FONT = "Helvetica,Arial,sans-serif"


def write(picture: Picture, plan: Plan, options: Options) -> str:
    """The DOT source. Names are quoted or escaped wherever they stand: none can add to the source."""
    theme = options.theme
    graph = Digraph("network")
    graph.attr(
        rankdir="TB" if options.direction == "down" else "LR",
        fontname=FONT, fontsize="16", fontcolor=theme.ink, bgcolor=theme.paper, pad="0.3", nodesep="0.3",
        ranksep="0.32", labelloc="t", labeljust="c", label=_title(picture, options),
        tooltip=_tip(picture.network.name), newrank="true",
    )  # fmt: skip
    graph.attr("node", shape="plain", fontname=FONT, fontsize="11", fontcolor=theme.ink)
    graph.attr(
        "edge", fontname=FONT, fontsize="9", fontcolor=theme.faint, color=theme.wire, arrowsize="0.6", penwidth="1.1"
    )
    _parts(graph, plan.parts, plan, theme)
    for id, card in plan.cards.items():
        if id.startswith("o"):
            graph.node(id, _label(card, theme), tooltip=_tip(card.tip))
    for link in plan.links:
        _link(graph, link, theme)
    return str(graph.source)


def _parts(graph: Digraph, parts: Sequence[str | Group], plan: Plan, theme: Theme) -> None:
    for part in parts:
        if isinstance(part, Group):
            with graph.subgraph(name=part.id) as inner:
                inner.attr(
                    label=_group_title(part, theme), labeljust="l", labelloc="t", fontsize="11",
                    style="rounded,filled,dashed" if part.training else "rounded,filled",
                    fillcolor=theme.ground(part.level), color=theme.ground_line, margin="12", tooltip=_tip(part.tip),
                )  # fmt: skip
                _parts(inner, part.parts, plan, theme)
        else:
            card = plan.cards[part]
            graph.node(part, _label(card, theme), tooltip=_tip(card.tip))


def _link(graph: Digraph, link: Link, theme: Theme) -> None:
    style = {}
    if link.training:
        style = {"style": "dashed", "color": theme.faint}
    elif link.skip:
        style = {"color": theme.skip, "penwidth": "1.6"}
    # A trunk runs straight, and what goes beside it bends.
    text = f"  {link.tip}   " if link.text else ""
    graph.edge(link.source, link.target, label=text, tooltip=link.tip, weight="8" if link.trunk else "1", **style)


# ------------------------------------------------------------------------------------------------------------- labels
# Everything below returns Graphviz's HTML-like labels. Text comes into them through `_font` only.


def _font(text: str, *, color: str, size: float = 11, bold: bool = False) -> str:
    # Graphviz puts names of its own in place of \G and \N, in these labels too.
    content = escape(printable(text)).replace("\\", "\\\\")
    if not content.strip():
        return ""
    content = f"<b>{content}</b>" if bold else content
    return f'<font color="{color}" point-size="{size:g}">{content}</font>'


def _title(picture: Picture, options: Options) -> str:
    theme, report = options.theme, picture.report
    name = fitted(printable(options.title or picture.network.name), 560, 16, True)
    lines = [
        _font(name, color=theme.ink, size=16, bold=True),
        *(_font(line, color=theme.faint) for line in (headline(report.parameters, report.macs), *picture.notes)),
        "",
    ]
    rows = "".join(f"<tr><td>{line}</td></tr>" for line in lines)
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="3">{rows}</table>>'


def _group_title(group: Group, theme: Theme) -> str:
    lines = [
        _font(group.heading, color=theme.ink, size=12, bold=True),
        _font(group.under, color=theme.faint, size=9),
    ]
    rows = "".join(f'<tr><td align="left">{line}</td></tr>' for line in lines if line)
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>>' if rows else ""


def _label(card: Card, theme: Theme) -> str:
    rows = []
    for at, row in enumerate(card.rows):
        fill = "" if card.is_terminal else f' bgcolor="{theme.paint(row.category).fill}"'
        left = _font(row.text, color=theme.ink, bold=row.bold)
        right = _font(row.name, color=theme.faint, size=9)
        if at == 0 and card.badge:
            right += " " + _font(card.badge, color=theme.ink, bold=True)
        rows.append(f'<td align="left"{fill}>{left}</td><td align="right"{fill}>{right}</td>')
    rows += [f'<td align="left" colspan="2">{_font(line, color=theme.faint, size=9)}</td>' for line in card.lines]
    paint = theme.paint(card.rows[0].category)
    styles = [style for style, holds in (("rounded", card.is_terminal), ("dashed", card.training)) if holds]
    styled = f' style="{",".join(styles)}"' if styles else ""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<<table border="1" cellborder="0" cellspacing="0" cellpadding="5" color="{paint.line}" '
        f'bgcolor="{paint.fill}"{styled}>{body}</table>>'
    )


def _tip(text: str) -> str:
    """A tooltip: plain text, in which nothing is markup or an escape of Graphviz's. Its type says so to `Digraph`."""
    return plain(printable(shortened(text, 400)))  # type: ignore[no-any-return]
