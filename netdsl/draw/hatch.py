"""Patterns that tell kinds of layers apart without colour, for drawings that are printed in black and white."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HATCHES: Mapping[str, str] = MappingProxyType({
    "diagonal": "M-1 1L1 -1M0 6L6 0M5 7L7 5",
    "horizontal": "M0 1.5H6M0 4.5H6",
    "vertical": "M1.5 0V6M4.5 0V6",
    "dots": "M1.5 1.5H1.51M4.5 4.5H4.51",
    "cross": "M0 3H6M3 0V6",
    "waves": "M0 4Q1.5 1 3 4T6 4",
    "lattice": "M0 0L6 6M6 0L0 6",
})  # fmt: skip
"""Name -> path in a tile of 6 by 6, drawn with a line."""
SOLID = "solid"
"""The hatch that leaves nothing free."""

TILE = 6


def pattern(name: str, id: str, color: str, paper: str) -> str:
    """A <pattern> element to fill with; `paper` is the ground it is drawn on."""
    width = 1.4 if name == "dots" else 0.8
    drawn = f'<path d="{HATCHES[name]}" fill="none" stroke="{color}" stroke-width="{width}" stroke-linecap="round"/>'
    return (
        f'<pattern id="{id}" width="{TILE}" height="{TILE}" patternUnits="userSpaceOnUse">'
        f'<rect width="{TILE}" height="{TILE}" fill="{paper}"/>{drawn}</pattern>'
    )
