"""Documents that know where they may be broken into lines, and the printer that decides where they are.

After Wadler (2003, "A prettier printer") in the form that Prettier gave it: a group is printed on one line if it fits,
and else each of its own line breaks is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final


class Layout:
    """Base of all documents but plain strings. `forced` is true where it cannot be printed on one line."""

    __slots__ = ("forced",)
    forced: bool


Document = str | Layout


class Line(Layout):
    """A line break; on one line it is printed as `flat`. A hard one is always taken."""

    __slots__ = ("flat",)

    def __init__(self, flat: str = " ", hard: bool = False) -> None:
        self.flat = flat
        self.forced = hard


class Row(Layout):
    """Documents one after the other."""

    __slots__ = ("parts",)

    def __init__(self, *parts: Document) -> None:
        self.parts = parts
        self.forced = any(map(is_forced, parts))


class Indent(Layout):
    """Lines that begin in here stand two columns further right."""

    __slots__ = ("inner",)

    def __init__(self, *parts: Document) -> None:
        self.inner = Row(*parts)
        self.forced = self.inner.forced


class Group(Layout):
    __slots__ = ("inner",)

    def __init__(self, *parts: Document) -> None:
        self.inner = Row(*parts)
        self.forced = self.inner.forced


class IfBroken(Layout):
    """One thing where the group around it is broken, another where it is on one line."""

    __slots__ = ("broken", "flat")

    def __init__(self, broken: Document, flat: Document = "") -> None:
        self.broken = broken
        self.flat = flat
        self.forced = False


class Trailing(Layout):
    """Text that goes behind all else on its line: a comment."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text
        self.forced = True


LINE: Final = Line()
SOFT: Final = Line("")
HARD: Final = Line(hard=True)


def is_forced(document: Document) -> bool:
    return not isinstance(document, str) and document.forced


def joined(separator: Document, documents: Iterable[Document]) -> Row:
    parts: list[Document] = []
    for document in documents:
        if parts:
            parts.append(separator)
        parts.append(document)
    return Row(*parts)


_Work = tuple[int, bool, Document]
"""Indentation, whether the group around is broken, what is to be printed."""


def width(document: Document) -> int:
    """The number of columns of a document on one line."""
    return len(render(Group(document), 10**9))


def render(document: Document, columns: int) -> str:
    """The document as text, at most `columns` wide where it can be."""
    lines: list[str] = []
    line: list[str] = []
    used = 0
    behind: list[str] = []
    work: list[_Work] = [(0, True, document)]
    while work:
        indent, broken, item = work.pop()
        if isinstance(item, str):
            line.append(item)
            used += len(item)
        elif isinstance(item, Row):
            work.extend((indent, broken, part) for part in reversed(item.parts))
        elif isinstance(item, Indent):
            work.append((indent + 2, broken, item.inner))
        elif isinstance(item, Group):
            flat = not item.forced and _fits(item.inner, columns - used, work)
            work.append((indent, not flat, item.inner))
        elif isinstance(item, IfBroken):
            work.append((indent, broken, item.broken if broken else item.flat))
        elif isinstance(item, Trailing):
            behind.append(item.text)
        elif isinstance(item, Line) and (broken or item.forced):
            lines += _finished(line, behind, indent)
            line, behind = [" " * indent], []
            used = indent
        elif isinstance(item, Line):
            line.append(item.flat)
            used += len(item.flat)
    return "\n".join([*lines, *_finished(line, behind, 0)])


def _finished(line: list[str], behind: list[str], indent: int) -> list[str]:
    """A line with a comment behind it. Further comments stand below, as far right as what belongs to this line or the
    next."""
    text = "".join(line).rstrip()
    if not behind:
        return [text]
    own = len(text) - len(text.lstrip()) + (2 if text.endswith(("(", "[", "{")) else 0)
    margin = " " * max(indent, own)
    first, *rest = behind
    return [f"{text}  {first}" if text else margin + first, *(margin + comment for comment in rest)]


def _fits(document: Document, room: int, behind: list[_Work]) -> bool:
    """Whether a document fits on the line, with what stands behind it up to the next possible line break."""
    work: list[tuple[bool, Document]] = [(False, document)]
    rest = len(behind)
    while room >= 0:
        if not work:
            if rest == 0:
                return True
            rest -= 1
            _, broken, item = behind[rest]
        else:
            broken, item = work.pop()
        if isinstance(item, str):
            room -= len(item)
        elif isinstance(item, Row):
            work.extend((broken, part) for part in reversed(item.parts))
        elif isinstance(item, Indent):
            work.append((broken, item.inner))
        elif isinstance(item, Group):
            work.append((broken or item.forced, item.inner))
        elif isinstance(item, IfBroken):
            work.append((broken, item.broken if broken else item.flat))
        elif isinstance(item, Line):
            if broken or item.forced:
                return True
            room -= len(item.flat)
    return False
