"""Lanes that stand above each other, from where a tensor is shared out to where the results come together."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.draw.canvas import Canvas
from netdsl.draw.lettering import text_width
from netdsl.draw.volumes.pieces import ASIDE, Piece
from netdsl.draw.volumes.strip import Strip, arrow

MOST_LANES = 8
"""Lanes of a fork that are drawn; of more, the first and the last ones, and how many lie between."""
_BETWEEN = 9.0
"""Pixels between two lanes."""
_BUS = 8.0
"""Pixels that a shared line runs before and behind its branches."""


class Stack(Piece):
    """Lanes above each other. None stands for the tensor itself, a number for lanes that are not drawn."""

    headless = True

    def __init__(self, lanes: Sequence[Strip | int | None], *, opens: bool, closes: bool) -> None:
        super().__init__(None, None)
        self.lanes = lanes
        self.opens = opens
        """Whether the lanes begin at one tensor."""
        self.closes = closes
        """Whether they end in one."""
        self.linked = opens
        inner = max((lane.width for lane in lanes if isinstance(lane, Strip)), default=20.0)
        if any(isinstance(lane, int) for lane in lanes):
            inner = max(inner, 60.0)
        self._start = _BUS if opens else 0.0
        self._end = self._start + inner + (_BUS + 6 if closes else 0.0)
        self.width = self.leave = self._end + (_BUS if closes else 0.0)
        self._axes: list[float] = []
        y, before = 0.0, 0.0
        for at, lane in enumerate(lanes):
            up, down = (lane.up, lane.down) if isinstance(lane, Strip) else (6.0, 6.0)
            if at:
                y += before + up + _BETWEEN
            self._axes.append(y)
            before = down
        # The line goes on at half of the height between the first lane and the last.
        middle = (self._axes[0] + self._axes[-1]) / 2
        self._axes = [axis - middle for axis in self._axes]
        first, last = lanes[0], lanes[-1]
        self.up = (first.up if isinstance(first, Strip) else 6.0) - self._axes[0]
        self.down = (last.down if isinstance(last, Strip) else 6.0) + self._axes[-1]
        self.top = (self.width / 2, self.up)

    def paint(self, canvas: Canvas, x: float, axis: float, sizes: bool) -> None:
        wire = canvas.theme.wire
        start, end = x + self._start, x + self._end
        for lane, shift in zip(self.lanes, self._axes, strict=True):
            y = axis + shift
            if isinstance(lane, int):
                text = f"\N{VERTICAL ELLIPSIS}  {lane:,} more lanes"
                left = (start + end) / 2 - text_width(text, ASIDE) / 2
                canvas.text(left, y + 3, text, size=ASIDE, fill=canvas.theme.faint, kind="note")
                continue
            away = [(x, axis), (start, axis), (start, y)] if shift else [(x, axis)]
            back = [(end, y), (end, axis), (x + self.leave, axis)] if shift else [(x + self.leave, axis)]
            if lane is None:
                arrow(canvas, [*away, *back], canvas.theme.skip, skip=True, head=False)
                continue
            if self.opens:
                arrow(canvas, [*away, (start + lane.enter, y)], wire)
            lane.paint(canvas, start, y, lead=False)
            if self.closes:
                arrow(canvas, [(start + lane.leave, y), *back], wire, head=False)
