"""The pieces of a drawing of volumes: what stands on the line that a tensor travels along.

Every piece has an axis, the height at which the tensor enters it and leaves it. Lengths are pixels; `up` and `down` are
counted from the axis, x from the left end of the piece.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from netdsl.draw.canvas import Canvas, number
from netdsl.draw.flow import Step
from netdsl.draw.lettering import CAP_HEIGHT, text_width
from netdsl.draw.palette import mixed
from netdsl.draw.volumes.scale import Solid
from netdsl.draw.words import tip
from netdsl.ir.types import TensorType

CAPTION = 10.0
"""Size of the words of an operation."""
ASIDE = 9.0
"""Size of what is said beside it."""
FIGURE = 9.5
"""Size of the numbers along the edges."""
LEADING = 11.5
"""From line to line of a caption."""

_MOST_SLICES = 32
"""Channels, or units, that are marked one by one."""


class Line(NamedTuple):
    """A line of a caption."""

    text: str
    aside: bool = False

    @property
    def size(self) -> float:
        return ASIDE if self.aside else CAPTION

    @property
    def width(self) -> float:
        return text_width(self.text, self.size)


class Piece:
    """What stands on the line. The class variables below are those of a piece without any extent."""

    width = 0.0
    up = 0.0
    down = 0.0
    enter = 0.0
    """Where the line that leads to it ends."""
    leave = 0.0
    """Where the line that leads on begins."""
    left_room = 0.0
    right_room = 0.0
    """What is written beside it, below the axis."""
    left_slack = 0.0
    right_slack = 0.0
    """How much of its width, on both sides, is only needed by what is written below it."""
    top = (0.0, 0.0)
    """Where arcs begin and end: x, and height above the axis."""
    clings = False
    """Whether it belongs to the piece before: a sum to its last summand, a result to its join."""
    headless = False
    """Whether the line that leads to it has no head: it goes on inside."""

    def __init__(self, step: Step | None, type: TensorType | None, caption: Sequence[Line] = ()) -> None:
        self.step = step
        self.type = type
        """Of the tensor that leaves it."""
        self.caption = list(caption)
        """Written above the line that leads to it."""
        self.linked = True
        """Whether a line leads to it from the piece before."""
        self.fresh = False
        """Whether a row should begin with it."""

    @property
    def caption_width(self) -> float:
        return max((line.width for line in self.caption), default=0.0)

    @property
    def caption_height(self) -> float:
        return LEADING * len(self.caption) + 4 if self.caption else 0.0

    def same_size(self, other: Piece | None) -> bool:
        """Whether height and width need not be written once more behind `other`."""
        if other is None or self.type is None or other.type is None:
            return False
        return self.type.rank == other.type.rank and self.type.spatial == other.type.spatial

    @abstractmethod
    def paint(self, canvas: Canvas, x: float, axis: float, sizes: bool) -> None:
        """Draws it. `sizes`: whether height and width are written."""


class Volume(Piece):
    """A tensor: maps as a box in perspective, sequences as a sheet, units as a column."""

    def __init__(
        self, step: Step, type: TensorType, solid: Solid, caption: Sequence[Line], *, fill: str, name: str = "",
        last: int | None = None, notes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(step, type, caption)
        self.clings = not caption and bool(step.inputs)
        self.solid = solid
        self.name = name
        self.notes = list(notes)
        self._fill = fill
        self._sides = _sides(type)
        self._below = _below(type)
        if last is not None and type.channels is not None and last != type.channels:
            # It stands for several, which have ever more channels.
            self._below += f"\N{HORIZONTAL ELLIPSIS}{last}"
        below = max([0.0, text_width(self._below, FIGURE), *(text_width(note, ASIDE) for note in self.notes)])
        name_width = text_width(name, CAPTION, bold=True)
        # What is written below and above may be broader than the box itself.
        self._at = max(0.0, (below - solid.across) / 2, (name_width - solid.right) / 2)
        self.width = self._at + max(solid.right, (solid.across + below) / 2, (solid.right + name_width) / 2)
        above = max(0.0, (name_width - solid.right) / 2)
        self.left_slack = self._at - above
        self.right_slack = self.width - self._at - solid.right - above
        self.up = solid.half + (CAPTION + 6 if name else 0)
        self.down = solid.half + 12 + (ASIDE + 2) * len(self.notes)
        self.enter = self._at + _entry(solid)
        self.leave = self._at + solid.across + solid.dx / 2
        self.top = (self._at + (solid.across + solid.dx) / 2, self.up if name else solid.height / 2)
        if self._sides:
            self.left_room = max(0.0, text_width(self._sides[0], FIGURE) + 4 - self._at)
        if len(self._sides) > 1:
            end = self._at + solid.across + solid.dx / 2 + 3 + text_width(self._sides[1], FIGURE)
            self.right_room = max(0.0, end - self.width)

    def paint(self, canvas: Canvas, x: float, axis: float, sizes: bool) -> None:
        assert self.step is not None
        assert self.type is not None
        theme, solid = canvas.theme, self.solid
        colors = theme.paint(self.step.category)
        plain = self._fill or (theme.ground(1) if self.step.category == "scope" else colors.fill)
        front = plain if self._fill or colors.hatch in ("", "solid") else canvas.hatch(colors)
        left, across, dx, dy = x + self._at, solid.across, solid.dx, solid.dy
        base = axis + solid.half
        ceiling = base - solid.height
        canvas.begin("volume", tip([*self.step.before, *self.step.items]))
        line = colors.line
        canvas.polygon(
            [(left, ceiling), (left + dx, ceiling - dy), (left + across + dx, ceiling - dy), (left + across, ceiling)],
            fill=mixed(plain, theme.paper, 0.5), stroke=line,
        )  # fmt: skip
        canvas.polygon(
            [
                (left + across, ceiling),
                (left + across + dx, ceiling - dy),
                (left + across + dx, base - dy),
                (left + across, base),
            ],
            fill=mixed(plain, line, 0.1 if self.step.category == "input" else 0.22),
            stroke=line,
        )
        canvas.rect(left, ceiling, across, solid.height, fill=front, stroke=line, kind="front")
        self._slices(canvas, left, ceiling, mixed(plain, line, 0.55))
        canvas.end()
        if self.name:
            canvas.text(
                left + solid.right / 2, axis - solid.half - 6, self.name, size=CAPTION, bold=True, anchor="middle",
                kind="name",
            )  # fmt: skip
        if sizes and self._sides:
            middle = axis + max(dy / 2 + FIGURE * CAP_HEIGHT / 2, FIGURE * CAP_HEIGHT + 4.5)
            canvas.text(left - 3, middle, self._sides[0], size=FIGURE, anchor="end", kind="size")
        if sizes and len(self._sides) > 1:
            canvas.text(left + across + dx / 2 + 3, base - dy / 2 + 7.5, self._sides[1], size=FIGURE, kind="size")
        canvas.text(left + across / 2, base + 10, self._below, size=FIGURE, anchor="middle", kind="size")
        for at, note in enumerate(self.notes, 1):
            down = base + 10 + (ASIDE + 2) * at
            canvas.text(left + across / 2, down, note, size=ASIDE, fill=theme.faint, anchor="middle", kind="note")

    def _slices(self, canvas: Canvas, left: float, ceiling: float, color: str) -> None:
        """Marks the single maps of a volume, or units of a column, where there are few."""
        assert self.type is not None
        count, solid = self.type.channels, self.solid
        if count is None or not 1 < count <= _MOST_SLICES:
            return
        d = []
        if self.type.rank <= 1:
            step = solid.height / count
            if step >= 3:
                for at in range(1, count):
                    y = ceiling + at * step
                    d.append(
                        f"M{number(left)} {number(y)}h{number(solid.across)}l{number(solid.dx)} {number(-solid.dy)}"
                    )
        elif solid.across / count >= 1.9:
            step = solid.across / count
            for at in range(1, count):
                x = left + at * step
                d.append(
                    f"M{number(x)} {number(ceiling + solid.height)}v{number(-solid.height)}"
                    f"l{number(solid.dx)} {number(-solid.dy)}"
                )
        if d:
            canvas.path("".join(d), stroke=color, thickness=0.5)


class Symbol(Piece):
    """Where tensors come together: a sign in a circle, or a word in a box."""

    clings = True

    def __init__(self, step: Step, sign: str, word: str, below: Sequence[str]) -> None:
        super().__init__(step, step.type)
        self.sign = sign
        self.word = word
        self.below = list(below)
        body = 17.0 if sign else text_width(word, ASIDE) + 12
        self._body = body
        self.width = max([body, *(text_width(line, ASIDE) for line in self.below)])
        self._at = (self.width - body) / 2
        self.up = 8.5
        self.down = 8.5 + (3 + (ASIDE + 1.5) * len(self.below) if self.below else 0)
        self.enter = self._at
        self.leave = self._at + body
        self.top = (self.width / 2, 8.5)

    def paint(self, canvas: Canvas, x: float, axis: float, sizes: bool) -> None:
        assert self.step is not None
        colors = canvas.theme.paint("join")
        left = x + self._at
        canvas.begin("symbol", tip([*self.step.before, *self.step.items]))
        canvas.rect(
            left, axis - 8.5, self._body, 17, fill=colors.fill, stroke=colors.line, radius=8.5 if self.sign else 5,
            thickness=1.2, kind="front",
        )  # fmt: skip
        if self.sign:
            cross, middle = 4.0, left + self._body / 2
            if self.sign == "add":
                d = f"M{number(middle - cross)} {number(axis)}h{number(2 * cross)}"
                d += f"M{number(middle)} {number(axis - cross)}v{number(2 * cross)}"
            elif self.sign == "multiply":
                d = f"M{number(middle - 3)} {number(axis - 3)}l6 6M{number(middle - 3)} {number(axis + 3)}l6 -6"
            else:
                d = f"M{number(middle - cross)} {number(axis)}h{number(2 * cross)}"
            canvas.path(d, stroke=canvas.theme.ink, thickness=1.4)
        else:
            canvas.text(left + self._body / 2, axis + 3.2, self.word, size=ASIDE, anchor="middle", kind="op")
        canvas.end()
        for at, line in enumerate(self.below):
            down = axis + 8.5 + 3 + ASIDE * CAP_HEIGHT + (ASIDE + 1.5) * at
            canvas.text(
                x + self.width / 2, down, line, size=ASIDE, fill=canvas.theme.faint, anchor="middle", kind="op"
            )  # fmt: skip


class Name(Piece):
    """The name of an output, at the end of the line."""

    clings = True

    def __init__(self, text: str, training: bool = False) -> None:
        super().__init__(None, None)
        self.text = text
        self.training = training
        self.width = self.leave = text_width(text, CAPTION, bold=not training)
        self.enter = -2.0
        self.up = self.down = CAPTION / 2
        self.top = (self.width / 2, CAPTION / 2 + 2)

    def paint(self, canvas: Canvas, x: float, axis: float, sizes: bool) -> None:
        fill = canvas.theme.faint if self.training else canvas.theme.ink
        canvas.text(
            x, axis + CAPTION * CAP_HEIGHT / 2, self.text, size=CAPTION, bold=not self.training, fill=fill, kind="name"
        )


def _entry(solid: Solid) -> float:
    """Where a line at the height of the middle meets the outline of a volume, from the left."""
    over = (solid.dy - solid.height) / 2
    return 0.0 if over <= 0 else solid.dx * over / solid.dy


def _text(extent: int | None) -> str:
    return "?" if extent is None else f"{extent}"


def _sides(type: TensorType) -> list[str]:
    """What is written along the front edge and the one that goes back."""
    if type.rank == 2:
        return [_text(type.spatial[0])]
    return [_text(extent) for extent in type.spatial] if type.rank == 3 else []


def _below(type: TensorType) -> str:
    if type.rank > 3:
        return "x".join(_text(extent) for extent in (*type.spatial, type.channels))
    return _text(type.channels) if type.rank else "1"
