"""Tensor types: the shape that flows along an edge of a network.

Legend: C channels, H height, W width. The batch axis N is never written; it is in front of every shape when a
network runs.
"""

from __future__ import annotations

from typing import NamedTuple

Extent = int | None
"""A size along one axis. None is an extent that is only known when the network runs, written `?`."""

BYTES_PER_ELEMENT = 4
"""Activations and parameters are float32."""


class TensorType(NamedTuple):
    """The type of one tensor: channels first, then the spatial extents, e.g. (64, 56, 56) or (1000,)."""

    shape: tuple[Extent, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def channels(self) -> Extent:
        return self.shape[0] if self.shape else 1

    @property
    def spatial(self) -> tuple[Extent, ...]:
        """The extents behind the channels: (H, W) for an image, (L,) for a sequence, () for a vector."""
        return self.shape[1:]

    @property
    def elements(self) -> int | None:
        """How many numbers the tensor holds, for one image; None while an extent is unknown."""
        product = 1
        for extent in self.shape:
            if extent is None:
                return None
            product *= extent
        return product

    @property
    def bytes(self) -> int | None:
        elements = self.elements
        return None if elements is None else elements * BYTES_PER_ELEMENT

    def __str__(self) -> str:
        return "x".join("?" if extent is None else str(extent) for extent in self.shape) or "scalar"


def unify(a: Extent, b: Extent) -> Extent:
    """The extent that is both `a` and `b`, where an unknown one may turn out to be anything.

    Raises ValueError when two known extents differ.
    """
    if a is None:
        return b
    if b is None or a == b:
        return a
    raise ValueError(f"{a} is not {b}")
