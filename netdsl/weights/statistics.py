"""What the numbers of an array are like."""

from __future__ import annotations

from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.convert import parts_of


class Statistics(NamedTuple):
    """Of the finite numbers of an array; None where there is none."""

    least: float | None
    most: float | None
    mean: float | None
    deviation: float | None
    """The standard deviation of the population, not of a sample."""
    zeros: int
    not_finite: int


def statistics(values: NDArray[Any]) -> Statistics:
    """Least, largest, mean and standard deviation in double precision, whatever the array holds.

    The mean comes first and the deviations from it second, so nothing cancels. Of complex numbers the real parts count.
    """
    count = zeros = lost = 0
    total, least, most = 0.0, np.inf, -np.inf
    for part in parts_of(values):
        finite = _finite(part)
        lost += part.size - finite.size
        if finite.size:
            count += finite.size
            zeros += int(np.count_nonzero(finite == 0))
            total += float(finite.sum())
            least, most = min(least, float(finite.min())), max(most, float(finite.max()))
    if not count:
        return Statistics(None, None, None, None, 0, lost)
    mean = total / count
    squares = sum(float(np.square(_finite(part) - mean).sum()) for part in parts_of(values))
    return Statistics(least, most, mean, sqrt(squares / count), zeros, lost)


def _finite(part: NDArray[Any]) -> NDArray[np.float64]:
    wide = np.asarray(part.real, np.float64)
    found: NDArray[np.float64] = wide[np.isfinite(part)]
    return found
