"""Themes of the drawings: soft fills that stay apart for colour-blind readers, and one that a copier cannot spoil.

In each theme text stands out from whatever is behind it by 4.5 to 1, and lines and edges stand out from the paper by
3 to 1 (WCAG 2.2, success criteria 1.4.3 and 1.4.11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple


class Paint(NamedTuple):
    """How a kind of layer is drawn."""

    fill: str
    line: str
    """Around it, and what marks it in small."""
    hatch: str = ""
    """A pattern that tells the kind apart without colour: one of `netdsl.draw.hatch.HATCHES`, `solid`, or none."""
    word: str = ""
    """What the legend calls it."""


@dataclass(frozen=True)
class Theme:
    """Colours of a drawing, as #rrggbb."""

    name: str
    paper: str
    """Behind everything."""
    ink: str
    """Text."""
    faint: str
    """Names, shapes, and whatever is not the first thing to read."""
    wire: str
    """Edges."""
    skip: str
    """Edges that lead past layers: shortcuts."""
    grounds: tuple[str, ...]
    """Grounds of scopes, the outermost first; deeper ones go through them again."""
    ground_line: str
    paints: Mapping[str, Paint]
    """By `Layer.category`; `scope` is a scope that is drawn as one box."""
    heats: tuple[str, ...]
    """From what costs nothing to what costs most."""
    good: str
    """Of what was added, where two networks are compared."""
    bad: str
    """Of what was removed."""
    changed: str
    """Of what was changed."""

    def paint(self, category: str) -> Paint:
        """The paint of a category; of `reshape` for one that is not known."""
        return self.paints.get(category, self.paints["reshape"])

    def ground(self, level: int) -> str:
        return self.grounds[level % len(self.grounds)]

    def heat(self, share: float) -> str:
        """The fill of what costs this share, 0 to 1, of the most that anything costs."""
        place = min(max(share, 0.0), 1.0) * (len(self.heats) - 1)
        at = min(int(place), len(self.heats) - 2)
        return mixed(self.heats[at], self.heats[at + 1], place - at)


def channels(color: str) -> tuple[int, int, int]:
    """Red, green and blue of #rrggbb."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def mixed(first: str, second: str, share: float) -> str:
    """A colour between two: `share` of the second."""
    pairs = zip(channels(first), channels(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


_WORDS = {
    "input": "input, output",
    "conv": "convolution",
    "dense": "dense",
    "pool": "pooling",
    "norm": "normalization",
    "activation": "activation",
    "join": "join",
    "reshape": "reshape",
    "regularisation": "regularisation",
    "fixed": "fixed weights",
    "scope": "scope",
}


def _paints(**given: tuple[str, str] | tuple[str, str, str]) -> Mapping[str, Paint]:
    return MappingProxyType({
        name: Paint(paint[0], paint[1], paint[2] if len(paint) > 2 else "", _WORDS[name])
        for name, paint in given.items()
    })  # fmt: skip


LIGHT = Theme(
    name="light", paper="#ffffff", ink="#1b2530", faint="#55616d", wire="#55616d", skip="#a63f26",
    grounds=("#f5f7fa", "#ebeff4", "#e2e8ef", "#d9e1ea"), ground_line="#6f7d8b",
    paints=_paints(
        input=("#ffffff", "#1b2530"),
        conv=("#d3e4f6", "#3571ae"),
        dense=("#e5daf3", "#7a57a8"),
        pool=("#fbe0c2", "#b96a17"),
        norm=("#eef1f4", "#788795"),
        activation=("#d9efd4", "#4a8a3f"),
        join=("#fbeeb4", "#967a08"),
        reshape=("#f7f8f9", "#7d8a96"),
        regularisation=("#f4e8ee", "#9b6d83"),
        fixed=("#fadada", "#bb4444"),
        scope=("#ffffff", "#6f7c89"),
    ),
    heats=("#fdfaf4", "#fde2b6", "#fcb47a", "#f58462"),
    good="#1f6a2a", bad="#a93226", changed="#7d5200",
)  # fmt: skip

DARK = Theme(
    name="dark", paper="#12171d", ink="#edf1f5", faint="#aab6c2", wire="#9aa7b4", skip="#f0997f",
    grounds=("#1a2129", "#212a34", "#28333f", "#2f3b49"), ground_line="#7c8ca2",
    paints=_paints(
        input=("#12171d", "#edf1f5"),
        conv=("#1f3d5c", "#6ea8e0"),
        dense=("#3d2c58", "#b18fe0"),
        pool=("#553412", "#e2a05a"),
        norm=("#2b3641", "#94a3b2"),
        activation=("#21452a", "#7cc07a"),
        join=("#4b3f0e", "#d8bd4a"),
        reshape=("#222b34", "#8d9aa8"),
        regularisation=("#432b37", "#cf97b0"),
        fixed=("#5a2426", "#ec8a8a"),
        scope=("#12171d", "#94a3b2"),
    ),
    heats=("#1a2129", "#46311f", "#743a1c", "#a0401f"),
    good="#7fcb86", bad="#f28b82", changed="#e3b341",
)  # fmt: skip

PRINT = Theme(
    name="print", paper="#ffffff", ink="#000000", faint="#454545", wire="#2b2b2b", skip="#000000",
    grounds=("#f7f7f7", "#ffffff", "#f0f0f0", "#ffffff"), ground_line="#6e6e6e",
    paints=_paints(
        input=("#ffffff", "#000000"),
        conv=("#dcdcdc", "#000000", "solid"),
        dense=("#c6c6c6", "#000000", "diagonal"),
        pool=("#ffffff", "#000000", "horizontal"),
        norm=("#f4f4f4", "#555555", "dots"),
        activation=("#ffffff", "#555555", "vertical"),
        join=("#ededed", "#000000", "cross"),
        reshape=("#ffffff", "#6e6e6e"),
        regularisation=("#ffffff", "#6e6e6e", "waves"),
        fixed=("#e4e4e4", "#000000", "lattice"),
        scope=("#ffffff", "#444444"),
    ),
    heats=("#ffffff", "#d6d6d6", "#a8a8a8"),
    good="#000000", bad="#000000", changed="#000000",
)  # fmt: skip

THEMES: Mapping[str, Theme] = MappingProxyType({theme.name: theme for theme in (LIGHT, DARK, PRINT)})
"""`print` tells kinds apart by greys and hatches, and shortcuts by their line."""
