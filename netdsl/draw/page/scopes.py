"""The scopes of a network as the explorer opens and closes them: every part of each, and which neighbours are equal.

The tree of `netdsl.analysis.tree` shows equal neighbours once. A page that unfolds them needs all of them, and, for
each of them, what is equal inside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from netdsl.analysis.cost import Row
from netdsl.analysis.tree import Item, tree
from netdsl.ir.network import Network

_FOLLOWERS = frozenset({"norm", "activation", "regularisation"})
"""Categories that share the box of the layer they follow."""


class Fold(NamedTuple):
    """Equal neighbours: from part `at` of a scope on, `repeats` runs of `length` parts each."""

    at: int
    length: int
    repeats: int


class Part(NamedTuple):
    """A layer or a scope. Both may have the same name: a join is called like the scope that its lanes stand in."""

    name: str
    is_scope: bool


class Scope(NamedTuple):
    """One scope. `parts` are its layers and scopes, in the order in which they first appear."""

    name: str
    block: str
    """Name of the block that was called for it, if any."""
    parts: tuple[Part, ...]
    folds: tuple[Fold, ...]


def scopes(network: Network, rows: Sequence[Row], fold: bool = True) -> dict[str, Scope]:
    """Every scope by name; the outermost is called "" and comes first, and a scope before those inside it."""
    everything = tree(network, rows, False)
    found = _folds(everything, tree(network, rows)) if fold else {}
    result: dict[str, Scope] = {}
    queue: list[tuple[str, str, tuple[Item, ...]]] = [("", "", everything)]
    for name, block, items in queue:
        parts = tuple(Part(item.name, item.row is None) for item in items)
        result[name] = Scope(name, block, parts, found.get(name, ()))
        queue.extend((item.name, item.block, item.children) for item in items if item.row is None)
    return result


def _folds(everything: tuple[Item, ...], folded: tuple[Item, ...]) -> dict[str, tuple[Fold, ...]]:
    """The folds of each scope, from the tree with all neighbours and that with equal ones shown once.

    What is equal inside the first of several equal scopes is equal inside each of the others.
    """
    found: dict[str, tuple[Fold, ...]] = {}
    # Scopes that are alike, by name and parts, and the folded items that stand for what is in any of them.
    stack: list[tuple[list[tuple[str, tuple[Item, ...]]], tuple[Item, ...]]] = [([("", everything)], folded)]
    while stack:
        alike, items = stack.pop()
        at = 0
        folds: list[Fold] = []
        for item in items:
            inside = item.children if item.is_run else (item,)
            if item.repeats > 1:
                folds.append(Fold(at, len(inside), item.repeats))
            for offset, part in enumerate(inside):
                if part.row is None:
                    places = [at + offset + turn * len(inside) for turn in range(item.repeats)]
                    twins = [(parts[place].name, parts[place].children) for _, parts in alike for place in places]
                    stack.append((twins, part.children))
            at += len(inside) * item.repeats
        for name, _ in alike:
            found[name] = tuple(folds)
    return found


def followers(network: Network, rows: Sequence[Row], all_scopes: dict[str, Scope]) -> set[str]:
    """The layers that may share a box with the part before them, as a normalization does with its convolution: nobody
    else reads what they read, and its shape stays."""
    by_name = {row.name: row for row in rows}
    readers = Counter(source for row in rows for source in row.inputs)
    readers.update([*network.outputs.values(), *network.auxiliary.values()])
    found: set[str] = set()
    for scope in all_scopes.values():
        for first, second in zip(scope.parts, scope.parts[1:], strict=False):
            if first.is_scope or second.is_scope:
                continue
            before, row = by_name[first.name], by_name[second.name]
            if (
                row.layer.category in _FOLLOWERS
                and row.inputs == (before.name,)
                and row.type == before.type
                and before.inputs
                and row.auxiliary == before.auxiliary
                and readers[before.name] == 1
            ):
                found.add(second.name)
    return found
