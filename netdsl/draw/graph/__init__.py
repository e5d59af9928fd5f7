"""The graph style: layers as boxes in the colours of their kinds, scopes as frames around them, shapes on the edges."""

from __future__ import annotations

from netdsl.draw.fit import fitted_picture
from netdsl.draw.graph.place import placed
from netdsl.draw.graph.plan import plan
from netdsl.draw.graph.sheet import Panel, sheet
from netdsl.draw.options import Options
from netdsl.ir.network import Network


def draw(network: Network, options: Options) -> str:
    """The graph of a network as an SVG document. Raises DrawError."""
    picture = fitted_picture(network, options)
    planned = plan(picture, options)
    title = options.title or network.name
    return sheet([Panel(picture, planned, placed(planned, options), title)], options, title)


def source(network: Network, options: Options) -> str:
    """The same in Graphviz's language. Raises DrawError."""
    from netdsl.draw.graph.dot import write

    picture = fitted_picture(network, options)
    return write(picture, plan(picture, options), options)
