"""What loading did, or would have done, and the error that says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple

from netdsl.weights.errors import WeightError
from netdsl.weights.inventory import Slot
from netdsl.weights.stored import shown

MAX_LISTED = 8
"""How many findings of one kind an error spells out."""

MAX_COMPARED = 2_000
"""Among how many names the nearest one is looked for."""

MAX_NEAREST = 200
"""For how many of a kind the nearest name is looked for: it takes a while, and nobody reads thousands of them."""


class WrongShape(NamedTuple):
    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]


Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LoadReport:
    """What loading did, or would have done: names of weights.

    Names are the network's; where rules or positions have renamed the arrays of a file, `sources` has the file's.
    """

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
    sources: Mapping[str, str] = field(default_factory=dict)
    """Name that was loaded -> name in the file, where it is another."""
    wanted: Shapes = field(default_factory=dict, repr=False)
    """Shapes in the network, by name."""
    offered: Shapes = field(default_factory=dict, repr=False)
    """Shapes in the file, by name."""

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.wrong_shape)

    def nearest(self, name: str) -> str | None:
        """The name on the other side that was probably meant by one that is missing, unexpected or of wrong shape.

        Names whose arrays have the shape that is looked for come first.
        """
        if name in self.missing:
            return _closest(name, self.wanted[name], {other: self.offered[other] for other in self.unexpected})
        if name in self.unexpected:
            others = self.missing or tuple(self.wanted)
            return _closest(name, self.offered[name], {other: self.wanted[other] for other in others})
        if name in self.wanted:
            left = {other: self.offered[other] for other in self.unexpected if self.offered[other] == self.wanted[name]}
            return _closest(name, self.wanted[name], left)
        return None

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
    return MismatchError(report, message, advice(report, slots), list(findings(report, MAX_LISTED)))


def findings(report: LoadReport, most: int) -> Iterator[str]:
    """A line for each weight that does not fit, with the nearest name; at most `most` of each kind."""
    for label, names, who in (
        ("missing", report.missing, "the file has"),
        ("unexpected", report.unexpected, "the network has"),
    ):
        for index, name in enumerate(names[:most]):
            close = report.nearest(name) if index < MAX_NEAREST else None
            yield f"{label}: `{shown(name)}`" + (f" ({who} `{shown(close)}`)" if close else "")
        yield from _more(label, len(names), most)
    for index, (name, found, expected) in enumerate(report.wrong_shape[:most]):
        turned = "; is it transposed?" if len(found) > 1 and found == expected[::-1] else ""
        close = report.nearest(name) if index < MAX_NEAREST else None
        close = f"; `{shown(close)}` has that shape" if close else ""
        yield (
            f"wrong shape: `{shown(name)}` is {spelled(found)} in the file, the network wants "
            f"{spelled(expected)}{turned}{close}"
        )
    yield from _more("wrong shape", len(report.wrong_shape), most)


def _more(label: str, count: int, most: int) -> Iterator[str]:
    if count > most:
        yield f"{label}: and {count - most} more"


def spelled(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _closest(name: str, shape: tuple[int, ...], others: Shapes) -> str | None:
    """The nearest of `others`; those of the same shape and the same last part come first."""
    leaf = name.rpartition(".")[2]
    fitting = [other for other, found in others.items() if found == shape and other.rpartition(".")[2] == leaf]
    return _near(name, fitting, 0.4) or _near(name, others, 0.6)


def _near(name: str, others: Iterable[str], cutoff: float) -> str | None:
    by_lower: dict[str, str] = {}
    for other, _ in zip(others, range(MAX_COMPARED), strict=False):
        by_lower.setdefault(other.lower(), other)
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def advice(report: LoadReport, slots: Mapping[str, Slot]) -> str:
    """What a person may do about weights that do not fit."""
    prefix = _foreign_prefix(report.unexpected, slots)
    if prefix:
        return (
            f"the names in the file begin with `{shown(prefix)}`; take it off: name.removeprefix('{shown(prefix)}'), "
            f'or a rule from = "{shown(prefix)}{{name:path}}", to = "{{name}}"'
        )
    if not report.loaded and len(report.missing) == len(report.unexpected):
        return (
            "no name fits, and there are as many weights: do they go by position (`--by-position`, by_position=True)?"
        )
    if not report.loaded:
        return "no name fits: are these the weights of another network?"
    scopes = dict.fromkeys(
        name.rpartition(".")[0] or name
        for name in [*report.missing, *report.unexpected, *(entry.name for entry in report.wrong_shape)]
    )
    if len(scopes) <= 3:
        return f"to load the rest and leave these as they are: except {', '.join(map(shown, scopes))}"
    return "to load a part, name the weights or scopes to leave as they are with `except`"


def _foreign_prefix(unexpected: Sequence[str], slots: Mapping[str, Slot]) -> str | None:
    """A prefix (`module.`, as data-parallel training leaves it) without which at least half of the names would fit."""
    for prefix in dict.fromkeys(name.partition(".")[0] + "." for name in unexpected[:MAX_LISTED]):
        if 2 * sum(name.startswith(prefix) and name.removeprefix(prefix) in slots for name in unexpected) >= len(
            unexpected
        ):
            return prefix
    return None
