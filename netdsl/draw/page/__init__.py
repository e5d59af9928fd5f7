"""The explorer: a network as one HTML file that opens from the disk, without a network and without a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from netdsl.draw.page.data import MAX_LAYERS, page_data
from netdsl.draw.page.document import document
from netdsl.ir.network import Network

Heat = Literal["params", "macs", "memory"]

_COSTS = {"params": "parameters", "macs": "macs", "memory": "memory"}


def page_options(
    *,
    fold: bool = True,
    depth: int | None = None,
    expand: Sequence[str] = (),
    heat: Heat | None = None,
    theme: str = "auto",
    live: int | None = None,
) -> dict[str, object]:
    """What the page begins with, as it reads it. `live` is the version that a live page shows."""
    cost = None if heat is None else _COSTS[heat]
    return {"fold": fold, "depth": depth, "expand": list(expand), "heat": cost, "theme": theme, "live": live}


def write(
    network: Network,
    *,
    fold: bool = True,
    depth: int | None = None,
    expand: Sequence[str] = (),
    heat: Heat | None = None,
    theme: str = "auto",
    limit: int = MAX_LAYERS,
) -> str:
    """The page as text. Everything can be opened, folded and coloured in it; the options say how it begins.

    With `fold`, equal neighbours begin as one, with their number. `depth` is how many levels of scopes are open, by
    default as many as make a picture of about a hundred boxes; `expand` names scopes that are open whatever the depth.
    `heat` colours by a cost. `theme` is light, dark, or auto: as the reader's system has it.
    Raises DrawError for more than `limit` layers.
    """
    options = page_options(fold=fold, depth=depth, expand=expand, heat=heat, theme=theme)
    return document(page_data(network, limit=limit), options)


__all__ = ["MAX_LAYERS", "Heat", "page_options", "write"]
