"""How far a text reaches, and how a long one is shortened: by the font that drawings are set in.

The font is Arimo, whose letters are as wide as Helvetica's and Arial's: a drawing that is measured with it fits where
a reader has any of the three. Two styles of it lie in `fonts/`, and the widths of their letters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from unicodedata import category, combining, east_asian_width

FONTS = Path(__file__).resolve().parent / "fonts"
FAMILY = "Arimo, Helvetica, Arial, 'Liberation Sans', sans-serif"

CAP_HEIGHT = 0.69
"""Height of capitals and digits, in font sizes (OS/2 table of Arimo)."""
ASCENT = 0.905
DESCENT = 0.212
"""How far the letters reach above and below the base line, in font sizes (hhea table of Arimo)."""

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@cache
def _advances() -> Mapping[str, Mapping[str, int]]:
    found: Mapping[str, Mapping[str, int]] = json.loads((FONTS / "advances.json").read_text(encoding="utf-8"))
    return found


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of a line of text at a font size, in its unit. Letters that the font lacks count as wide as they can be."""
    advances = _advances()["bold" if bold else "regular"]
    total = 0
    for letter in text:
        advance = advances.get(letter)
        total += _unknown(letter) if advance is None else advance
    return total * size / 1000


def _unknown(letter: str) -> int:
    if combining(letter) or category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 1000 if east_asian_width(letter) in ("W", "F") else 750


def fitted(text: str, width: float, size: float, bold: bool = False) -> str:
    """The text, or as much of its beginning and end as `width` has room for, with an ellipsis between."""
    if text_width(text, size, bold) <= width:
        return text
    # Nothing is wider than so many of the narrowest letters: a name of a million letters costs no more than a line.
    most = int(width / (0.19 * size)) + 1
    keep = min(len(text) - 1, most)
    while keep > 0:
        tail = keep // 2
        shortened = text[: keep - tail].rstrip() + ELLIPSIS + (text[-tail:].lstrip() if tail else "")
        if text_width(shortened, size, bold) <= width:
            return shortened
        keep -= 1
    return ELLIPSIS
