"""The styles of drawings: a name, and the module that draws it.

A style is a module with `draw(network, options) -> str`, which returns an SVG document: an <svg> element with
role="img", a <title> and a <desc>, made with `netdsl.draw.canvas`. The same network and options give the
same text. Raises DrawError.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from netdsl.draw.errors import DrawError
from netdsl.draw.options import Options
from netdsl.ir.network import Network
from netdsl.language.diagnostics import did_you_mean

STYLES = {
    "graph": "netdsl.draw.graph",
    "volumes": "netdsl.draw.volumes",
    "board": "netdsl.draw.board",
}


class Style(Protocol):
    def draw(self, network: Network, options: Options) -> str: ...


def style(name: str) -> Style:
    """The style of this name. Raises DrawError (E0806)."""
    if name not in STYLES:
        known = ", ".join(STYLES)
        raise DrawError("E0806", f"there is no style `{name}`; a drawing is one of {known}", did_you_mean(name, STYLES))
    return cast(Style, import_module(STYLES[name]))
