"""Which arrays of a file go where in a network, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from netdsl.language.diagnostics import did_you_mean, nearest
from netdsl.weights.errors import WeightError
from netdsl.weights.inventory import Slot
from netdsl.weights.stored import Stored

MAX_LISTED = 8
"""How many findings of one kind an error spells out."""

Patterns = str | Sequence[str]


class WrongShape(NamedTuple):
    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What loading did, or would have done: names of weights."""

    loaded: tuple[str, ...]
    """In the file and in the network."""
    missing: tuple[str, ...]
    """In the network only, and needed."""
    unexpected: tuple[str, ...]
    """In the file only."""
    wrong_shape: tuple[WrongShape, ...]
    """In both, with different shapes."""
    excepted: tuple[str, ...]
    """In the network, and left as they were because an `except` pattern names them."""
    ignored: tuple[str, ...]
    """In the file, and not read because an `except` pattern names them."""
    optional: tuple[str, ...]
    """In the network only, and not needed: counters, values that the spec states, heads that run in training only."""

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.wrong_shape)

    def __str__(self) -> str:
        parts = [f"loaded {len(self.loaded)} weights"]
        for label in ("missing", "unexpected", "wrong_shape", "excepted", "optional"):
            count = len(getattr(self, label))
            if count:
                parts.append(f"{count} {label.replace('_', ' of ')}")
        return ", ".join(parts)


class MismatchError(WeightError):
    """Names or shapes do not fit the network (E0706); `report` lists all of them."""

    def __init__(self, report: LoadReport, message: str, help: str | None, notes: Sequence[str]) -> None:
        super().__init__("E0706", message, help, notes)
        self.report = report


def compare(slots: Mapping[str, Slot], stored: Mapping[str, Stored], except_: Patterns = ()) -> LoadReport:
    """Holds the arrays of a file against the weights of a network.

    `except_` are patterns as in a shell (`*`, `?`, `[ab]`); each names weights or whole scopes, `fc` as well as
    `layer4.*.conv1`. Raises WeightError for a pattern that names nothing.
    """
    patterns = [except_] if isinstance(except_, str) else list(except_)
    names = dict.fromkeys([*slots, *stored])
    left = set(_excepted(names, patterns))
    wanted = {name: slot for name, slot in slots.items() if name not in left}
    offered = {name: array for name, array in stored.items() if name not in left}
    common = [name for name in wanted if name in offered]
    wrong = [
        WrongShape(name, offered[name].shape, wanted[name].weight.shape)
        for name in common
        if offered[name].shape != wanted[name].weight.shape
    ]
    misfits = {entry.name for entry in wrong}
    absent = [slot for name, slot in wanted.items() if name not in offered]
    return LoadReport(
        loaded=tuple(name for name in common if name not in misfits),
        missing=tuple(slot.name for slot in absent if not _optional(slot)),
        unexpected=tuple(name for name in offered if name not in wanted),
        wrong_shape=tuple(wrong),
        excepted=tuple(name for name in slots if name in left),
        ignored=tuple(name for name in stored if name in left),
        optional=tuple(slot.name for slot in absent if _optional(slot)),
    )


def _optional(slot: Slot) -> bool:
    return slot.counter or slot.auxiliary or (slot.fixed and not slot.weight.trainable)


def _excepted(names: Iterable[str], patterns: Sequence[str]) -> Iterator[str]:
    """The names that a pattern covers, by themselves or through a scope around them."""
    if not patterns:
        return
    used: set[str] = set()
    scopes: set[str] = set()
    for name in names:
        around = list(_with_scopes(name))
        scopes.update(around)
        for pattern in patterns:
            if any(fnmatchcase(scope, pattern) for scope in around):
                used.add(pattern)
                yield name
                break
    # A pattern may be hidden behind an earlier one that covers the same names, so it is asked once more by itself.
    for pattern in patterns:
        if pattern not in used and not any(fnmatchcase(scope, pattern) for scope in scopes):
            raise WeightError(
                "E0708",
                f"except `{pattern}` names no weight and no scope, neither in the network nor in the file",
                did_you_mean(pattern, scopes),
            )


def _with_scopes(name: str) -> Iterator[str]:
    yield name
    scope = name.rpartition(".")[0]
    while scope:
        yield scope
        scope = scope.rpartition(".")[0]


def mismatch(report: LoadReport, slots: Mapping[str, Slot], source: str) -> MismatchError:
    """The error that tells a person what of a file does not fit, and which names were probably meant."""
    counts = [
        f"{len(found)} {label}"
        for label, found in (
            ("missing", report.missing),
            ("unexpected", report.unexpected),
            ("of wrong shape", report.wrong_shape),
        )
        if found
    ]
    expected = len(report.loaded) + len(report.missing) + len(report.wrong_shape)
    message = f"{source} does not fit the network: of {expected} weights, {', '.join(counts)}"
    return MismatchError(report, message, _help(report, slots), list(_notes(report, slots)))


def _notes(report: LoadReport, slots: Mapping[str, Slot]) -> Iterator[str]:
    yield from _listed("missing", report.missing, report.unexpected, "the file has")
    yield from _listed("unexpected", report.unexpected, report.missing or tuple(slots), "the network has")
    for name, found, expected in report.wrong_shape[:MAX_LISTED]:
        turned = "; is it transposed?" if len(found) > 1 and found == expected[::-1] else ""
        yield f"wrong shape: `{name}` is {_spelled(found)} in the file, the network wants {_spelled(expected)}{turned}"
    yield from _more("wrong shape", len(report.wrong_shape))


def _listed(label: str, names: Sequence[str], others: Sequence[str], who: str) -> Iterator[str]:
    for name in names[:MAX_LISTED]:
        close = nearest(name, others)
        yield f"{label}: `{name}`" + (f" ({who} `{close}`)" if close else "")
    yield from _more(label, len(names))


def _more(label: str, count: int) -> Iterator[str]:
    if count > MAX_LISTED:
        yield f"{label}: and {count - MAX_LISTED} more"


def _spelled(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _help(report: LoadReport, slots: Mapping[str, Slot]) -> str:
    prefix = _foreign_prefix(report.unexpected, slots)
    if prefix:
        return f"the names in the file begin with `{prefix}`; take it off: name.removeprefix('{prefix}')"
    if not report.loaded:
        return "no name fits: are these the weights of another network?"
    scopes = dict.fromkeys(
        name.rpartition(".")[0] or name
        for name in [*report.missing, *report.unexpected, *(entry.name for entry in report.wrong_shape)]
    )
    if len(scopes) <= 3:
        return f"to load the rest and leave these as they are: except {', '.join(scopes)}"
    return "to load a part, name the weights or scopes to leave as they are with `except`"


def _foreign_prefix(unexpected: Sequence[str], slots: Mapping[str, Slot]) -> str | None:
    """A prefix (`module.`, as data-parallel training leaves it) without which at least half of the names would fit."""
    for prefix in dict.fromkeys(name.partition(".")[0] + "." for name in unexpected[:MAX_LISTED]):
        if 2 * sum(name.startswith(prefix) and name.removeprefix(prefix) in slots for name in unexpected) >= len(
            unexpected
        ):
            return prefix
    return None
