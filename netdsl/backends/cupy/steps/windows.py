"""Windows that slide over maps with their channels last, along any number of axes.

Legend: n extent of the input, o of the output, f of the kernel, s stride, d dilation along one axis (see
netdsl/layers/sizes.py); N images, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.memory import workspace_bytes
from netdsl.layers.sizes import Slide

MOST_BYTES = 128 * 2**20
"""What windows that are laid out may take at a time; one image at least is."""


class Axis(NamedTuple):
    """How a window slides along one axis of known extents."""

    n: int
    f: int
    s: int
    d: int
    before: int
    o: int

    @property
    def reach(self) -> int:
        """Positions from the first that the first window reads to the last that the last one does."""
        return (self.o - 1) * self.s + self.d * (self.f - 1) + 1

    @property
    def fits(self) -> bool:
        """Whether all windows lie inside the map."""
        return self.before == 0 and self.reach <= self.n

    @property
    def inside(self) -> int:
        """How many positions of the map some window could read."""
        return max(0, min(self.n, self.reach - self.before))


class Windows(NamedTuple):
    """All windows of a batch of maps."""

    axes: tuple[Axis, ...]
    channels: int

    @property
    def fit(self) -> bool:
        return all(axis.fits for axis in self.axes)

    @property
    def pointwise(self) -> bool:
        """Whether a window is one position, and every position one window."""
        return self.fit and all(axis.f == axis.s == 1 and axis.o == axis.n for axis in self.axes)

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(axis.o for axis in self.axes)

    @property
    def extents(self) -> tuple[int, ...]:
        """Of the kernel."""
        return tuple(axis.f for axis in self.axes)

    @property
    def reach(self) -> tuple[int, ...]:
        return tuple(axis.reach for axis in self.axes)

    def bordered(self, context: Context, x: Any, room: Any, border: float) -> Any:
        """Images (n, *spatial, C) with the border that windows need, in `room`, (n, *reach, C); without one where they
        fit and the types agree."""
        spatial = range(1, x.ndim - 1)
        if self.fit and x.dtype == room.dtype:
            return x[(slice(None), *(slice(0, reach) for reach in self.reach))]
        if not self.fit:
            room.fill(border)
        source = tuple(slice(0, axis.inside) for axis in self.axes)
        target = tuple(slice(axis.before, axis.before + axis.inside) for axis in self.axes)
        if all(self.axes[axis - 1].inside for axis in spatial):
            room[(slice(None), *target)] = x[(slice(None), *source)]
        return room

    def view(self, xp: Any, bordered: Any) -> Any:
        """Every window: a view (n, *o, *f, C) of what `bordered` gives."""
        first, *spatial, last = bordered.strides
        steps = [axis.s * stride for axis, stride in zip(self.axes, spatial, strict=True)]
        taps = [axis.d * stride for axis, stride in zip(self.axes, spatial, strict=True)]
        shape = (bordered.shape[0], *self.outputs, *self.extents, self.channels)
        return xp.lib.stride_tricks.as_strided(bordered, shape, (first, *steps, *taps, last))

    def taps(self, bordered: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Each tap of the kernel, and what it reads for all windows: a view (n, *o, C)."""
        for tap in product(*(range(axis.f) for axis in self.axes)):
            starts = [j * axis.d for j, axis in zip(tap, self.axes, strict=True)]
            places = [
                slice(start, start + (axis.o - 1) * axis.s + 1, axis.s)
                for start, axis in zip(starts, self.axes, strict=True)
            ]
            yield tap, bordered[(slice(None), *places)]


def windows(slides: Sequence[Slide], channels: int) -> Windows:
    return Windows(
        tuple(Axis(slide.n or 0, slide.f, slide.s, slide.d, slide.before, slide.o or 0) for slide in slides), channels
    )


def together(images: int, *each: tuple[int, int]) -> int:
    """How many images are computed at a time: `each` are (numbers for one image, bytes of a number)."""
    size = sum(count * itemsize for count, itemsize in each)
    return max(1, min(images, MOST_BYTES // max(1, size)))


def parts(images: int, at_a_time: int) -> Iterator[slice]:
    """The batch in parts of about the same size."""
    count = -(-images // at_a_time)
    for part in range(count):
        yield slice(images * part // count, images * (part + 1) // count)


def needed(*arrays: tuple[int, tuple[int, ...]]) -> int:
    """Bytes of arrays (itemsize, shape) that `Workspace.memory` has room for one behind the other."""
    return sum(workspace_bytes(itemsize, shape) for itemsize, shape in arrays)


def rows_of(xp: Any, view: Any) -> Any | None:
    """(..., C) as (rows, C) in the same memory; None where rows do not follow each other at one distance."""
    for axis in range(view.ndim - 2):
        if view.shape[axis] != 1 and view.strides[axis] != view.strides[axis + 1] * view.shape[axis + 1]:
            return None
    rows = prod(view.shape[:-1])
    stride = view.strides[-2] if view.ndim > 1 else view.strides[-1]
    return xp.lib.stride_tricks.as_strided(view, (rows, view.shape[-1]), (stride, view.strides[-1]))
