"""From an SVG document to PNG and PDF, by Typst, whose wheel carries all that it takes.

Only the fonts of the drawings are used, whatever the machine has: the same document gives the same bytes. A PDF holds
text that can be selected and searched, the letters that it uses of the fonts, the title, and the description for people
who cannot see it.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Literal

from netdsl.draw.errors import DrawError
from netdsl.draw.lettering import FONTS
from netdsl.draw.options import PIXELS_PER_MM

MAX_PIXELS = 100_000_000
"""Pixels of a PNG: 400 MB while it is drawn."""

_POINTS = {"": 0.75, "px": 0.75, "mm": 0.75 * PIXELS_PER_MM, "pt": 1.0}
"""Points (1/72 inch) of the units in which a drawing may say its size."""

_PAGE = """\
#set page(width: WIDTHpt, height: HEIGHTpt, margin: 0pt)
#set document(title: sys.inputs.title, date: none)
#image(bytes(sys.inputs.svg), format: "svg", width: 100%, height: 100%, alt: sys.inputs.description)
"""


def size_in_points(svg: str) -> tuple[float, float]:
    """Width and height of a drawing, in 1/72 inch. Raises ValueError for a document that does not say them."""
    head = svg[: svg.index(">")]
    found = [re.search(rf'\s{side}="([0-9.]+)(px|mm|pt|)"', head) for side in ("width", "height")]
    if not all(found):
        raise ValueError("an SVG document without width and height")
    width, height = (float(match[1]) * _POINTS[match[2]] for match in found if match)
    return width, height


def png(svg: str, dpi: int = 144) -> bytes:
    """The drawing as a PNG of `dpi` pixels per inch. Raises DrawError (E0801, E0804, E0805)."""
    width, height = size_in_points(svg)
    pixels = round(width / 72 * dpi) * round(height / 72 * dpi)
    if pixels > MAX_PIXELS:
        size = f"{round(width / 72 * dpi):,} by {round(height / 72 * dpi):,} pixels"
        fits = int(dpi * (MAX_PIXELS / pixels) ** 0.5)
        help = f"{fits} dpi would fit; .svg and .pdf have no such limit"
        raise DrawError("E0804", f"the picture would have {size}, more than {MAX_PIXELS:,}", help)
    return _compiled(svg, "png", dpi)


def pdf(svg: str) -> bytes:
    """The drawing as a PDF of one page, as large as the drawing. Raises DrawError (E0801, E0805)."""
    return _compiled(svg, "pdf", None)


def _compiled(svg: str, form: Literal["png", "pdf"], dpi: float | None) -> bytes:
    try:
        import typst
    except ImportError:
        raise DrawError(
            "E0801", f"there is no Typst to make a {form.upper()} with", "`pip install typst`; .svg needs none"
        ) from None
    width, height = size_in_points(svg)
    page = _PAGE.replace("WIDTH", f"{width:.4f}").replace("HEIGHT", f"{height:.4f}")
    inputs = {"svg": svg, "title": _said(svg, "title"), "description": _said(svg, "desc")}
    try:
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS)])
        drawn = typst.compile(page.encode(), format=form, ppi=dpi, sys_inputs=inputs, font_paths=fonts)
    except RuntimeError as error:
        words = " ".join(str(error).split())[:400]
        raise DrawError("E0805", f"Typst failed: {words}", "a .svg can be had all the same") from None
    return bytes(drawn)


def _said(svg: str, element: str) -> str:
    """What the first <title> or <desc> says."""
    found = re.search(f"<{element}>(.*?)</{element}>", svg, re.DOTALL)
    return unescape(found[1]) if found else ""
