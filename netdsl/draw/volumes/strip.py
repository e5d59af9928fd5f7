"""One line of pieces: where each stands, what arches over them, and what is bracketed below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from netdsl.draw.canvas import Canvas, smooth
from netdsl.draw.lettering import CAP_HEIGHT, fitted, text_width
from netdsl.draw.volumes.pieces import ASIDE, CAPTION, LEADING, Piece

LEAST_GAP = 24.0
"""Pixels between two pieces."""
_HEAD = 5.0
"""Length of an arrow's head."""


@dataclass(frozen=True)
class Arc:
    """A tensor that skips pieces: from one to a later one, over those between. `text` is what happens on the way.

    The source -1 is the line that leads into the strip.
    """

    source: int
    target: int
    text: str = ""


@dataclass(frozen=True)
class Stub:
    """The begin or the end of a line whose other end stands elsewhere, under the same name."""

    at: int
    text: str
    outward: bool
    training: bool = False


@dataclass(frozen=True)
class Bracket:
    """Pieces that belong together. `opens` and `closes` say whether they begin and end in this line."""

    first: int
    last: int
    title: str
    repeated: bool
    opens: bool = True
    closes: bool = True


class Skyline:
    """How far what has been placed reaches, over each stretch of the line."""

    def __init__(self) -> None:
        self._stretches: list[tuple[float, float, float]] = []

    def over(self, start: float, stop: float) -> float:
        return max((height for a, b, height in self._stretches if a < stop and b > start), default=0.0)

    def add(self, start: float, stop: float, height: float) -> None:
        self._stretches.append((start, stop, height))

    @property
    def height(self) -> float:
        return max((height for _, _, height in self._stretches), default=0.0)


def gap(before: Piece | None, piece: Piece, sizes_before: bool, sizes: bool) -> float:
    """Pixels in front of a piece: room for the arrow, its caption, and the sizes that are written on both sides."""
    beside = piece.left_room if sizes else 0.0
    # A caption may stand above what is written below its neighbours.
    slack = piece.left_slack
    if before is None:
        least = 16.0 if piece.linked else 0.0
        return max(least - slack, piece.caption_width + 12 - slack if piece.caption else 0.0, beside + 2)
    beside += before.right_room if sizes_before else 0.0
    slack += before.right_slack
    least = LEAST_GAP if piece.type is not None and piece.type.rank and before.type is not None else 18.0
    return max(
        least - slack, piece.caption_width + 9 - slack if piece.caption else 0.0, beside + 9 if slack or beside else 0.0
    )


@dataclass(eq=False)
class Strip:
    """Pieces with their places. Make one with `strip`."""

    pieces: Sequence[Piece]
    places: list[float]
    sizes: list[bool]
    arcs: list[tuple[Arc, float]]
    stubs: list[tuple[Stub, float]]
    brackets: list[tuple[Bracket, float, float, float]]
    width: float
    up: float
    down: float
    skyline: Skyline = field(repr=False)

    @property
    def enter(self) -> float:
        return self.places[0] + self.pieces[0].enter

    @property
    def leave(self) -> float:
        return self.places[-1] + self.pieces[-1].leave

    def paint(self, canvas: Canvas, x: float, axis: float, lead: bool = True) -> None:
        """Draws it. Without `lead`, the line to the first piece is left to whoever knows where it comes from."""
        for at, piece in enumerate(self.pieces):
            left = x + self.places[at]
            before = x + self.places[at - 1] + self.pieces[at - 1].leave if at else x
            last = self.pieces[at - 1]
            room = x + self.places[at - 1] + last.width - last.right_slack if at else x
            if piece.linked and (at or lead):
                arrow(
                    canvas, [(before, axis), (left + piece.enter, axis)], canvas.theme.wire, head=not piece.headless
                )  # fmt: skip
            for row, line in enumerate(reversed(piece.caption)):
                fill = canvas.theme.faint if line.aside else canvas.theme.ink
                middle = (room + left + piece.left_slack) / 2
                down = axis - 5 - LEADING * row
                canvas.text(middle, down, line.text, size=line.size, fill=fill, anchor="middle", kind="op")
            piece.paint(canvas, left, axis, self.sizes[at])
        for arc, height in self.arcs:
            self._arc(canvas, arc, x, axis, height)
        for stub, height in self.stubs:
            self._stub(canvas, stub, x, axis, height)
        for bracket, start, stop, depth in self.brackets:
            _bracket(canvas, bracket, x + start, x + stop, axis + depth)

    def _top(self, at: int, shift: float) -> tuple[float, float]:
        """Where an arc meets a piece; what begins there stands to the right of what ends there."""
        if at < 0:
            return 5.0, 0.0
        piece = self.pieces[at]
        return self.places[at] + piece.top[0] + shift, piece.top[1]

    def ends(self, arc: Arc) -> tuple[float, float, float, float]:
        """x and height of both ends of an arc."""
        targets = {other.target for other, _ in self.arcs} | {s.at for s, _ in self.stubs if not s.outward}
        sources = {other.source for other, _ in self.arcs} | {s.at for s, _ in self.stubs if s.outward}
        start = self._top(arc.source, 3.0 if arc.source in targets else 0.0)
        stop = self._top(arc.target, -3.0 if arc.target in sources else 0.0)
        return *start, *stop

    def _arc(self, canvas: Canvas, arc: Arc, x: float, axis: float, height: float) -> None:
        first, low, last, end = self.ends(arc)
        level = axis - height
        if arc.source < 0:
            canvas.rect(x + first - 2, axis - 2, 4, 4, fill=canvas.theme.skip, radius=2)
        points = [(x + first, axis - low), (x + first, level), (x + last, level), (x + last, axis - end)]
        arrow(canvas, points, canvas.theme.skip, skip=True)
        if arc.text:
            text = fitted(arc.text, last - first - 8, ASIDE)
            canvas.text(x + (first + last) / 2, level - 4, text, size=ASIDE, anchor="middle", kind="op")

    def _stub(self, canvas: Canvas, stub: Stub, x: float, axis: float, height: float) -> None:
        px, low = self._top(stub.at, 3.0 if stub.outward else -3.0)
        level, width = axis - height, text_width(stub.text, ASIDE) + 10
        color = canvas.theme.faint if stub.training else canvas.theme.skip
        away = 14.0 if stub.outward else -14.0
        points = [(x + px, axis - low), (x + px, level), (x + px + away, level)]
        arrow(
            canvas,
            points if stub.outward else points[::-1],
            color,
            skip=not stub.training,
            dash="3 3" if stub.training else "",
        )
        left = x + px + (away if stub.outward else away - width)
        canvas.rect(
            left, level - 7.5, width, 15, fill=canvas.theme.paper, stroke=color, radius=7.5,
            dash="3 3" if stub.training else "", kind="stub",
        )  # fmt: skip
        canvas.text(
            left + width / 2, level + ASIDE * CAP_HEIGHT / 2, stub.text, size=ASIDE, anchor="middle", kind="name"
        )


def strip(
    pieces: Sequence[Piece], arcs: Sequence[Arc] = (), stubs: Sequence[Stub] = (), brackets: Sequence[Bracket] = (),
    start: float = 0.0,
) -> Strip:  # fmt: skip
    """Places pieces from left to right, beginning at x = `start`; arcs and brackets as near as there is room."""
    places: list[float] = []
    sizes: list[bool] = []
    above, below = Skyline(), Skyline()
    # What branches off in front of the first piece has room in front of its caption.
    x = start + (12.0 if any(arc.source < 0 for arc in arcs) else 0.0)
    before, shown, last_volume = None, False, None
    for piece in pieces:
        show = not piece.same_size(last_volume)
        room = gap(before, piece, shown, show)
        if piece.caption:
            # The caption is in the middle of the gap.
            middle = x + (room + piece.left_slack - (before.right_slack if before is not None else 0.0)) / 2
            above.add(middle - piece.caption_width / 2 - 2, middle + piece.caption_width / 2 + 2, piece.caption_height)
        x += room
        places.append(x)
        sizes.append(show)
        above.add(x + piece.left_slack, x + piece.width - piece.right_slack, piece.up)
        below.add(x - (piece.left_room if show else 0), x + piece.width + (piece.right_room if show else 0), piece.down)
        x += piece.width
        before, shown = piece, show
        if piece.type is not None:
            last_volume = piece
    end = x + (before.right_room if before is not None and shown else 0.0)
    made = Strip(
        pieces, places, sizes, [(arc, 0.0) for arc in arcs], [(stub, 0.0) for stub in stubs], [], end, 0, 0, above
    )
    placed_arcs = []
    for arc in sorted(arcs, key=lambda arc: (arc.target - arc.source, arc.source)):
        first, _, last, _ = made.ends(arc)
        height = above.over(first - 5, last + 5) + 9
        placed_arcs.append((arc, height))
        above.add(first - 4, last + 4, height + (ASIDE + 5 if arc.text else 2))
    placed_stubs = []
    for stub in stubs:
        px, _ = made._top(stub.at, 3.0 if stub.outward else -3.0)
        width = text_width(stub.text, ASIDE) + 10 + 14
        left, right = (px - 3, px + width + 2) if stub.outward else (px - width - 2, px + 3)
        height = above.over(left, right) + 12
        placed_stubs.append((stub, height))
        above.add(left, right, height + 9)
        made.width = max(made.width, right)
    made.arcs, made.stubs = placed_arcs, placed_stubs
    for bracket in sorted(brackets, key=lambda bracket: (bracket.last - bracket.first, bracket.first)):
        left = places[bracket.first]
        right = places[bracket.last] + pieces[bracket.last].width
        half = text_width(bracket.title, CAPTION, bold=bracket.repeated) / 2
        middle = (left + right) / 2
        depth = below.over(min(left, middle - half), max(right, middle + half)) + 6
        made.brackets.append((bracket, left, right, depth))
        below.add(min(left, middle - half) - 2, max(right, middle + half) + 2, depth + CAPTION + 6)
        made.width = max(made.width, middle + half)
    made.up, made.down = above.height, below.height
    return made


def arrow(
    canvas: Canvas, points: Sequence[tuple[float, float]], color: str, *, skip: bool = False, dash: str = "",
    head: bool = True,
) -> None:  # fmt: skip
    """A line along the points, with a head at its end. A skip is told apart without colour too."""
    dash = dash or ("5 2.5" if skip and canvas.theme.name == "print" else "")
    (x0, y0), (x1, y1) = points[-2], points[-1]
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 or 1.0
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    if head:
        points = [*points[:-1], (x1 - ux * _HEAD * 0.8, y1 - uy * _HEAD * 0.8)]
    canvas.path(
        smooth(points, 7), stroke=color, thickness=1.4 if skip else 1.2, dash=dash, kind="skip" if skip else "flow"
    )
    if head:
        back, wide = _HEAD, _HEAD * 0.5
        corners = [
            (x1, y1),
            (x1 - ux * back - uy * wide, y1 - uy * back + ux * wide),
            (x1 - ux * back + uy * wide, y1 - uy * back - ux * wide),
        ]
        canvas.polygon(corners, fill=color)


def _bracket(canvas: Canvas, bracket: Bracket, left: float, right: float, y: float) -> None:
    theme = canvas.theme
    color = theme.ink if bracket.repeated else theme.ground_line
    points = [(left, y - 4), (left, y), (right, y), (right, y - 4)]
    points = points[0 if bracket.opens else 1 : 4 if bracket.closes else 3]
    canvas.path(smooth(points, 3), stroke=color, thickness=1.3 if bracket.repeated else 1, kind="bracket")
    fill = theme.ink if bracket.repeated else theme.faint
    canvas.text(
        (left + right) / 2, y + CAPTION * CAP_HEIGHT + 4, bracket.title, size=CAPTION, bold=bracket.repeated, fill=fill,
        anchor="middle", kind="bracket",
    )  # fmt: skip
