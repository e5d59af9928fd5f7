"""From a flow to the lines of a board: what fits on a line stands on it, and the lanes of what does not are indented.

chain     a -> b -> c
lanes     { a -> b | c | identity } -> ADD
repeats   [ a -> b ] x 3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from netdsl.analysis.notation import printable
from netdsl.draw.board.notation import operation, shape
from netdsl.draw.flow import Flow, Fork, Group, Series, Step, Tangle
from netdsl.draw.words import tip

MOST_LANES = 12
"""Lanes that are written; of more, the first and the last ones, and how many are between."""
LONGEST_NAME = 48
"""Characters of a name."""

Role = Literal["shape", "operation", "arrow", "sign", "name", "note"]


class Token(NamedTuple):
    text: str
    role: Role
    category: str = ""
    """Of the layer, for an operation."""
    tip: str = ""


@dataclass(eq=False)
class Lanes:
    """Chains side by side."""

    lanes: list[Chain]


@dataclass(eq=False)
class Repeat:
    chain: Chain
    title: str


Link: TypeAlias = list[Token] | Lanes | Repeat
"""What stands between two arrows."""
Chain: TypeAlias = list[Link]


class Row(NamedTuple):
    """A line of the board."""

    indent: int
    tokens: list[Token]


ARROW = Token("->", "arrow")


def chain_of(read: Flow) -> Chain:
    """The whole network as a chain."""
    return _Writer(read).chain(read.series)


class _Writer:
    def __init__(self, read: Flow) -> None:
        self._flow = read
        self._named = sum(len(names) for names in read.outputs.values()) > 1
        self._inputs = sum(step.category == "input" for step in read.steps.values())
        self._names: dict[int, str] = {}
        """Steps that are read from elsewhere than where they stand."""

    def chain(self, parts: Series) -> Chain:
        found: Chain = []
        for part in parts:
            if isinstance(part, Step):
                found.extend(self._step(part))
            elif isinstance(part, Fork):
                found.append(self._fork(part))
            elif isinstance(part, Tangle):
                found.append(self._tangle(part))
            else:
                found.extend(self._group(part))
        return found

    def _group(self, group: Group) -> Chain:
        inner = self.chain(group.parts)
        item = group.frame.item
        if item is None or item.repeats <= 1:
            return inner
        beside = " side by side" if group.frame.side_by_side else ""
        return [Repeat(inner, f"x {item.repeats:,}{beside}")]

    def _fork(self, fork: Fork) -> Lanes:
        identity: Chain = [[Token("identity", "operation", "reshape")]]
        lanes = [self.chain(lane) if lane else identity for lane in fork.lanes]
        if len(lanes) > MOST_LANES:
            hidden = len(lanes) - MOST_LANES + 1
            more: Chain = [[Token(f"... {hidden:,} more lanes", "note")]]
            lanes = [*lanes[: MOST_LANES - 2], more, lanes[-1]]
        return Lanes(lanes)

    def _tangle(self, tangle: Tangle) -> Lanes:
        """A line for each step, which says what it reads."""
        lines: list[Chain] = []
        for number, step in enumerate(tangle.steps, 1):
            self._names[step.number] = f"({number})"
            read = [self._names.get(source, "in") for source in dict.fromkeys(step.inputs)]
            links = self._step(step)
            first = links[0]
            opening = Token(f"({number}) from {', '.join(read)}:", "name")
            lines.append([[opening, *first], *links[1:]] if isinstance(first, list) else [[opening], *links])
        return Lanes(lines)

    def _step(self, step: Step) -> Chain:
        found: Chain = []
        if step.category == "input":
            name = [Token(f"{_fitting(step.main.name)}:", "name")] if self._inputs > 1 else []
            found.append([*name, Token(shape(step.type), "shape")])
        else:
            for item in (*step.before, *step.items):
                category = "scope" if item.row is None else item.row.layer.category
                found.append([Token(operation(item), "operation", category, tip([item]))])
            end = self._flow.last_type(step).channels
            more = f"...{end}" if end != step.type.channels and end is not None else ""
            found.append([Token(shape(step.type) + more, "shape")])
            if step.main.repeats > 1:
                found = [Repeat(found, f"x {step.main.repeats:,}")]
        names = self._flow.outputs.get(step.number, [])
        if self._named and names:
            said = [Token(f"= {_fitting(name)}", "name") for name in names]
            last = found[-1]
            if isinstance(last, list):
                found[-1] = [*last, *said]
            else:
                found.append(said)
        return found


def _fitting(name: str) -> str:
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 17]}...{name[-14:]}"


Measure: TypeAlias = Callable[[Sequence[Token]], float]


class Setter:
    """Sets a chain in lines of at most `width`, as `measure` says; a level of indentation takes `indent`."""

    def __init__(self, width: float, indent: float, measure: Measure) -> None:
        self._width = width
        self._indent = indent
        self._measure = measure
        self._flat: dict[int, list[Token] | None] = {}
        self.rows: list[Row] = []

    def set(self, chain: Chain, indent: int = 0, opening: Sequence[Token] = ()) -> None:
        """Appends the lines of a chain; `opening` stands in front of its first link."""
        line = list(opening)
        bare = True
        for link in chain:
            lead = [] if bare else [ARROW]
            flat = self._flattened(link)
            if flat is not None and self._fits(line, [*lead, *flat], indent):
                line += [*lead, *flat]
            elif flat is not None and self._fits([ARROW], flat, indent + 1):
                self._end(line, indent)
                line = [*lead, *flat]
            else:
                line, indent = self._broken(link, [*line, *lead], indent)
            bare = False
        self._end(line, indent)

    def _broken(self, link: Link, line: list[Token], indent: int) -> tuple[list[Token], int]:
        """Sets a link that takes several lines; what follows goes on behind its end."""
        if isinstance(link, list):
            self._end(line, indent)
            return list(link), indent
        if isinstance(link, Repeat):
            self._end([*line, Token("[", "sign")], indent)
            self.set(link.chain, indent + 1)
            return [Token("]", "sign"), Token(link.title, "name")], indent
        for number, lane in enumerate(link.lanes):
            if not number:
                self._end([*line, Token("{", "sign")], indent)
            self.set(lane, indent + 1, [Token("|", "sign")])
        return [Token("}", "sign")], indent

    def _end(self, line: Sequence[Token], indent: int) -> None:
        if line:
            self.rows.append(Row(indent, list(line)))

    def _fits(self, line: Sequence[Token], more: Sequence[Token], indent: int) -> bool:
        return self._measure([*line, *more]) <= self._width - indent * self._indent

    def _flattened(self, link: Link) -> list[Token] | None:
        """A link on one line; None where it is too long for any."""
        if isinstance(link, list):
            return link
        key = id(link)
        if key not in self._flat:
            self._flat[key] = self._flatten(link)
        return self._flat[key]

    def _flatten(self, link: Lanes | Repeat) -> list[Token] | None:
        tokens: list[Token] = []
        chains = [link.chain] if isinstance(link, Repeat) else link.lanes
        tokens.append(Token("[" if isinstance(link, Repeat) else "{", "sign"))
        for number, chain in enumerate(chains):
            if number:
                tokens.append(Token("|", "sign"))
            for at, inner in enumerate(chain):
                flat = self._flattened(inner)
                if flat is None:
                    return None
                tokens += [ARROW, *flat] if at else flat
            if self._measure(tokens) > self._width:
                return None
        tokens.append(Token("]" if isinstance(link, Repeat) else "}", "sign"))
        if isinstance(link, Repeat):
            tokens.append(Token(link.title, "name"))
        return tokens
