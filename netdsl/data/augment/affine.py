"""Affine maps from the pixels of a result to the coordinates of its source, for a batch of images.

    x_source = a x + b y + c
    y_source = d x + e y + f

x counts columns and y rows; the middle of the first pixel is at 0. Steps compose: the next step's result is looked up
in the result of the steps before it, so its map is applied first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
"""One number for each image, shape (N,)."""


class Maps(NamedTuple):
    """The six coefficients, each of shape (N,)."""

    a: Numbers
    b: Numbers
    c: Numbers
    d: Numbers
    e: Numbers
    f: Numbers

    def then(self, step: Maps) -> Maps:
        """The maps of the steps so far, followed by one more step."""
        a, b, c, d, e, f = self
        return Maps(
            a * step.a + b * step.d, a * step.b + b * step.e, a * step.c + b * step.f + c,
            d * step.a + e * step.d, d * step.b + e * step.e, d * step.c + e * step.f + f,
        )  # fmt: skip

    def where(self, chosen: NDArray[np.bool_]) -> Maps:
        """These maps for the chosen images, and the identity for the others."""
        one, zero = np.ones(len(self.a)), np.zeros(len(self.a))
        rest = Maps(one, zero, zero, zero, one, zero)
        return Maps(*(np.where(chosen, mine, other) for mine, other in zip(self, rest, strict=True)))

    def of_some(self, chosen: slice | NDArray[np.intp]) -> Maps:
        """The maps of some images."""
        return Maps(*(part[chosen] for part in self))

    def of(self, index: int) -> tuple[float, float, float, float, float, float]:
        """The coefficients of one image."""
        a, b, c, d, e, f = (float(part[index]) for part in self)
        return a, b, c, d, e, f


def identity(count: int) -> Maps:
    one, zero = np.ones(count), np.zeros(count)
    return Maps(one, zero, zero, zero, one, zero)


def shift(left: Numbers, top: Numbers) -> Maps:
    """The result's first pixel is at (left, top) of the source."""
    one, zero = np.ones(len(left)), np.zeros(len(left))
    return Maps(one, zero, left, zero, one, top)


def about(middle: tuple[float, float], a: Numbers, b: Numbers, d: Numbers, e: Numbers) -> Maps:
    """A linear map of the result onto the source about a middle (x, y)."""
    x, y = middle
    return Maps(a, b, x - a * x - b * y, d, e, y - d * x - e * y)


def mirror(extent: int, horizontal: bool, chosen: NDArray[np.bool_]) -> Maps:
    """Left and right, or top and bottom, exchanged in the chosen images."""
    sign = np.where(chosen, -1.0, 1.0)
    start = np.where(chosen, extent - 1.0, 0.0)
    one, zero = np.ones(len(sign)), np.zeros(len(sign))
    return Maps(sign, zero, start, zero, one, zero) if horizontal else Maps(one, zero, zero, zero, sign, start)


def box(left: Numbers, top: Numbers, width: Numbers, height: Numbers, size: tuple[int, int]) -> Maps:
    """A box of the source, in pixels, as a result of `size` (height, width): edges lie on edges."""
    across, down = width / size[1], height / size[0]
    zero = np.zeros(len(left))
    return Maps(across, zero, left + (across - 1) / 2, zero, down, top + (down - 1) / 2)


def rotation(degrees: Numbers, middle: tuple[float, float]) -> Maps:
    """What is seen turns against the clock (rows count downwards)."""
    cos, sin = _each(math.cos, np.radians(degrees)), _each(math.sin, np.radians(degrees))
    return about(middle, cos, -sin, sin, cos)


def slant(horizontal: Numbers, vertical: Numbers, middle: tuple[float, float]) -> Maps:
    """Rows slide sideways by the tangent of an angle in degrees for each row, then columns up and down likewise."""
    across, down = _each(math.tan, np.radians(horizontal)), _each(math.tan, np.radians(vertical))
    # The result is (x + s y, y + t (x + s y)) of the source (x, y); this is its inverse.
    return about(middle, 1 + across * down, -across, -down, np.ones(len(across)))


def zoom(factor: Numbers, middle: tuple[float, float]) -> Maps:
    """What is seen becomes larger by the factor."""
    zero = np.zeros(len(factor))
    return about(middle, 1 / factor, zero, zero, 1 / factor)


def _each(function: object, values: Numbers) -> Numbers:
    """A function of each number by itself: vector units may round otherwise for other numbers of images."""
    return np.array([function(value) for value in values.tolist()])  # type: ignore[operator]
