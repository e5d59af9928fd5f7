"""A network as a tree of scopes, with equal neighbours folded into one.

The scope of a node is its name up to the last dot: `layer1.0.conv1` lies in `layer1.0`, which lies in `layer1`.
Neighbours are equal when nothing but their own name tells them apart: the same layers with the same attributes, names
and types, wired in the same way. For a drawing it is enough that they come from the same lines of the source, the body
of a `repeat`, with the same attributes and maps of the same size (the layers of a dense block, whose inputs grow), and
rates of dropout do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netdsl.analysis.cost import Row, Totals, total
from netdsl.analysis.repetition import RUNS_ALIKE, SCOPES_ALIKE, repetition
from netdsl.collector import paused_collector
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType


class Item(NamedTuple):
    """One line of the tree: a layer, a scope, or several equal ones of either."""

    name: str
    """Full name (of the first, where there are several); of its first layer for a run of layers without a scope."""
    last: str
    """Full name of the last of the equal ones."""
    repeats: int
    row: Row | None
    """The layer; None for a scope and for a run of layers."""
    children: tuple[Item, ...]
    """What is inside (inside the first, where there are several)."""
    block: str
    """Name of the block that was called for this scope, if any."""
    type: TensorType
    """Type of the last tensor made in it."""
    totals: Totals
    """The sum over all that is inside, all repeats included."""
    auxiliary: bool
    """Only heads that run in training need it."""
    rows: tuple[tuple[Row, ...], ...]
    """The rows of each repeat, in execution order: rows that stand at the same position are alike."""

    @property
    def is_run(self) -> bool:
        return self.row is None and bool(self.children) and self.children[0].name == self.name


@dataclass(slots=True)
class _Branch:
    """A scope while the tree is built: its parts in the order in which they first appear."""

    name: str
    parts: list[_Branch | Row] = field(default_factory=list)
    scopes: dict[str, _Branch] = field(default_factory=dict)


@paused_collector()
def tree(
    network: Network, rows: Sequence[Row], fold: bool = True, *, alike: bool = False, whole: Collection[str] = ()
) -> tuple[Item, ...]:
    """The lines at the top of the tree; the rest hangs below them. `rows` are those of a cost report.

    Without `fold`, every scope and layer has its own line. With `alike`, neighbours that come from the same lines of
    the source are folded too, though their types differ. Scopes whose names are in `whole` stay by themselves, and
    nothing inside them is folded.
    """
    root = _Branch("")
    branches = {"": root}
    for row in rows:
        scope = row.name.rpartition(".")[0]
        branch = branches.get(scope)
        if branch is None:
            branch = _grow(branches, scope)
        branch.parts.append(row)
    return _Folder(network, rows, fold, alike, whole).items(root)


def _grow(branches: dict[str, _Branch], scope: str) -> _Branch:
    """The branch of a scope, with those on the way to it. No recursion: names may be very deep."""
    missing: list[str] = []
    while scope not in branches:
        missing.append(scope)
        scope = scope.rpartition(".")[0]
    branch = branches[scope]
    for name in reversed(missing):
        child = branches[name] = _Branch(name)
        branch.parts.append(child)
        branch = child
    return branch


class _Folder:
    """Turns branches into items and folds equal neighbours."""

    def __init__(self, network: Network, rows: Sequence[Row], fold: bool, alike: bool, whole: Collection[str]) -> None:
        self._network = network
        self._fold = fold
        self._alike = alike
        self._whole = {name + "." for name in whole}
        self._above = {name[: end + 1] for name in self._whole for end, sign in enumerate(name) if sign == "."}
        """Scopes that are to be drawn whole and all around them, each with a dot behind."""
        self._position = {row.name: position for position, row in enumerate(rows)}
        self._readers: dict[str, list[str]] = {}
        for row in rows if alike else ():
            for source in row.inputs:
                self._readers.setdefault(source, []).append(row.name)
        chains = {id(node.calls): node.calls for node in network.nodes()}
        self._blocks = {call.scope: call.block for calls in chains.values() for call in calls}
        self._codes: dict[Hashable, int] = {}
        self._same: dict[int, int] = {}
        """A code -> an earlier one that stands for it, since both were found on one item."""

    def items(self, root: _Branch) -> tuple[Item, ...]:
        """The items of a branch, bottom-up. No recursion: scopes may nest deeper than Python calls."""
        order: list[_Branch] = [root]
        for branch in order:
            order.extend(part for part in branch.parts if isinstance(part, _Branch))
        done: dict[str, tuple[Item, ...]] = {}
        for branch in reversed(order):
            parts = [
                self._leaf(part) if isinstance(part, Row) else self._scope(part, done.pop(part.name))
                for part in branch.parts
            ]
            is_whole = any(f"{branch.name}.".startswith(name) for name in self._whole)
            done[branch.name] = tuple(parts) if is_whole else self._folded(parts)
        return done[""]

    def _leaf(self, row: Row) -> Item:
        totals = Totals(
            row.parameters, row.trainable_parameters, row.buffers, row.macs, row.other_flops, row.connections,
            row.activation_bytes,
        )  # fmt: skip
        return Item(row.name, row.name, 1, row, (), "", row.type, totals, row.auxiliary, ((row,),))

    def _scope(self, branch: _Branch, children: tuple[Item, ...]) -> Item:
        rows = sorted((row for child in children for rows in child.rows for row in rows), key=self._order)
        made = self._network.tensors.get(branch.name)
        type = rows[-1].type if made is None else self._network.type_of(made)
        block = self._blocks.get(branch.name, "")
        return Item(
            branch.name, branch.name, 1, None, children, block, type, total(rows),
            all(row.auxiliary for row in rows), (tuple(rows),),
        )  # fmt: skip

    def _order(self, row: Row) -> int:
        return self._position[row.name]

    def _folded(self, parts: list[Item]) -> tuple[Item, ...]:
        if not self._fold or len(parts) < 2:
            return tuple(parts)
        found = [self._code(part) for part in parts]
        codes = [self._first(code) for code, _ in found]
        written = [code for _, code in found]
        items: list[Item] = []
        at = 0

        def least(start: int, length: int) -> int:
            """How often the run of this length has to stand there."""
            run, after = (written[begin : begin + length] for begin in (start, start + length))
            if length == 1 and parts[start].row is None:
                return SCOPES_ALIKE
            is_body = None not in run and run == after and self._begins(parts[start : start + length])
            return SCOPES_ALIKE if is_body else RUNS_ALIKE

        while at < len(parts):
            length, repeats = repetition(codes, at, least)
            runs = [parts[start : start + length] for start in range(at, at + length * repeats, length)]
            if repeats == 1 or not self._read_alike(runs):
                items.extend(runs[0])
                repeats = 1
            else:
                first = parts[at] if length == 1 else gathered(runs[0])
                items.append(_joined(first, runs))
            at += length * repeats
        return tuple(items)

    def _read_alike(self, runs: Sequence[Sequence[Item]]) -> bool:
        """Whether equal runs are drawn as one: each reads the one before it, or all are read by the same layers.

        Two lanes that begin alike, of which one goes on, are no repetition.
        """
        if not self._alike:
            return True
        inside = [{row.name for item in run for rows in item.rows for row in rows} for run in runs]
        readers = [{reader for name in names for reader in self._readers.get(name, ())} - names for names in inside]
        follow = all(read & names for read, names in zip(readers, inside[1:], strict=False))
        return follow or all(read == readers[0] for read in readers)

    def _code(self, item: Item) -> tuple[int, int | None]:
        """A number that two items share exactly when they are equal up to their names, and, for drawings, one that
        they share when they come from the same lines of the source with the same attributes."""
        if item.name + "." in self._above:
            return self._number(("whole", item.name)), None
        exact = self._number(self._signature(item, _facts))
        if not self._alike or any(self._network.table[row.name].span is None for rows in item.rows for row in rows):
            return exact, None
        same = self._number(self._signature(item, self._origin))
        self._same[self._first(max(exact, same))] = self._first(min(exact, same))
        return exact, same

    def _number(self, signature: Hashable) -> int:
        return self._codes.setdefault(signature, len(self._codes))

    def _first(self, code: int) -> int:
        while self._same.get(code, code) != code:
            code = self._same[code]
        return code

    def _origin(self, row: Row) -> tuple[Hashable, ...]:
        """What a layer says and where it is written, with the calls that led there."""
        node = self._network.table[row.name]
        said: Hashable = row.kind if row.layer.category == "regularisation" else row.layer
        assert node.span is not None
        return (said, len(row.inputs), row.type.spatial, row.auxiliary, id(node.span.source), self._place(row.name))

    def _place(self, name: str) -> tuple[int, ...]:
        """Where a layer is written, seen from the outside: the calls that led there, and it."""
        node = self._network.table[name]
        return (*(call.span.start for call in node.calls), node.span.start if node.span else -1)

    def _begins(self, parts: Sequence[Item]) -> bool:
        """Whether the first of these parts is written before the others, as the first of a body is. A join is written
        before its lanes."""
        first, *rest = (part.rows[0][0] for part in parts)
        place = self._place(first.name)
        return all(place <= self._place(row.name) for row in rest if len(row.inputs) < 2)

    def _signature(self, item: Item, facts_of: Callable[[Row], tuple[Hashable, ...]]) -> Hashable:
        """What tells an item apart, but for its name."""
        (rows,) = item.rows
        if item.row is not None:
            here = self._position[item.name]
            wires: Hashable = tuple(here - self._position[source] for source in item.row.inputs)
            return (*facts_of(item.row), wires)
        inside = {row.name: position for position, row in enumerate(rows)}
        outside: dict[str, int] = {}
        wires = tuple(
            inside[source] if source in inside else -1 - outside.setdefault(source, len(outside))
            for row in rows
            for source in row.inputs
        )
        start = len(item.name)
        # A shared layer is told apart by whose weights it applies, seen from the scope itself.
        facts = tuple((row.name[start:], _within(row.address, item.name), *facts_of(row)) for row in rows)
        return (item.block, facts, wires)


def _facts(row: Row) -> tuple[Hashable, ...]:
    return (row.layer, row.input_types, row.type, row.parameters, row.auxiliary)


def _within(address: str, scope: str) -> str:
    return address[len(scope) :] if address.startswith(scope + ".") else f"={address}"


def gathered(parts: Sequence[Item]) -> Item:
    """Neighbours as one item without a name of its own."""
    rows = tuple(row for part in parts for rows in part.rows for row in rows)
    first, last = parts[0], parts[-1]
    return Item(
        first.name, last.last, 1, None, tuple(parts), "", last.type, total(rows),
        all(part.auxiliary for part in parts), (rows,),
    )  # fmt: skip


def _joined(first: Item, runs: Sequence[Sequence[Item]]) -> Item:
    """Equal runs as one item; `first` is the first of them."""
    rows = tuple(tuple(row for item in run for rows in item.rows for row in rows) for run in runs)
    totals = total([row for repeat in rows for row in repeat])
    return first._replace(last=runs[-1][-1].last, repeats=len(runs), rows=rows, totals=totals)


def walk(items: Sequence[Item], depth: int | None = None) -> Iterator[tuple[int, Item, bool]]:
    """The lines from top to bottom: level (0 at the top), item, and whether what is inside it is shown too.

    What lies at `depth` or deeper is not shown: depth 1 shows the top level only, depth 0 nothing.
    """
    if depth is not None and depth < 1:
        return
    stack = [(0, item) for item in reversed(items)]
    while stack:
        level, item = stack.pop()
        is_open = bool(item.children) and (depth is None or level + 1 < depth)
        yield level, item, is_open
        if is_open:
            stack.extend((level + 1, child) for child in reversed(item.children))
