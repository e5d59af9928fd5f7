"""Tensors in memory: where the numbers of an activation lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ALIGNMENT = 64
"""Bytes: a line of the cache, and the widest vector."""


@dataclass(frozen=True)
class View:
    """A batch of maps, channels last: number (n, y, x, c) lies at address + n image + y row + x pixel + 4 c."""

    address: int
    images: int
    height: int
    width: int
    channels: int
    image: int
    row: int
    pixel: int

    @property
    def pixels(self) -> int:
        return self.images * self.height * self.width

    @property
    def flat(self) -> bool:
        """Whether all pixels follow each other at one distance."""
        line = self.width * self.pixel
        return (self.row == line or self.height == 1) and (self.image == self.height * line or self.images == 1)

    @property
    def dense(self) -> bool:
        """Whether there is nothing between the numbers."""
        return self.flat and self.pixel == 4 * self.channels

    def lane(self, first: int, channels: int) -> View:
        """Some of the channels."""
        return replace(self, address=self.address + 4 * first, channels=channels)


def dense_view(address: int, images: int, height: int, width: int, channels: int) -> View:
    """The view of numbers that follow each other."""
    pixel = 4 * channels
    return View(address, images, height, width, channels, height * width * pixel, width * pixel, pixel)


def aligned(count: int) -> Array:
    """`count` zeros (float32) that begin at a line of the cache."""
    raw = np.zeros(count + ALIGNMENT // 4, dtype=np.float32)
    skip = (-raw.ctypes.data % ALIGNMENT) // 4
    return raw[skip : skip + count]
