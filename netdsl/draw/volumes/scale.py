"""How large a tensor is drawn.

Extents differ by factors of hundreds and have to fit on a page, so lengths follow roots and logarithms of them:

    height, width   sqrt(extent / largest)     a map of half the extent is drawn 0.71 times as high
    channels        channels ** 0.36           64 maps are drawn 2.1 times as deep as 8
    units           log2(units + 1)            a column of 4,096 is drawn twice as high as one of 63

Each of these grows with what it measures: within a drawing, a larger map is never drawn smaller than a smaller one.
"""

from __future__ import annotations

from dataclasses import dataclass

from netdsl.analysis.receptive import Field, Reach
from netdsl.ir.types import TensorType

TALLEST = 112.0
"""Pixels of the largest extent of a drawing."""
SHORTEST = 7.0
WIDEST = 120.0
"""Pixels of channels: more than 6,800 are drawn as wide as these."""
HIGHEST = 150.0
"""Pixels of a column of units."""
RECEDING = (0.36, 0.30)
"""What one pixel of the width becomes, which goes back into the picture: to the right, and up."""


UNKNOWN = 256
"""Extent that an input is drawn with if its own is not known."""


def sized(type: TensorType, reach: Reach | None) -> TensorType:
    """The type with extents in place of those that are only known when the network runs: as much smaller than that of
    an input as the steps between its positions, which `reach` knows, are longer."""
    if None not in type.spatial:
        return type
    strides = [axis.stride for axis in reach.axes] if isinstance(reach, Field) else []
    strides += [1] * (type.rank - 1 - len(strides))
    extents = [extent or max(1, round(UNKNOWN / stride)) for extent, stride in zip(type.spatial, strides, strict=True)]
    return TensorType((type.channels, *extents))


@dataclass(frozen=True)
class Solid:
    """A tensor as it is drawn: the front face is `channels` wide and `height` high and goes back by (`dx`, `dy`)."""

    across: float
    height: float
    dx: float
    dy: float

    @property
    def right(self) -> float:
        return self.across + self.dx

    @property
    def half(self) -> float:
        """Half of the whole height."""
        return (self.height + self.dy) / 2


class Scale:
    """Lengths of the tensors of one drawing, which are measured against each other. `size` makes all of them smaller.

    An extent that is only known when the network runs is drawn as the largest, channels and units as a few.
    """

    def __init__(self, types: list[TensorType], size: float = 1.0) -> None:
        self._size = size
        known = [extent for type in types for extent in type.spatial if extent is not None]
        self._largest = max([1, *known])

    def extent(self, extent: int | None) -> float:
        share = 1.0 if extent is None else min(1.0, extent / self._largest)
        return float(max(SHORTEST, TALLEST * self._size * share**0.5))

    def channels(self, channels: int | None) -> float:
        return float(max(4.0, self._size * min(WIDEST, 5.0 * max(1, 64 if channels is None else channels) ** 0.36)))

    def units(self, units: int | None) -> float:
        bits = (128 if units is None else units + 1).bit_length() - 1
        whole = 2**bits
        # log2 by straight pieces between the powers of two: the same digits on every machine.
        exact = bits + ((128 if units is None else units + 1) - whole) / whole
        return float(self._size * min(HIGHEST, 10.0 + 8.6 * exact))

    def solid(self, type: TensorType) -> Solid:
        """A volume of C maps, a sheet of C sequences, or a column of units."""
        if type.rank <= 1:
            return Solid(9.0, self.units(type.channels), 4.0, 3.0)
        if type.rank == 2:
            return Solid(self.channels(type.channels), self.extent(type.spatial[0]), 5.0, 4.0)
        back = self.extent(type.spatial[-1])
        return Solid(
            self.channels(type.channels), self.extent(type.spatial[-2]), back * RECEDING[0], back * RECEDING[1]
        )
