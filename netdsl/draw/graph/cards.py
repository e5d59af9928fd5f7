"""What stands in the boxes of a graph, and how large that makes them.

A card has a row for each layer that shares the box, in the colour of its kind: the operation on the left, its name on
the right. Below may stand figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netdsl.analysis.notation import caption, printable, scaled
from netdsl.analysis.tree import Item
from netdsl.draw.graph.figures import Figures
from netdsl.draw.lettering import fitted, text_width
from netdsl.draw.picture import Box, Frame, Picture
from netdsl.draw.words import SIGNS, TIMES, tip

SIZE, SMALL = 12, 9.5
"""Font sizes, in pixels: operations; names and figures."""
ROW, FOLLOWER, LINE = 22, 19, 14
"""Heights of a row, of one that follows, and of a line of figures."""
PAD, GAP = 9, 14
"""Space beside a text, and between the two of a row."""
LONGEST_OPERATION, LONGEST_NAME = 230, 120
"""Pixels of a text; a longer one loses its middle, and is whole in the tooltip."""
NARROWEST, WIDEST_COMMON = 92, 200
"""Cards are as wide as each other, between these, as long as their texts allow it."""


@dataclass
class Row:
    """One line of a card."""

    text: str
    name: str
    category: str
    bold: bool = False
    height: float = ROW


@dataclass
class Card:
    """A box with its contents. `times` is the number of equal ones that follow each other."""

    id: str
    rows: list[Row]
    tip: str
    lines: list[str] = field(default_factory=list)
    times: int = 1
    training: bool = False
    is_terminal: bool = False
    items: list[Item] = field(default_factory=list)
    width: float = 0
    reserve: int = 0
    """Room beside it for shortcuts."""
    copies: list[list[str]] = field(default_factory=list)
    """The layers of each of the equal ones that it stands for."""

    @property
    def height(self) -> float:
        foot = LINE * len(self.lines) + 3 if self.lines else 0
        return sum(row.height for row in self.rows) + foot

    @property
    def badge(self) -> str:
        return f"{TIMES} {self.times:,}" if self.times > 1 else ""

    def least(self) -> float:
        """The width that its texts need."""
        widths = [
            text_width(row.text, SIZE, row.bold) + (GAP + text_width(row.name, SMALL) if row.name else 0)
            for row in self.rows
        ]
        if self.badge:
            widths[0] += GAP + text_width(self.badge, SIZE, True)
        widths += [text_width(line, SMALL) for line in self.lines]
        return max(widths) + 2 * PAD


def cards(picture: Picture, figures: Figures) -> dict[str, Card]:
    """The cards of a picture by id, in order: `n0`, `n1`, ... for its boxes and `o0`, ... for its outputs."""
    found: dict[str, Card] = {}
    stack: list[tuple[Box | Frame, Frame]] = [(picture.root, picture.root)]
    while stack:
        part, frame = stack.pop()
        if isinstance(part, Frame):
            stack.extend((inner, part) for inner in reversed(part.parts))
            continue
        card = _card(part, figures)
        times = repeats_of(frame)
        if times > 1 and frame.item is not None:
            card.times *= times
            card.copies = [[row.name for row in rows] for rows in frame.item.rows]
        found[card.id] = card
    for number, (name, _, type, training) in enumerate(picture.ends):
        card = _terminal(f"o{number}", name, "training only" if training else "output", f"output {name}: {type}")
        card.training = training
        found[card.id] = card
    _widen(found)
    return found


def repeats_of(frame: Frame) -> int:
    """How often the one box of a frame stands there, where the frame is not worth drawing: a run without a name."""
    item = frame.item
    alone = len(frame.parts) == 1 and isinstance(frame.parts[0], Box)
    return item.repeats if item is not None and item.is_run and alone else 1


def _widen(found: Mapping[str, Card]) -> None:
    """Makes cards as wide as each other, but for a few that need more."""
    for card in found.values():
        card.width = max(card.least(), 60 if card.is_terminal else NARROWEST)
    inner = sorted(card.width for card in found.values() if not card.is_terminal)
    if not inner:
        return
    common = min(inner[-1 - len(inner) // 12], WIDEST_COMMON)
    for card in found.values():
        if not card.is_terminal:
            card.width = max(card.width, common)


def _card(box: Box, figures: Figures) -> Card:
    first = box.items[0]
    id = f"n{box.number}"
    if first.row is not None and first.row.layer.category == "input":
        card = _terminal(id, first.name, "input", tip(box.items))
        card.copies = [[first.name]]
        return card
    rows = (
        [_row(item, box.scope, at) for at, item in enumerate(box.items)]
        if first.row is not None
        else _scope(first, box)
    )
    card = Card(id, rows, tip(box.items), figures.lines(box.items), training=box.auxiliary, items=box.items)
    card.copies = [[row.name for item in box.items for rows in item.rows for row in rows]]
    if first.row is None or first.repeats > 1:
        card.times = first.repeats
    return card


def _terminal(id: str, name: str, role: str, tip: str) -> Card:
    """Where a tensor enters or leaves the network."""
    shown = fitted(printable(name), LONGEST_NAME, SIZE, True)
    return Card(id, [Row(shown, role if role != name else "", "input", True)], tip, is_terminal=True)


def _row(item: Item, scope: str, at: int) -> Row:
    row = item.row
    assert row is not None
    text = printable(caption(row.layer, row.input_types))
    if row.kind in SIGNS:
        text = f"{SIGNS[row.kind]} {text}"
    return Row(
        fitted(text, LONGEST_OPERATION, SIZE, at == 0),
        _shown_name(item, scope),
        row.layer.category,
        at == 0,
        ROW if at == 0 else FOLLOWER,
    )


def _shown_name(item: Item, scope: str) -> str:
    """The name of a layer; none where it is only a number, and no weights are found by it."""
    name = local_name(item, scope)
    assert item.row is not None
    return "" if name.isdecimal() and not item.row.weights else name


def _scope(item: Item, box: Box) -> list[Row]:
    layers = sum(len(rows) for rows in item.rows)
    totals = item.totals
    facts = [f"{layers:,} layer{'s' * (layers != 1)}"]
    if totals.parameters:
        facts.append(f"{scaled(totals.parameters)} params")
    if totals.macs:
        facts.append(f"{scaled(totals.macs)} MACs")
    name = local_name(item, box.scope)
    block = fitted(printable(item.block), LONGEST_NAME, SMALL)
    return [Row(name, block, "scope", True), Row("", " \N{MIDDLE DOT} ".join(facts), "scope", height=FOLLOWER)]


def local_name(item: Item, scope: str) -> str:
    """The name as it is said inside the scope that is drawn around it: `0`, `1…2`."""
    inside = f"{scope}." if scope else ""
    first, last = item.name.removeprefix(inside), item.last.removeprefix(inside)
    name = first
    if item.last != item.name:
        # `layer1.0…1`: what both have in front is said once.
        around = first.rpartition(".")[0] + "."
        name = f"{first}\N{HORIZONTAL ELLIPSIS}{last.removeprefix(around)}"
    return fitted(printable(name), LONGEST_NAME, SMALL)
