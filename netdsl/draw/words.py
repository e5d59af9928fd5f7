"""Operations in the words of the field, in short lines: `5x5 conv, 6`, `2x2 max pool, /2`, `BN, ReLU`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from netdsl.analysis.cost import Row
from netdsl.analysis.notation import caption, grouped, printable, scaled
from netdsl.analysis.tables import item_name, shortened
from netdsl.analysis.tree import Item
from netdsl.draw.lettering import fitted, text_width
from netdsl.draw.options import Options
from netdsl.ir.network import Network

_SHORT = {
    "batch_norm": "BN", "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "prelu": "PReLU", "elu": "ELU",
    "silu": "SiLU", "gelu": "GELU", "layer_norm": "LN", "group_norm": "GN", "instance_norm": "IN",
    "hard_swish": "h-swish", "hard_sigmoid": "h-sigmoid", "local_response_norm": "LRN", "stochastic_depth": "drop path",
}  # fmt: skip
"""Layers that a figure calls by their initials."""

SIGNS = {"add": "+", "multiply": "\N{MULTIPLICATION SIGN}", "subtract": "\N{MINUS SIGN}"}
"""Joins that are written with their sign."""

LONGEST_TIP = 400
"""Characters of what is said of a step to whoever points at it."""

TIMES = "\N{MULTIPLICATION SIGN}"


def operation(item: Item) -> list[str]:
    """What an item does, in pieces that belong on a line as far as they fit: ["5x5 conv", "6", "/2"]."""
    row = item.row
    if row is None:
        layers = sum(len(rows) for rows in item.rows)
        words = [f"{layers:,} layers" if not item.children else spaced(item.block or local_name(item))]
    else:
        head, *rest = caption(row.layer, row.input_types).split(", ")
        # The kernel goes first, as it does in the captions of figures.
        found = re.fullmatch(r"(.+) (\d+(?:x\d+)+)", head)
        words = [f"{_kernel(row, found[2])} {found[1]}" if found else head, *rest]
    return words


def _kernel(row: Row, written: str) -> str:
    """A kernel with as many extents as the maps that it goes over: `k=5` along a sequence."""
    kernel = getattr(row.layer, "kernel", None)
    axes = len(row.input_types[0].spatial) if row.input_types else 0
    if axes == 1:
        return f"k={kernel[0] if isinstance(kernel, tuple) else kernel}"
    return "x".join([str(kernel)] * axes) if isinstance(kernel, int) and axes else written


def spaced(name: str) -> str:
    """A name as words: `squeeze excite`."""
    return name.replace("_", " ").strip() or name


def follower(item: Item) -> str:
    """A layer that is written behind or in front of another one: `BN`, `ReLU`."""
    assert item.row is not None
    kind = item.row.kind
    short = _SHORT.get(kind)
    if short is not None:
        return short
    return caption(item.row.layer, item.row.input_types).replace(", p = ", " ")


def followers(items: Sequence[Item]) -> list[str]:
    """Those of the items that are layers, in short and each once."""
    return list(dict.fromkeys(follower(item) for item in items if item.row is not None))


def local_name(item: Item) -> str:
    """The last part of a name: `0`, or `1…2` for several."""
    first, last = (name.rpartition(".")[2] for name in (item.name, item.last))
    return first if item.last == item.name else f"{first}\N{HORIZONTAL ELLIPSIS}{last}"


def broken(pieces: Sequence[str], width: float, size: float, bold: bool = False) -> list[str]:
    """Pieces in lines of at most `width` pixels, with commas between, as few and as even as can be.

    A piece that is longer than a line is broken between its words, and a word that is longer loses its middle.
    """
    lines = _filled(pieces, width, size, bold)
    narrow = width
    while len(lines) > 1 and narrow > width / 2:
        # As many lines, but narrower: the last one is not left with a single sign.
        narrow -= 4
        tried = _filled(pieces, narrow, size, bold, longest=width)
        if len(tried) > len(lines):
            break
        lines = tried
    return lines


def _filled(pieces: Sequence[str], width: float, size: float, bold: bool, longest: float | None = None) -> list[str]:
    lines: list[str] = []
    for piece in pieces:
        piece = printable(piece)
        if lines and text_width(f"{lines[-1]}, {piece}", size, bold) <= width:
            lines[-1] += f", {piece}"
            continue
        if lines:
            lines[-1] += ","
        lines.extend(_words(piece, (longest or width) - 3, size, bold))
    return lines


def _words(piece: str, width: float, size: float, bold: bool) -> list[str]:
    """A piece in lines, broken between its words."""
    lines: list[str] = []
    for word in piece.split(" "):
        if lines and text_width(f"{lines[-1]} {word}", size, bold) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(fitted(word, width, size, bold))
    return lines


def tip(items: Sequence[Item]) -> str:
    """What is said of a step to whoever points at it."""
    return shortened("; ".join(_tip(item) for item in items), LONGEST_TIP)


def _tip(item: Item) -> str:
    row = item.row
    text = f"{item_name(item)}: " + (item.block or "scope" if row is None else caption(row.layer, row.input_types))
    if item.totals.parameters:
        text += f", {grouped(item.totals.parameters)} parameters"
    if item.totals.macs:
        text += f", {grouped(item.totals.macs)} MACs"
    return f"{text}, {item.type}"


def headline(parameters: int, macs: int | None) -> str:
    """What stands under a drawing's title."""
    facts = [f"{scaled(parameters)} parameters"]
    if macs is not None:
        facts.append(f"{scaled(macs)} MACs")
    return ", ".join(facts)


def called(network: Network, options: Options) -> str:
    """The title of a drawing, for a reader of the screen."""
    return shortened(options.title or network.name, LONGEST_TIP)
