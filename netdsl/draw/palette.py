"""Colours and fonts of the drawings: soft fills that print well and stay apart for colour-blind readers."""

from __future__ import annotations

from typing import NamedTuple

FONT = "Helvetica,Arial,sans-serif"
INK = "#1f2933"
"""Text."""
FAINT = "#6b7785"
"""Names, shapes, and whatever is not the first thing to read."""
WIRE = "#52606d"
"""Edges."""
PAPER = "#ffffff"


class Paint(NamedTuple):
    """The fill of a box and the line around it."""

    fill: str
    line: str


PAINTS = {
    "input": Paint("#ffffff", "#1f2933"),
    "conv": Paint("#d6e6f7", "#3f78b5"),
    "dense": Paint("#e6dcf3", "#7a5aa6"),
    "pool": Paint("#fde3c8", "#d9822b"),
    "norm": Paint("#eceff1", "#90a0ad"),
    "activation": Paint("#dcf0d8", "#5a9c4f"),
    "join": Paint("#fdf1bd", "#c2a018"),
    "reshape": Paint("#f4f5f6", "#a3adb7"),
    "regularisation": Paint("#f4f5f6", "#a3adb7"),
    "fixed": Paint("#fadcdc", "#c35252"),
    "scope": Paint("#ffffff", "#7b8794"),
}
"""By `Layer.category`; `scope` is a scope that is drawn as one box."""

GROUNDS = ("#f7f9fb", "#eef2f6", "#e5ebf1", "#dde4ec")
"""Grounds of scopes, the outermost first; deeper ones go through them again."""
GROUND_LINE = "#b8c4d0"


def paint(category: str) -> Paint:
    return PAINTS.get(category, PAINTS["reshape"])
