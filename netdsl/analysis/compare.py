"""Two networks held against each other: which layers were added, removed, changed, what that costs, and whether the
weights of the first still load in the second.

Layers are told apart by name and content (kind, attributes, types). What has both in common is the same layer, in the
order of both networks (Ratcliff and Obershelp's matching). Between those, what has the content in common was renamed,
and what has the name, or the kind and the place, was changed; the rest was removed from the first, or added in the
second.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

from netdsl.analysis.cost import Report, Row, full_name, measure
from netdsl.analysis.notation import caption
from netdsl.ir.network import Network


class Change(NamedTuple):
    """A layer that is in both networks and not the same. `facts` are (what, before, after)."""

    before: Row
    after: Row
    facts: tuple[tuple[str, str, str], ...]

    @property
    def is_renamed(self) -> bool:
        """Whether nothing but the name is another."""
        return not self.facts


class Stored(NamedTuple):
    """Weights by their full names: what of the first network's the second one takes, and what stands in the way."""

    fitting: int
    missing: tuple[str, ...]
    """Needed, and not there."""
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    """There, but of another shape: name, shape before, shape after."""
    unused: tuple[str, ...]
    """There, and not needed."""

    @property
    def loads(self) -> bool:
        """Whether a file of the first network's weights loads in the second as it is."""
        return not (self.missing or self.reshaped or self.unused)


@dataclass(frozen=True)
class Comparison:
    """What differs between two networks."""

    before: Network
    after: Network
    reports: tuple[Report, Report]
    same: tuple[tuple[Row, Row], ...]
    added: tuple[Row, ...]
    removed: tuple[Row, ...]
    changed: tuple[Change, ...]
    """Changed and renamed layers."""
    weights: Stored

    @property
    def are_equal(self) -> bool:
        return not (self.added or self.removed or self.changed)

    def totals(self) -> dict[str, tuple[int | None, int | None]]:
        """What is counted of a network -> before, after."""
        first, second = self.reports
        return {
            "layers": (len(first.rows), len(second.rows)),
            "parameters": (first.parameters, second.parameters),
            "trainable parameters": (first.trainable_parameters, second.trainable_parameters),
            "macs": (first.macs, second.macs),
            "flops": (first.flops, second.flops),
            "activation bytes": (first.totals.activation_bytes, second.totals.activation_bytes),
        }


def compare(before: Network, after: Network) -> Comparison:
    """Holds two networks against each other."""
    reports = (measure(before), measure(after))
    same: list[tuple[Row, Row]] = []
    changed: list[Change] = []
    removed: list[Row] = []
    added: list[Row] = []
    for left, right, equal in _stretches(reports[0].rows, reports[1].rows, _name_and_content):
        if equal:
            same += zip(left, right, strict=True)
            continue
        for inner_left, inner_right, alike in _stretches(left, right, _content):
            if alike:
                changed += [Change(a, b, ()) for a, b in zip(inner_left, inner_right, strict=True)]
                continue
            pairs, gone, new = _paired(inner_left, inner_right)
            changed += [Change(a, b, _facts(a, b)) for a, b in pairs]
            removed += gone
            added += new
    return Comparison(
        before, after, reports, tuple(same), tuple(added), tuple(removed), tuple(changed), _stored(*reports)
    )


def _stretches(
    left: Sequence[Row], right: Sequence[Row], key: object
) -> list[tuple[Sequence[Row], Sequence[Row], bool]]:
    """Both sequences in pieces that belong together, and whether those are equal."""
    assert callable(key)
    matcher = SequenceMatcher(None, [key(row) for row in left], [key(row) for row in right], autojunk=False)
    return [(left[a:b], right[c:d], tag == "equal") for tag, a, b, c, d in matcher.get_opcodes()]


def _content(row: Row) -> Hashable:
    return (row.layer, row.input_types, row.type, row.auxiliary)


def _name_and_content(row: Row) -> Hashable:
    return (row.name, _content(row))


def _paired(left: Sequence[Row], right: Sequence[Row]) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Layers of the same name and kind, and those of the same kind in the same order where the names say nothing."""
    named = {row.name: row for row in right}
    pairs = [(row, named[row.name]) for row in left if row.name in named and named[row.name].kind == row.kind]
    if not pairs:
        matcher = SequenceMatcher(None, [row.kind for row in left], [row.kind for row in right], autojunk=False)
        if len(left) == len(right) and matcher.ratio() == 1:
            pairs = list(zip(left, right, strict=True))
    taken = {row.name for row, _ in pairs}
    given = {row.name for _, row in pairs}
    return pairs, [row for row in left if row.name not in taken], [row for row in right if row.name not in given]


def _facts(before: Row, after: Row) -> tuple[tuple[str, str, str], ...]:
    """What differs between two layers, in words."""
    found = []
    first, second = caption(before.layer, before.input_types), caption(after.layer, after.input_types)
    if first != second:
        found.append(("layer", first, second))
    else:
        found += [
            (name.replace("_", " "), str(getattr(before.layer, name)), str(getattr(after.layer, name)))
            for name in type(before.layer).model_fields
            if type(before.layer) is type(after.layer) and getattr(before.layer, name) != getattr(after.layer, name)
        ]
    for what, a, b in (
        ("input", ", ".join(map(str, before.input_types)), ", ".join(map(str, after.input_types))),
        ("output", str(before.type), str(after.type)),
        ("parameters", f"{before.parameters:,}", f"{after.parameters:,}"),
        ("training only", "yes" if before.auxiliary else "no", "yes" if after.auxiliary else "no"),
    ):
        if a != b:
            found.append((what, a, b))
    return tuple(found)


def _stored(before: Report, after: Report) -> Stored:
    there, needed = _inventory(before), _inventory(after)
    return Stored(
        sum(there.get(name) == shape for name, shape in needed.items()),
        tuple(name for name in needed if name not in there),
        tuple((name, there[name], shape) for name, shape in needed.items() if name in there and there[name] != shape),
        tuple(name for name in there if name not in needed),
    )


def _inventory(report: Report) -> dict[str, tuple[int, ...]]:
    """Full name -> shape of all weights, those of heads that run in training only included."""
    return {full_name(row.address, weight.name): weight.shape for row in report.rows for weight in row.weights}
