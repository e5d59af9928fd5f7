"""What lies beyond an image: where its coordinates lead to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def folded(places: NDArray[Any], extent: int, mode: str) -> NDArray[Any]:
    """Coordinates (whole ones or not) along an axis of `extent` pixels, brought to 0 ... extent - 1.

    `reflect` mirrors at the middle of the last pixel, `symmetric` at its edge; `edge` and `constant` go to the last
    pixel.
    """
    within: NDArray[Any] = places
    if extent == 1:
        return np.zeros_like(places)
    if mode == "reflect":
        period = 2 * (extent - 1)
        within = np.mod(places, period)
        within = np.minimum(within, period - within)
    elif mode == "symmetric":
        period = 2 * extent
        within = np.mod(places, period)
        within = np.minimum(within, period - 1 - within)
    # With `symmetric`, the last pixel lies on both sides of the edge between it and its mirror image.
    return within.clip(0, extent - 1)


def fill_of(dtype: np.dtype[Any], fill: float) -> float:
    """The value of a border in the units of the planes."""
    return round(fill * 255) if dtype == np.uint8 else fill
