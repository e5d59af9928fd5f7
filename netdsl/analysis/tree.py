"""A network as a tree of scopes, with equal neighbours folded into one.

The scope of a node is its name up to the last dot: `layer1.0.conv1` lies in `layer1.0`, which lies in `layer1`.
Neighbours are equal when nothing but their own name tells them apart: the same layers with the same attributes, names
and types, wired in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netdsl.analysis.cost import Row, Totals, total
from netdsl.collector import paused_collector
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType

SCOPES_ALIKE = 2
"""This many equal scopes in a row are folded."""
RUNS_ALIKE = 8
"""So many times a run of layers without a scope of their own has to repeat to be folded: VGG's stages stay whole."""
LONGEST_RUN = 16
"""Layers in such a run at most."""


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
def tree(network: Network, rows: Sequence[Row], fold: bool = True) -> tuple[Item, ...]:
    """The lines at the top of the tree; the rest hangs below them. `rows` are those of a cost report.

    Without `fold`, every scope and layer has its own line.
    """
    root = _Branch("")
    branches = {"": root}
    for row in rows:
        scope = row.name.rpartition(".")[0]
        branch = branches.get(scope)
        if branch is None:
            branch = _grow(branches, scope)
        branch.parts.append(row)
    return _Folder(network, rows, fold).items(root)


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

    def __init__(self, network: Network, rows: Sequence[Row], fold: bool) -> None:
        self._network = network
        self._fold = fold
        self._position = {row.name: position for position, row in enumerate(rows)}
        chains = {id(node.calls): node.calls for node in network.nodes()}
        self._blocks = {call.scope: call.block for calls in chains.values() for call in calls}
        self._codes: dict[Hashable, int] = {}

    def items(self, root: _Branch) -> tuple[Item, ...]:
        """The items of a branch, bottom-up. No recursion: scopes may nest deeper than Python calls."""
        order: list[_Branch] = [root]
        for branch in order:
            order.extend(part for part in branch.parts if isinstance(part, _Branch))
        done: dict[str, tuple[Item, ...]] = {}
        for branch in reversed(order):
            done[branch.name] = self._folded([
                self._leaf(part) if isinstance(part, Row) else self._scope(part, done.pop(part.name))
                for part in branch.parts
            ])  # fmt: skip
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
        codes = [self._code(part) for part in parts]
        items: list[Item] = []
        at = 0
        while at < len(parts):
            length, repeats = _repetition(codes, at, lambda position: parts[position].row is None)
            if repeats == 1:
                items.append(parts[at])
            else:
                runs = [parts[start : start + length] for start in range(at, at + length * repeats, length)]
                first = parts[at] if length == 1 else _run(runs[0])
                items.append(_joined(first, runs))
            at += length * repeats
        return tuple(items)

    def _code(self, item: Item) -> int:
        """A number that two items share exactly when they are equal up to their names."""
        (rows,) = item.rows
        if item.row is not None:
            here = self._position[item.name]
            wires: Hashable = tuple(here - self._position[source] for source in item.row.inputs)
            signature: Hashable = (*_facts(item.row), wires)
        else:
            inside = {row.name: position for position, row in enumerate(rows)}
            outside: dict[str, int] = {}
            wires = tuple(
                inside[source] if source in inside else -1 - outside.setdefault(source, len(outside))
                for row in rows
                for source in row.inputs
            )
            start = len(item.name)
            # A shared layer is told apart by whose weights it applies, seen from the scope itself.
            facts = tuple((row.name[start:], _within(row.address, item.name), *_facts(row)) for row in rows)
            signature = (item.block, facts, wires)
        return self._codes.setdefault(signature, len(self._codes))


def _facts(row: Row) -> tuple[Hashable, ...]:
    return (row.layer, row.input_types, row.type, row.parameters, row.auxiliary)


def _within(address: str, scope: str) -> str:
    return address[len(scope) :] if address.startswith(scope + ".") else f"={address}"


def _repetition(codes: Sequence[int], at: int, is_scope: Callable[[int], bool]) -> tuple[int, int]:
    """Length of the run that begins at `at`, and how often it stands there; (1, 1) where nothing is to be folded."""
    for length in range(1, min(LONGEST_RUN, (len(codes) - at) // 2) + 1):
        if codes[at] != codes[at + length]:
            continue
        run = codes[at : at + length]
        end = at + length
        while codes[end : end + length] == run:
            end += length
        repeats = (end - at) // length
        if repeats >= (SCOPES_ALIKE if length == 1 and is_scope(at) else RUNS_ALIKE):
            return length, repeats
    return 1, 1


def _run(parts: Sequence[Item]) -> Item:
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
