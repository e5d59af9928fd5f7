"""What lies beyond an image: where its coordinates lead to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def folded(places: NDArray[Any], extent: int, mode: str, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Coordinates (whole ones or not) along an axis of `extent` pixels, brought to 0 ... extent - 1.

    `reflect` mirrors at the middle of the last pixel, `symmetric` at its edge; others go to the last pixel.
    """
    within = places
    if mode in ("reflect", "symmetric") and extent > 1:
        last = 2 * (extent - 1) if mode == "reflect" else 2 * extent - 1
        within = np.mod(places, 2 * (extent - 1) if mode == "reflect" else 2 * extent, out=out)
        within = np.minimum(within, last - within, out=out)
    # With `symmetric`, the last pixel lies on both sides of the edge between it and its mirror image.
    return np.clip(within, 0, extent - 1, out=out)


def fill_of(dtype: np.dtype[Any], fill: float) -> float:
    """The value of a border in the units of the planes."""
    return round(fill * 255) if dtype == np.uint8 else fill
