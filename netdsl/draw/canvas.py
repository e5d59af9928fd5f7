"""An SVG document, written piece by piece.

Whatever a spec can name passes through here as text of an element, where it is escaped: no name becomes markup.
Coordinates are CSS pixels; numbers are written with two digits at most, so that a drawing is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from netdsl.analysis.notation import printable
from netdsl.draw.hatch import SOLID, pattern
from netdsl.draw.lettering import FAMILY, text_width
from netdsl.draw.options import PIXELS_PER_MM
from netdsl.draw.palette import Paint, Theme

Anchor = Literal["start", "middle", "end"]


def number(value: float) -> str:
    """A coordinate, as short as it can be."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def escaped(text: str) -> str:
    """Text for an element or an attribute; what cannot be printed is replaced."""
    return escape(printable(text), quote=True)


class Canvas:
    """Collects elements, and writes them as a document in the end. What a method adds lies on top of those before."""

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self._body: list[str] = []
        self._patterns: dict[str, str] = {}
        self._open = 0

    def rect(
        self, x: float, y: float, width: float, height: float, *, fill: str = "none", stroke: str = "",
        radius: float = 0, thickness: float = 1, dash: str = "", kind: str = "",
    ) -> None:  # fmt: skip
        """`fill` is a colour or what `hatch` returned; `kind` becomes the element's class."""
        rounded = f' rx="{number(radius)}"' if radius else ""
        self._add(
            f'<rect{_class(kind)} x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
            f'{rounded} fill="{fill}"{_stroke(stroke, thickness, dash)}/>'
        )

    def path(
        self, d: str, *, fill: str = "none", stroke: str = "", thickness: float = 1, dash: str = "", kind: str = "",
        opacity: float = 1,
    ) -> None:  # fmt: skip
        """`d` is made of `number`s: it is written as it stands."""
        clear = f' opacity="{number(opacity)}"' if opacity < 1 else ""
        self._add(f'<path{_class(kind)} d="{d}" fill="{fill}"{_stroke(stroke, thickness, dash)}{clear}/>')

    def polygon(
        self, points: Iterable[tuple[float, float]], *, fill: str = "none", stroke: str = "", thickness: float = 1,
        dash: str = "", kind: str = "",
    ) -> None:  # fmt: skip
        written = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self._add(
            f'<polygon{_class(kind)} points="{written}" fill="{fill}"{_stroke(stroke, thickness, dash)} '
            'stroke-linejoin="round"/>'
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, *, stroke: str, thickness: float = 1, dash: str = "",
        kind: str = "",
    ) -> None:  # fmt: skip
        ends = f'x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"'
        self._add(f"<line{_class(kind)} {ends}{_stroke(stroke, thickness, dash)}/>")

    def text(
        self, x: float, y: float, text: str, *, size: float, fill: str = "", bold: bool = False,
        anchor: Anchor = "start", turn: float = 0, halo: str = "", kind: str = "",
    ) -> None:  # fmt: skip
        """A line of text on the base line `y`; it is as wide as `text_width` says wherever it is shown.

        `turn` turns it about (x, y), in degrees clockwise. `halo` is a colour to draw around the letters, where lines
        pass behind them.
        """
        text = printable(text)
        width = text_width(text, size, bold)
        if not width:
            return
        attributes = [f'x="{number(x)}" y="{number(y)}" font-size="{number(size)}" fill="{fill or self.theme.ink}"']
        if bold:
            attributes.append('font-weight="bold"')
        if anchor != "start":
            attributes.append(f'text-anchor="{anchor}"')
        if turn:
            attributes.append(f'transform="rotate({number(turn)} {number(x)} {number(y)})"')
        if halo:
            attributes.append(f'paint-order="stroke" stroke="{halo}" stroke-width="3" stroke-linejoin="round"')
        # A reader without the font gets letters of the same width all the same.
        attributes.append(f'textLength="{number(width)}" lengthAdjust="spacingAndGlyphs"')
        self._add(f"<text{_class(kind)} {' '.join(attributes)}>{escaped(text)}</text>")

    def hatch(self, paint: Paint) -> str:
        """The pattern of a paint, as a fill; its plain fill where it has no pattern."""
        if not paint.hatch:
            return paint.fill
        if paint.hatch == SOLID:
            # Tiles of one colour would show their seams.
            return paint.line
        id = f"netdsl-{self.theme.name}-{paint.hatch}-{paint.line[1:]}"
        self._patterns[id] = pattern(paint.hatch, id, paint.line, self.theme.paper)
        return f"url(#{id})"

    def begin(self, kind: str = "", title: str = "", shift: tuple[float, float] | None = None) -> None:
        """Opens a group. `title` is what a reader sees who points at it; `shift` moves all that is in it."""
        moved = f' transform="translate({number(shift[0])} {number(shift[1])})"' if shift else ""
        self._add(f"<g{_class(kind)}{moved}>" + (f"<title>{escaped(title)}</title>" if title else ""))
        self._open += 1

    def end(self) -> None:
        """Closes the group that was opened last."""
        self._open -= 1
        self._body.append("</g>")

    def document(
        self, width: float, height: float, *, title: str, description: str, style: str, page: float | None = None
    ) -> str:
        """The whole drawing, of `width` by `height` pixels; where that is wider than `page` millimetres, it is shown
        as wide as the page and as high as that makes it. `style` is its class."""
        assert not self._open, "a group is open"
        shown = width / PIXELS_PER_MM
        if page is not None and shown > page:
            size = f'width="{number(page)}mm" height="{number(height / width * page)}mm"'
        else:
            size = f'width="{number(width)}" height="{number(height)}"'
        # A reader of the screen says both; ids are left out, since several drawings may stand on one page.
        head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="netdsl netdsl-{style}" role="img" '
            f'aria-label="{escaped(title)}" {size} viewBox="0 0 {number(width)} {number(height)}" '
            f'font-family="{FAMILY}">',
            f"<title>{escaped(title)}</title>",
            f"<desc>{escaped(description)}</desc>",
        ]
        if self._patterns:
            head.append(f"<defs>{''.join(self._patterns[id] for id in sorted(self._patterns))}</defs>")
        head.append(f'<rect width="{number(width)}" height="{number(height)}" fill="{self.theme.paper}"/>')
        return "\n".join([*head, *self._body, "</svg>", ""])

    def _add(self, element: str) -> None:
        self._body.append(element)


def smooth(points: Sequence[tuple[float, float]], radius: float) -> str:
    """The path along straight pieces whose corners are rounded."""
    (x, y), *rest = points
    d = [f"M{number(x)} {number(y)}"]
    for at, (x, y) in enumerate(rest):
        if at == len(rest) - 1:
            d.append(f"L{number(x)} {number(y)}")
            break
        before, after = points[at], rest[at + 1]
        start, end = _towards((x, y), before, radius), _towards((x, y), after, radius)
        d.append(f"L{number(start[0])} {number(start[1])}Q{number(x)} {number(y)} {number(end[0])} {number(end[1])}")
    return "".join(d)


def _towards(start: tuple[float, float], end: tuple[float, float], step: float) -> tuple[float, float]:
    """The point that lies `step` on the way from `start` to `end`, half of the way at most."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = (dx * dx + dy * dy) ** 0.5
    share = min(step / length, 0.5) if length else 0
    return start[0] + dx * share, start[1] + dy * share


def _stroke(color: str, thickness: float, dash: str) -> str:
    if not color:
        return ""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f' stroke="{color}" stroke-width="{number(thickness)}"{dashed}'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
