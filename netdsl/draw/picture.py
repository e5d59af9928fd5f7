"""What a drawing of a network shows, before it is written in any format: boxes, scopes around them, wires.

Layers that follow each other without changing shape share a box, one line each: a convolution, its normalization, its
activation. Equal neighbours are drawn once, with their number. A scope below the depth that is asked for is one box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netdsl.analysis.cost import Report, Row, measure
from netdsl.analysis.tree import Item, tree
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType

MAX_BOXES = 1500
"""Boxes of a drawing: Graphviz takes seconds for a thousand, and minutes for several."""
MAX_NESTING = 12
"""Scopes drawn inside each other; deeper ones are boxes."""

_FOLLOWERS = frozenset({"norm", "activation", "regularisation"})
"""Categories that share the box of the layer they follow."""


class TooLargeError(Exception):
    """There would be more boxes than the limit."""

    def __init__(self, boxes: int, limit: int) -> None:
        super().__init__(f"{boxes:,} boxes, more than {limit:,}")
        self.boxes = boxes
        self.limit = limit


@dataclass(eq=False)
class Box:
    """One box: a layer, several that share it, or a whole scope."""

    number: int
    items: list[Item]
    scope: str
    """Name of the scope that is drawn around it."""

    @property
    def auxiliary(self) -> bool:
        return self.items[0].auxiliary


@dataclass(eq=False)
class Frame:
    """A scope drawn around its parts; the outermost is the drawing itself."""

    item: Item | None
    scope: str = ""
    """Name of the scope that is drawn around it."""
    parts: list[Box | Frame] = field(default_factory=list)
    side_by_side: bool = False
    """Whether the equal ones that it stands for are parallel; otherwise one follows the other."""
    holder: str = ""
    """Name of a scope that holds nothing but this, and is not drawn itself."""


class Wire(NamedTuple):
    """A tensor that goes from one box to another."""

    source: int
    target: int
    type: TensorType
    trunk: bool
    """Whether it leads straight on. Shortcuts, and the many lanes of a wide join, do not."""
    auxiliary: bool


@dataclass(eq=False)
class Picture:
    """A drawing. `ends` are the outputs: name, box, type, and whether it runs in training only.

    `notes` say what was left out of it that nobody asked to leave out.
    """

    network: Network
    report: Report
    root: Frame
    wires: list[Wire]
    ends: list[tuple[str, int, TensorType, bool]]
    notes: tuple[str, ...] = ()
    items: Sequence[Item] = ()
    """The tree that is drawn."""

    def boxes(self) -> Iterator[Box]:
        stack: list[Box | Frame] = [self.root]
        while stack:
            part = stack.pop()
            if isinstance(part, Box):
                yield part
            else:
                stack.extend(reversed(part.parts))


def picture(
    network: Network,
    *,
    fold: bool = True,
    depth: int | None = None,
    expand: Collection[str] = (),
    limit: int = MAX_BOXES,
) -> Picture:
    """The drawing of a network.

    With `fold`, equal neighbours are drawn once. With `depth`, scopes that lie deeper are drawn as one box each; 1
    leaves the top level. Scopes whose names are in `expand` are drawn in full all the same. Raises TooLargeError for
    more than `limit` boxes.
    """
    report = measure(network)
    items = tree(network, report.rows, fold, alike=True, whole=expand)
    return picture_of(network, report, items, depth, expand, limit)


def picture_of(
    network: Network,
    report: Report,
    items: Sequence[Item],
    depth: int | None = None,
    expand: Collection[str] = (),
    limit: int = MAX_BOXES,
) -> Picture:
    """The drawing of a tree that is there already."""
    painter = _Painter(network, report, min(depth or MAX_NESTING, MAX_NESTING), expand, limit)
    root = Frame(None)
    painter.fill(root, items, "", 0)
    wires = painter.wires()
    ends = [
        (name, painter.box_of[node].number, network.type_of(node), training)
        for outputs, training in ((network.outputs, False), (network.auxiliary, True))
        for name, node in outputs.items()
    ]
    return Picture(network, report, root, wires, ends, items=items)


class _Painter:
    """Lays the items of a tree out as frames and boxes, and remembers in which box every node is."""

    def __init__(self, network: Network, report: Report, depth: int, expand: Collection[str], limit: int) -> None:
        self._network = network
        self._rows = report.rows
        self._depth = depth
        self._whole = tuple(name + "." for name in expand)
        self._limit = limit
        self._boxes = 0
        self._folds = 0
        self.box_of: dict[str, Box] = {}
        self._copies: dict[str, dict[int, int]] = {}
        """Which of the equal ones a node belongs to, for each fold that it is in."""
        self._readers = Counter(source for row in report.rows for source in row.inputs)
        self._readers.update([*network.outputs.values(), *network.auxiliary.values()])

    def fill(self, frame: Frame, items: Sequence[Item], scope: str, level: int) -> None:
        """Adds the items to a frame. `scope` is the scope that is drawn around them."""
        last: Box | None = None
        for item in items:
            if item.row is not None and item.repeats == 1 and last is not None and self._follows(item.row, last):
                last.items.append(item)
                self.box_of[item.name] = last
                continue
            last = None
            if item.row is not None and item.repeats == 1:
                last = self._box(frame, item, scope)
            elif not item.children or (level + 1 >= self._depth and not self._is_open(item)):
                self._box(frame, item, scope)
            else:
                self._scope(frame, item, scope, level)

    def _is_open(self, item: Item) -> bool:
        """Whether a scope is opened by its name, or lies around or in one that is."""
        here = item.name + "."
        return any(here.startswith(name) or name.startswith(here) for name in self._whole)

    def _box(self, frame: Frame, item: Item, scope: str) -> Box:
        box = Box(self._boxes, [item], scope)
        self._boxes += 1
        if self._boxes > self._limit:
            raise TooLargeError(len(self._rows), self._limit)
        frame.parts.append(box)
        for rows in item.rows:
            for row in rows:
                self.box_of[row.name] = box
        return box

    def _scope(self, frame: Frame, item: Item, scope: str, level: int) -> None:
        inner = Frame(item, scope)
        around = scope if item.is_run else item.name
        self.fill(inner, item.children, around, level + 1)
        if item.repeats > 1:
            inner.side_by_side = self._identify(item)
        elif len(inner.parts) == 1:
            # A frame around one part says nothing that the names in it do not say.
            (part,) = inner.parts
            part.scope = scope
            if isinstance(part, Frame):
                part.holder = part.holder or item.name
            frame.parts.append(part)
            return
        frame.parts.append(inner)

    def _identify(self, item: Item) -> bool:
        """Puts the nodes of all equal ones into the boxes of the first. Returns whether they are parallel."""
        fold = self._folds
        self._folds += 1
        first = item.rows[0]
        for number, rows in enumerate(item.rows):
            for row, twin in zip(rows, first, strict=True):
                self.box_of[row.name] = self.box_of[twin.name]
                self._copies[row.name] = {**self._copies.get(twin.name, {}), fold: number}
        return not self._in_series(item, fold)

    def _in_series(self, item: Item, fold: int) -> bool:
        """Whether one of the equal ones reads another."""
        return any(
            self._copies.get(source, {}).get(fold, number) != number
            for number, rows in enumerate(item.rows)
            for row in rows
            for source in row.inputs
        )

    def _follows(self, row: Row, box: Box) -> bool:
        """Whether a layer may share the box of the one before it."""
        before = box.items[-1].row
        return (
            before is not None
            and row.layer.category in _FOLLOWERS
            and row.inputs == (before.name,)
            and row.type == before.type
            and before.layer.category != "input"
            and before.inputs != ()
            and row.auxiliary == before.auxiliary
            and self._readers[before.name] == 1
        )

    def wires(self) -> list[Wire]:
        """The tensors that go from box to box, each once, however many equal ones send it."""
        table = self._network.table
        found: dict[tuple[int, int, int], Wire] = {}
        for row in self._rows:
            target = self.box_of[row.name]
            seen: Counter[str] = Counter()
            for position, source in enumerate(row.inputs):
                start = self.box_of[source]
                if start is target or self._apart(source, row.name):
                    continue
                leads = len(row.inputs) == 2 and position == 0 and row.kind != "concat"
                wire = Wire(start.number, target.number, table[source].type, leads, row.auxiliary)
                # add(x, x) has two wires. Of those that the equal ones send each other, the first speaks for all; what
                # leaves them comes from the last.
                key = (wire.source, wire.target, seen[source])
                seen[source] += 1
                if key not in found or found[key].auxiliary:
                    found[key] = wire
        leaving = Counter(wire.source for wire in found.values() if not wire.auxiliary)
        arriving = Counter(wire.target for wire in found.values())
        return [
            wire._replace(trunk=True)
            if wire.target == wire.source + 1 and leaving[wire.source] <= 2 and arriving[wire.target] == 1
            else wire
            for wire in found.values()
        ]

    def _apart(self, source: str, target: str) -> bool:
        """Whether the two lie in different ones of the same equal neighbours, of which only the first is drawn."""
        copies = self._copies.get(target)
        if not copies:
            return False
        return any(copies.get(fold, number) != number for fold, number in self._copies.get(source, {}).items())
