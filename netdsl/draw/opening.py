"""How far the scopes of a network are opened, where nobody says how deep to draw: as far as the drawing fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from netdsl.draw.fit import closed, fitted_picture
from netdsl.draw.flow import Flow, flow
from netdsl.draw.options import Options
from netdsl.draw.picture import Frame, Picture
from netdsl.ir.network import Network

Made = TypeVar("Made")

_LEAST = 8
"""Boxes of a picture at least for blocks to be closed further than what fits asks for."""


def opened(
    network: Network, options: Options, make: Callable[[Picture, Flow], Made], fits: Callable[[Made], bool]
) -> tuple[Made, tuple[str, ...]]:
    """What `make` makes of the picture of a network, and what is to be said of what the picture leaves out.

    Of the depths that fit, the one is taken that opens most; rather one that closes the blocks of the spec than one
    that closes parts of them. A depth that the options ask for is followed, whether it fits or not. Raises DrawError.
    """
    found = fitted_picture(network, options)
    read = flow(found)
    best, notes = make(found, read), found.notes
    if options.depth is not None or not options.fold or fits(best):
        return best, notes
    first, chosen, shut = found, False, False
    for depth in range(_levels(found) - 1, 0, -1):
        found = closed(first, depth, options.expand)
        read = flow(found)
        tried = make(found, read)
        good = fits(tried)
        whole = _closes_blocks(read)
        if not chosen or (good and whole and sum(1 for _ in found.boxes()) >= _LEAST):
            best, notes = tried, found.notes
            shut = any(step.main.row is None and step.main.children for step in read.steps.values())
        chosen = chosen or good
        if chosen and good and whole:
            break
    if shut:
        notes += (f"{len(network.table):,} layers: --depth and --expand show what is inside the blocks",)
    return best, notes


def _closes_blocks(read: Flow) -> bool:
    """Whether all that is drawn closed are calls of blocks."""
    return all(step.main.block for step in read.steps.values() if step.main.row is None and step.main.children)


def _levels(found: Picture) -> int:
    """How deep the scopes of a picture are nested."""
    deepest = 0
    stack = [(found.root, 1)]
    while stack:
        frame, level = stack.pop()
        deepest = max(deepest, level)
        stack.extend((part, level + 1) for part in frame.parts if isinstance(part, Frame))
    return deepest
