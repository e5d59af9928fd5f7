"""What every style of drawing is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netdsl.draw.palette import LIGHT, Theme

Direction = Literal["down", "right"]
Label = Literal["params", "macs", "memory", "receptive"]
Heat = Literal["params", "macs", "memory"]

PIXELS_PER_MM = 96 / 25.4
"""Of CSS: a drawing's own unit is the pixel, 1/96 inch."""


@dataclass(frozen=True)
class Options:
    """How a network is drawn. A style takes what means something to it and lets the rest be.

    Lengths inside a drawing are CSS pixels, 1/96 inch; `width` is what people measure on a page.
    """

    theme: Theme = LIGHT
    width: float | None = None
    """Millimetres of the page: a drawing that is wider is broken into rows where its style can do that, and else made
    smaller. None leaves it as wide as it comes. 86 is a column of a journal, 178 its page, 254 a slide."""
    depth: int | None = None
    """Scopes that lie deeper are drawn as one box each; 1 leaves the top level. None is for the style to decide."""
    expand: tuple[str, ...] = ()
    """Names of scopes to draw in full: whatever the depth, and each of them where it stands among equal ones."""
    fold: bool = True
    """Whether equal neighbours are drawn once, with their number."""
    direction: Direction = "down"
    labels: tuple[Label, ...] = ()
    """Figures to write on the boxes."""
    heat: Heat | None = None
    """Colours boxes by what they cost, in place of their kind."""
    dpi: int = 144
    """Pixels per inch of a PNG."""
    title: str | None = None
    """In place of the network's name."""
    description: str | None = None
    """What a screen reader says of the drawing, in place of the style's own words."""
    limit: int = 1500
    """Boxes that a drawing may have at most."""

    @property
    def pixels(self) -> float | None:
        """`width` in the unit of drawings."""
        return None if self.width is None else self.width * PIXELS_PER_MM
