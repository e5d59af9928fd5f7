"""What is to be laid out: cards, frames around them, and wires between them, with all their sizes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from netdsl.analysis.notation import printable
from netdsl.analysis.tree import Item
from netdsl.draw.graph.cards import Card, cards, local_name, repeats_of
from netdsl.draw.graph.figures import Figures
from netdsl.draw.lettering import fitted, text_width
from netdsl.draw.options import Options
from netdsl.draw.picture import Box, Frame, Picture, Wire
from netdsl.draw.words import TIMES, tip

HEADING, SMALL = 12, 9.5
"""Font sizes of a frame's title: its name, and the block that it calls."""
LONGEST_HEADING = 130
EDGE_SIZE = 10
"""Font size of the shapes on edges."""


@dataclass
class Group:
    """A frame with a title. `parts` are the ids of its cards and the groups in it, in order."""

    id: str
    heading: str
    under: str
    tip: str
    level: int
    training: bool
    parts: list[str | Group] = field(default_factory=list)
    name: str = ""
    copies: list[list[str]] = field(default_factory=list)
    """The layers of each of the equal ones that it stands for."""
    reserve: int = 0
    """Room in it for shortcuts beside other groups."""

    @property
    def _widths(self) -> tuple[float, float]:
        return text_width(self.heading, HEADING, True), text_width(self.under, SMALL)

    @property
    def is_line(self) -> bool:
        """Whether the title is one line, and not two."""
        first, second = self._widths
        return not (first and second) or first + second <= 70

    @property
    def title_width(self) -> float:
        first, second = self._widths
        return (first + second + (6 if first and second else 0)) if self.is_line else max(first, second)

    @property
    def title_height(self) -> float:
        return 15 if self.is_line else 27


@dataclass
class Link:
    """An edge from card to card."""

    source: str
    target: str
    text: str
    """The shape, where it is to be written."""
    tip: str
    trunk: bool
    skip: bool
    """Whether it leads past others to a join, or is part of a lane that does."""
    training: bool
    pull: int = 4
    """How strongly it pulls its ends together."""
    end: str = ""
    """The join that a shortcut leads to: its target, but where it is cut or padded on the way."""

    @property
    def width(self) -> float:
        return text_width(self.text, EDGE_SIZE)


@dataclass
class Plan:
    """`groups` are those of the top and all within them, outermost first."""

    parts: list[str | Group]
    cards: dict[str, Card]
    groups: list[Group]
    links: list[Link]

    @cached_property
    def chains(self) -> Mapping[str, tuple[str, ...]]:
        """The ids of the groups around each card, outermost first."""
        found: dict[str, tuple[str, ...]] = dict.fromkeys(self.cards, ())
        stack: list[tuple[str | Group, tuple[str, ...]]] = [(part, ()) for part in self.parts]
        while stack:
            part, chain = stack.pop()
            if isinstance(part, Group):
                stack.extend((inner, (*chain, part.id)) for inner in part.parts)
            else:
                found[part] = chain
        return found


def plan(picture: Picture, options: Options) -> Plan:
    """Everything that a graph shows, before it has a place."""
    found = cards(picture, Figures(picture.network, options.labels))
    groups: list[Group] = []
    parts = _parts(picture.root, 0, groups)
    widen_first(groups, found)
    return Plan(parts, found, groups, _links(picture, found))


def _parts(frame: Frame, level: int, groups: list[Group]) -> list[str | Group]:
    found: list[str | Group] = []
    for part in frame.parts:
        if isinstance(part, Box):
            found.append(f"n{part.number}")
        elif repeats_of(part) > 1:
            found.extend(f"n{box.number}" for box in part.parts if isinstance(box, Box))
        else:
            group = _group(part, level, f"cluster_{len(groups)}")
            groups.append(group)
            group.parts = _parts(part, level + 1, groups)
            found.append(group)
    return found


def _group(frame: Frame, level: int, id: str) -> Group:
    item = frame.item
    assert item is not None
    heading = _inside(frame.holder, frame.scope) if item.is_run else local_name(item, frame.scope)
    times = f"{TIMES} {item.repeats:,}" if item.repeats > 1 else ""
    room = LONGEST_HEADING - text_width(f"  {times}", HEADING, True)
    heading = f"{fitted(heading, room, HEADING, True)}  {times}".strip()
    under = [printable(item.block)] if item.block else []
    if frame.side_by_side:
        under.append("side by side")
    if item.auxiliary:
        under.append("training only")
    grown = _growth(frame) if item.repeats > 1 and not frame.side_by_side else ""
    if grown:
        under.append(grown)
    return Group(
        id,
        heading,
        fitted(", ".join(under), LONGEST_HEADING, SMALL),
        tip([item]),
        level,
        item.auxiliary,
        name=item.name,
        copies=[[row.name for row in rows] for rows in item.rows],
    )


def _inside(name: str, scope: str) -> str:
    return printable(name.removeprefix(f"{scope}.") if scope else name)


def _growth(frame: Frame) -> str:
    """How the output changes from the first of the equal ones to the last, where it does."""
    item = frame.item
    assert item is not None
    first, last = (rows[-1].type for rows in (item.rows[0], item.rows[-1]))
    if first == last or first.channels is None:
        return ""
    return f"{first.channels}\N{HORIZONTAL ELLIPSIS}{last.channels} channels"


def widen_first(groups: list[Group], cards: dict[str, Card]) -> None:
    """Makes the first card of a group so wide that what enters it in the middle passes beside the title."""
    for group in groups:
        part: str | Group = group
        depth = 0
        while isinstance(part, Group):
            part = part.parts[0]
            depth += 1
        card = cards[part]
        card.width = max(card.width, 2 * (group.title_width + 18 - MARGIN * depth))


MARGIN = 12
"""Between a frame and what is in it, in pixels."""


def _links(picture: Picture, cards: dict[str, Card]) -> list[Link]:
    wires = picture.wires
    readers: dict[int, list[int]] = defaultdict(list)
    for wire in wires:
        readers[wire.source].append(wire.target)
    joins = {
        box.number
        for box in picture.boxes()
        if any(item.row is not None and len(item.row.inputs) > 1 for item in box.items[:1])
    }
    shaping = {box.number for box in picture.boxes() if all(_reshapes(item) for item in box.items)}
    scopes = {box.number: box.scope for box in picture.boxes()}
    links = []
    said: set[tuple[int, str]] = set()
    ordered = sorted(
        range(len(wires)), key=lambda at: (not wires[at].trunk, abs(wires[at].target - wires[at].source), at)
    )
    shown = {}
    for at in ordered:
        wire = wires[at]
        key = (wire.source, str(wire.type))
        shown[at] = key not in said
        said.add(key)
    ends = [_end(wire.target, readers, shaping) for wire in wires]
    skips = [
        end in joins and _leads_past(wire.source, end, readers, wire.target)
        for wire, end in zip(wires, ends, strict=True)
    ]
    # What follows the cut belongs to the shortcut too.
    cut = {wire.target for wire, skip in zip(wires, skips, strict=True) if skip and wire.target in shaping}
    for number in sorted(cut):
        for at, wire in enumerate(wires):
            if wire.source == number:
                skips[at] = True
                cut.add(wire.target) if wire.target in shaping else None
    straight = Counter(wire.target for wire, skip in zip(wires, skips, strict=True) if not skip)
    for at, wire in enumerate(wires):
        end = ends[at]
        skip = skips[at]
        text = str(wire.type)
        trunk = not skip and (wire.trunk or (wire.target in joins and straight[wire.target] == 1))
        links.append(
            Link(
                f"n{wire.source}", f"n{wire.target}", text if shown[at] else "", text, trunk, skip,
                wire.auxiliary, _pull(wire, joins, readers, scopes), f"n{end}",
            )
        )  # fmt: skip
    for number, (_, box, type, training) in enumerate(picture.ends):
        links.append(Link(f"n{box}", f"o{number}", str(type), str(type), not training, False, training))
    return links


def _reshapes(item: Item) -> bool:
    return item.row is not None and item.row.layer.category == "reshape"


def _end(number: int, readers: dict[int, list[int]], shaping: set[int]) -> int:
    """Where a lane leads that only cuts or pads what it brings, like those of a U-Net; the box itself for any other."""
    seen = set()
    while number in shaping and len(readers[number]) == 1 and number not in seen:
        seen.add(number)
        (number,) = readers[number]
    return number


def _pull(wire: Wire, joins: set[int], readers: dict[int, list[int]], scopes: dict[int, str]) -> int:
    """Lanes begin side by side: each hangs on what it comes from, but for one that begins in another scope."""
    if wire.target in joins:
        return 2
    beside = any(reader != wire.target and scopes[reader] == scopes[wire.target] for reader in readers[wire.source])
    return 4 if beside or len(readers[wire.source]) == 1 else 1


def _leads_past(source: int, target: int, readers: dict[int, list[int]], lane: int) -> bool:
    """Whether there is a longer way from one box to the other than the one by `lane`, which may be the target."""
    stack = [reader for reader in readers[source] if reader not in (target, lane)]
    seen = set(stack)
    while stack:
        number = stack.pop()
        for reader in readers[number]:
            if reader == target:
                return True
            # A box of a later number than the target cannot lead to it, but for a loop between closed scopes.
            if reader not in seen and reader < target:
                seen.add(reader)
                stack.append(reader)
    return False
