"""scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netdsl.data.dataset import ArrayDataset
from netdsl.data.errors import DataError
from netdsl.data.sources import Digits

WHITE = 16
"""The largest count of ink in a cell of 4x4 dots of the scans."""


def open_digits(source: Digits, channels: int) -> ArrayDataset:
    """1,797 images of 8x8 pixels, ink white. Raises DataError where scikit-learn is not installed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        help = "pip install scikit-learn, or pip install 'netdsl[examples]'"
        raise DataError(
            "E0910", "the digits come with the package scikit-learn, which is not installed", help
        ) from None
    found = load_digits()
    counts: NDArray[np.float64] = found.images
    labels: NDArray[np.int64] = found.target.astype(np.int64)
    images = np.rint(counts * (255 / WHITE)).astype(np.uint8)[..., None]
    names = [str(digit) for digit in range(10)]
    if source.classes is not None:
        chosen = list(source.classes)
        if len(set(chosen)) != len(chosen) or len(chosen) < 2:
            raise DataError("E0903", f"`classes` of digits is {chosen}, expected two or more different ones")
        kept = np.isin(labels, chosen)
        images, labels = images[kept], np.array([chosen.index(int(label)) for label in labels[kept]], np.int64)
        names = [str(digit) for digit in chosen]
    return ArrayDataset(np.repeat(images, channels, axis=3), labels, names, source="the digits")
