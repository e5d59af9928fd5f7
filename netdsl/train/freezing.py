"""Which parameters `freeze` of a recipe names: scopes, ranges of them, all but some. Loads no array library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netdsl.analysis.cost import full_name
from netdsl.ir.network import Network
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, did_you_mean
from netdsl.language.source import Span

ALL = "all"


class Named(NamedTuple):
    """A name in `freeze`, and the end of the range that it begins."""

    name: str
    until: str | None
    at: tuple[int, int]


class Frozen(NamedTuple):
    """What is frozen, and what is wrong with the entry."""

    parameters: frozenset[str]
    diagnostics: tuple[Diagnostic, ...]


class Owners:
    """The parameters of a network under every name that covers them.

    A name is that of a weight, of a node, or of a scope around them. A range goes from the first node of its first
    name to the last node of its second, in execution order.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.parameters: dict[str, None] = {}
        self._by_node: list[tuple[str, tuple[str, ...]]] = []
        for node in network.nodes():
            owned: tuple[str, ...] = ()
            if node.inputs:
                weights = node.layer.weights(*network.types_of(node.inputs))
                owned = tuple(full_name(node.address, each.name) for each in weights if each.role == "parameter")
            self.parameters.update(dict.fromkeys(owned))
            self._by_node.append((node.name, owned))

    def names(self) -> set[str]:
        """Everything that can be named, for suggestions."""
        found: set[str] = set()
        for name in (*self.parameters, *(node for node, _ in self._by_node)):
            while name:
                found.add(name)
                name = name.rpartition(".")[0]
        return found

    def places(self, name: str) -> list[int]:
        """The positions of the nodes that a name covers, in execution order."""
        return [
            place
            for place, (node, owned) in enumerate(self._by_node)
            if _covers(name, node) or any(_covers(name, parameter) for parameter in owned)
        ]

    def covered(self, name: str) -> set[str]:
        """The parameters that a name covers."""
        if name == ALL:
            return set(self.parameters)
        found = {parameter for parameter in self.parameters if _covers(name, parameter)}
        return found.union(*(owned for node, owned in self._by_node if _covers(name, node)))

    def between(self, first: int, last: int) -> set[str]:
        return set().union(*(owned for _, owned in self._by_node[first : last + 1]))


def _covers(scope: str, name: str) -> bool:
    return name == scope or name.startswith(f"{scope}.")


def frozen(entry: syntax.Entry, owners: Owners, network: str, span: Span) -> Frozen:
    """The parameters that an entry freezes. `span` is that of the entry; its form has been checked."""
    kept: set[str] = set()
    found: list[Diagnostic] = []
    names, exceptions = _parts(entry)
    for named in names:
        place = Span(span.source, *named.at)
        covered, wrong = _covered(named, owners, network, place)
        kept |= covered
        found += wrong
    for named in exceptions:
        place = Span(span.source, *named.at)
        covered, wrong = _covered(named, owners, network, place)
        if not wrong and not covered & kept:
            message = f"`except {named.name}` takes nothing out: it is not in what is frozen"
            wrong = [Diagnostic("E0962", message, place)]
        kept -= covered
        found += wrong
    return Frozen(frozenset(kept), tuple(found))


def _covered(named: Named, owners: Owners, network: str, place: Span) -> tuple[set[str], list[Diagnostic]]:
    ends = [name for name in (named.name, named.until) if name is not None and name != ALL]
    for name in ends:
        if not owners.places(name):
            help = did_you_mean(name, owners.names()) or f"`netdsl summary {network}` lists the layers"
            return set(), [Diagnostic("E0962", f"{network} has no layer, scope or weight `{name}`", place, help)]
    if named.until is None:
        covered = owners.covered(named.name)
        if covered:
            return covered, []
        return set(), [Diagnostic("E0962", f"`{named.name}` has no parameters: there is nothing to freeze", place)]
    first, last = min(owners.places(named.name)), max(owners.places(named.until))
    if first > last:
        message = f"`{named.name}` comes after `{named.until}`"
        help = f"a range goes down the page: `{named.until} to {named.name}`"
        return set(), [Diagnostic("E0962", message, place, help)]
    covered = owners.between(first, last)
    if covered:
        return covered, []
    message = f"from `{named.name}` to `{named.until}` there are no parameters: there is nothing to freeze"
    return set(), [Diagnostic("E0962", message, place)]


def _parts(entry: syntax.Entry) -> tuple[list[Named], list[Named]]:
    """The names that are frozen, and those behind `except`."""
    groups: tuple[list[Named], list[Named]] = ([], [])
    current = groups[0]
    words = [(word, operand.at) for operand in entry.operands if (word := word_of(operand)) is not None]
    place = 0
    while place < len(words):
        word, at = words[place]
        if word == "except":
            current = groups[1]
        elif word == "to" and current and place + 1 < len(words):
            before = current.pop()
            place += 1
            current.append(Named(before.name, words[place][0], (before.at[0], words[place][1][1])))
        else:
            current.append(Named(word, None, at))
        place += 1
    return groups


def word_of(operand: syntax.Call | syntax.Expression) -> str | None:
    """A bare name, dotted or not."""
    if isinstance(operand, syntax.Path):
        return operand.path
    if isinstance(operand, syntax.Call) and operand.arguments is None:
        return operand.name
    return None


def written(entry: syntax.Entry) -> str:
    """`freeze` as the recipe says it, in one line."""
    text = ""
    for operand, mark in zip(entry.operands, entry.marks, strict=True):
        text += f"{mark} {word_of(operand)}" if text else str(word_of(operand))
    return text


def words_behind_except(operands: Iterator[syntax.Call | syntax.Expression]) -> tuple[str, ...]:
    """The names behind `except` in an entry."""
    words = [word for operand in operands if (word := word_of(operand)) is not None]
    return tuple(words[words.index("except") + 1 :]) if "except" in words else ()
