"""Drawings in files: SVG, PNG and PDF in three styles, a page to explore, and Graphviz's source."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from netdsl.atomic import replacing
from netdsl.draw.errors import DrawError
from netdsl.draw.options import Options
from netdsl.draw.palette import THEMES, Theme
from netdsl.draw.styles import style as style_named
from netdsl.ir.network import Network
from netdsl.language.diagnostics import did_you_mean

FORMATS = {
    ".svg": "SVG", ".png": "PNG", ".pdf": "PDF", ".html": "a page to explore", ".dot": "Graphviz's source",
    ".gv": "Graphviz's source", ".txt": "text, in the style board",
}  # fmt: skip
"""What a file is, by the end of its name."""


def options_of(**given: Any) -> Options:
    """Options by their names; a theme may be given by its own. Raises DrawError (E0806) for one that there is not."""
    theme = given.pop("theme", None) or "light"
    return replace(Options(), theme=theme if isinstance(theme, Theme) else theme_named(theme), **given)


def theme_named(name: str) -> Theme:
    """The theme of this name. Raises DrawError (E0806)."""
    if name not in THEMES:
        known = ", ".join(THEMES)
        raise DrawError("E0806", f"there is no theme `{name}`; it is one of {known}", did_you_mean(name, THEMES))
    return THEMES[name]


def svg(network: Network, *, style: str = "graph", **options: Any) -> str:
    """The drawing as an SVG document, which can stand in a page as it is.

    `style` is graph, volumes or board; `options` are those of `netdsl.draw.options.Options`. Raises DrawError.
    """
    return style_named(style).draw(network, options_of(**options))


def compare_svg(before: Network, after: Network, **options: Any) -> str:
    """Two networks side by side as an SVG document, with what differs marked. Raises DrawError."""
    from netdsl.draw.graph.compare import draw

    return draw(before, after, options_of(**options))


def dot(network: Network, **options: Any) -> str:
    """The graph as DOT source; no Graphviz is needed.

    Scopes are clusters and shapes stand on the edges. With `fold`, equal neighbours are drawn once, with their number.
    With `depth`, scopes that lie deeper are one box each; 1 leaves the top level. Raises DrawError where there would
    be more than `limit` boxes.
    """
    from netdsl.draw.graph import source

    return source(network, options_of(**options))


def render(network: Network, path: str | os.PathLike[str], *, style: str = "graph", **options: Any) -> None:
    """Draws a network into a file; the end of its name says what it becomes: .svg, .png, .pdf, .html, .dot, .gv, .txt.

    The file appears in full or not at all. Raises DrawError for any other name, a drawing that is too large, a file
    that cannot be written, and where a program that it takes is missing.
    """
    path = Path(path)
    save(path, drawing(network, form_of(path), style=style, **options))


def drawing(network: Network, form: str, *, style: str = "graph", **options: Any) -> bytes:
    """The drawing as the contents of a file of this form: svg, png, pdf, html, dot or txt."""
    if form == "html":
        return _page(network, **options).encode()
    if form == "dot":
        return dot(network, **options).encode()
    if form == "txt":
        from netdsl.draw.board import text

        return (text(network, options_of(**options)).rstrip("\n") + "\n").encode()
    return exported(svg(network, style=style, **options), form, options.get("dpi", Options.dpi))


def exported(document: str, form: str, dpi: int = Options.dpi) -> bytes:
    """An SVG document as svg, png or pdf. Raises DrawError."""
    from netdsl.draw import export

    if form == "svg":
        return b'<?xml version="1.0" encoding="UTF-8"?>\n' + document.encode()
    return export.pdf(document) if form == "pdf" else export.png(document, dpi)


def notes(network: Network, form: str, *, style: str = "graph", **options: Any) -> tuple[str, ...]:
    """What a graph leaves out that nobody asked to leave out, in lines to be told; it stands in the drawing, too."""
    if form == "html" or style != "graph":
        return ()
    from netdsl.draw.fit import fitted_picture

    return fitted_picture(network, options_of(**options)).notes


def _page(network: Network, **options: Any) -> str:
    from netdsl.draw.page import write

    taken = {name: options[name] for name in ("fold", "depth", "expand", "heat") if name in options}
    theme = options.get("theme") or "auto"
    return write(network, theme=theme.name if isinstance(theme, Theme) else theme, **taken)


def form_of(path: Path) -> str:
    """What a file of this name is. Raises DrawError (E0802) for an ending that no drawing has."""
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        return "dot" if suffix == ".gv" else suffix[1:]
    known = ", ".join(FORMATS)
    found = f"a name that ends in {suffix}" if suffix else "a name without an ending"
    help = did_you_mean(suffix, FORMATS) if suffix else f"for example {path.name or 'network'}.svg"
    raise DrawError("E0802", f"{path} is {found}; a drawing is one of {known}", help)


def save(path: Path, content: bytes) -> None:
    """Writes a file in full or not at all. Raises DrawError (E0803)."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise DrawError("E0803", f"cannot write {path}: {error.strerror or error}") from None
