"""Patterns for names with places in them: `blocks.{stage:int}.{i:int}.conv_pw.{leaf}`.

A place `{name}` stands for one or more characters other than a dot, `{name:int}` for decimal digits, `{name:path}` for
one or more characters of any sort. In the name that is made of it, `{name}` repeats what was found, `{name+1}` and
`{name-1}` count on from a number. Matching never takes more than the number of places times the square of the length
of the name, whatever they are: a place is not tried twice from the same character on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

MAX_DIGITS = 9
"""Longest number that a place takes, in digits."""

MAX_PLACES = 16
"""Most places of a pattern."""

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z_0-9]{0,30})(?::(int|path)|([+-]\d{1,4}))?\}")


class Place(NamedTuple):
    """A place in a pattern: `kind` is `part`, `int` or `path`; `plus` is what a number is counted on by."""

    name: str
    kind: str
    plus: int


Piece = str | Place


class Template(NamedTuple):
    """A pattern, taken apart: text and places in turn."""

    text: str
    pieces: tuple[Piece, ...]

    @property
    def places(self) -> dict[str, str]:
        """Name -> kind."""
        return {piece.name: piece.kind for piece in self.pieces if isinstance(piece, Place)}

    def match(self, name: str) -> dict[str, str] | None:
        """What the places hold where the whole of `name` fits, the earlier ones as little as they can; else None."""
        failed: set[tuple[int, int]] = set()
        found: dict[str, str] = {}
        return found if self._match(name, 0, 0, failed, found) else None

    def _match(self, name: str, index: int, start: int, failed: set[tuple[int, int]], found: dict[str, str]) -> bool:
        """Whether the pieces from `index` on fit the name from `start` on."""
        if index == len(self.pieces):
            return start == len(name)
        if (index, start) in failed:
            return False
        piece = self.pieces[index]
        if isinstance(piece, str):
            if name.startswith(piece, start) and self._match(name, index + 1, start + len(piece), failed, found):
                return True
        else:
            for end in range(start + 1, len(name) + 1):
                if not _allowed(piece.kind, name[end - 1], end - start):
                    break
                if self._match(name, index + 1, end, failed, found):
                    found[piece.name] = name[start:end]
                    return True
        failed.add((index, start))
        return False

    def fill(self, found: Mapping[str, str]) -> str:
        """The name that comes of it. Raises ValueError for a number below zero."""
        return "".join(piece if isinstance(piece, str) else _filled(piece, found[piece.name]) for piece in self.pieces)


def _allowed(kind: str, character: str, length: int) -> bool:
    if kind == "int":
        return character in "0123456789" and length <= MAX_DIGITS
    return kind == "path" or character != "."


def _filled(place: Place, text: str) -> str:
    if not place.plus:
        return text
    number = int(text) + place.plus
    if number < 0:
        raise ValueError(f"`{place.name}` is {text}, and {place.plus:+} of that is below zero")
    return str(number)


def template(text: str) -> Template:
    """Takes a pattern apart. Raises ValueError where it is none."""
    pieces: list[Piece] = []
    end = 0
    for place in _PLACE.finditer(text):
        if place.start() > end:
            pieces.append(text[end : place.start()])
        pieces.append(Place(place[1], place[2] or "part", int(place[3] or 0)))
        end = place.end()
    if end < len(text):
        pieces.append(text[end:])
    if any(isinstance(piece, str) and ("{" in piece or "}" in piece) for piece in pieces):
        raise ValueError(
            f"`{text}` has a place that cannot be read; places are {{name}}, {{name:int}} and {{name:path}}"
        )
    names = [piece.name for piece in pieces if isinstance(piece, Place)]
    if len(names) > MAX_PLACES:
        raise ValueError(f"`{text}` has {len(names)} places, and at most {MAX_PLACES} are allowed")
    return Template(text, tuple(pieces))
