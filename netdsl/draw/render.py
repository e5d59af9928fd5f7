"""Drawings in files: SVG, PNG and PDF by Graphviz, or its source."""

from __future__ import annotations

import os
from pathlib import Path

from netdsl.atomic import replacing
from netdsl.draw import engines
from netdsl.draw.errors import DrawError
from netdsl.draw.picture import MAX_BOXES, TooLargeError, picture
from netdsl.draw.source import Direction, write
from netdsl.ir.network import Network
from netdsl.language.diagnostics import did_you_mean

FORMATS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "", ".gv": ""}
"""What a file is, by the end of its name; DOT source needs no Graphviz."""

PIXELS_PER_INCH = 144
"""Of a PNG: twice that of a screen, so that small print stays sharp."""


def dot(
    network: Network,
    *,
    fold: bool = True,
    depth: int | None = None,
    direction: Direction = "down",
    limit: int = MAX_BOXES,
) -> str:
    """The drawing as DOT source; no Graphviz is needed.

    Scopes are clusters and shapes stand on the edges. With `fold`, equal neighbours are drawn once, with their number.
    With `depth`, scopes that lie deeper are one box each; 1 leaves the top level. Raises DrawError where there would
    be more than `limit` boxes.
    """
    return _source(network, fold, depth, direction, limit)


def svg(
    network: Network,
    *,
    fold: bool = True,
    depth: int | None = None,
    direction: Direction = "down",
    limit: int = MAX_BOXES,
) -> str:
    """The drawing as an <svg> element, to stand in a page. Raises DrawError, also where there is no Graphviz."""
    source = dot(network, fold=fold, depth=depth, direction=direction, limit=limit)
    text = engines.draw(source, "svg").decode("utf-8")
    return text[text.index("<svg") :]


def render(
    network: Network,
    path: str | os.PathLike[str],
    *,
    fold: bool = True,
    depth: int | None = None,
    direction: Direction = "down",
    limit: int = MAX_BOXES,
) -> None:
    """Draws a network into a file; the end of its name says what it becomes: .svg, .png, .pdf, .dot, .gv.

    The file appears in full or not at all. Raises DrawError for any other name, a drawing that is too large, a file
    that cannot be written, and, but for DOT source, where there is no Graphviz.
    """
    path = Path(path)
    form = _form(path)
    source = _source(network, fold, depth, direction, limit, PIXELS_PER_INCH if form == "png" else None)
    content = engines.draw(source, form) if form else source.encode("utf-8")
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise DrawError("E0803", f"cannot write {path}: {error.strerror or error}") from None


def _form(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    known = ", ".join(FORMATS)
    found = f"a name that ends in {suffix}" if suffix else "a name without an ending"
    help = did_you_mean(suffix, FORMATS) if suffix else f"for example {path.name or 'network'}.svg"
    raise DrawError("E0802", f"{path} is {found}; a drawing is one of {known}", help)


def _source(
    network: Network, fold: bool, depth: int | None, direction: Direction, limit: int, dpi: int | None = None
) -> str:
    try:
        return write(picture(network, fold=fold, depth=depth, limit=limit), direction, dpi)
    except TooLargeError as error:
        help = "fold equal neighbours, or draw less of it: a smaller depth draws whole scopes as one box"
        raise DrawError("E0804", f"the drawing of {network.name} would have more than {limit:,} boxes", help) from error
