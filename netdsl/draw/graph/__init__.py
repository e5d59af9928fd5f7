"""The graph style: layers as boxes in the colours of their kinds, scopes as frames around them, shapes on the edges."""

from __future__ import annotations

from netdsl.draw.fit import fitted_picture
from netdsl.draw.graph.forks import straighten
from netdsl.draw.graph.layout import Layout, layout, widened
from netdsl.draw.graph.paint import paint
from netdsl.draw.graph.plan import Plan, plan
from netdsl.draw.graph.skips import Skips
from netdsl.draw.options import Options
from netdsl.draw.picture import Picture
from netdsl.ir.network import Network


def draw(network: Network, options: Options) -> str:
    """The graph of a network as an SVG document. Raises DrawError."""
    return draw_picture(fitted_picture(network, options), options)


def source(network: Network, options: Options) -> str:
    """The same in Graphviz's language. Raises DrawError."""
    from netdsl.draw.graph.dot import write

    found = fitted_picture(network, options)
    return write(found, plan(found, options), options)


def draw_picture(picture: Picture, options: Options) -> str:
    """The graph of a picture as an SVG document."""
    planned = plan(picture, options)
    return paint(picture, planned, _laid_out(planned, options), options)


def _laid_out(planned: Plan, options: Options) -> Layout:
    """Places for all. A shortcut that would run into something is left to Graphviz, which then has to begin anew."""
    left: frozenset[int] = frozenset()
    while True:
        skips = Skips(planned, left)
        skips.reserve()
        found = layout(planned, options.direction, skips.numbers)
        failed = skips.route(found, options.direction == "down")
        if not failed:
            straighten(planned, found, options.direction == "down")
            return widened(found)
        left |= failed
