"""Diagrams of networks."""

from netdsl.draw.errors import DrawError
from netdsl.draw.render import FORMATS, dot, render, svg

__all__ = ["FORMATS", "DrawError", "dot", "render", "svg"]
