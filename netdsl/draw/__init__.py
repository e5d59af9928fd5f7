"""Diagrams of networks."""

from netdsl.draw.errors import DrawError
from netdsl.draw.options import Options
from netdsl.draw.palette import THEMES, Theme
from netdsl.draw.render import FORMATS, compare_svg, dot, drawing, render, svg
from netdsl.draw.styles import STYLES

__all__ = [
    "FORMATS",
    "STYLES",
    "THEMES",
    "DrawError",
    "Options",
    "Theme",
    "compare_svg",
    "dot",
    "drawing",
    "render",
    "svg",
]
