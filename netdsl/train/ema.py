"""The exponential moving average of weights, which is evaluated in their place.

After step n (from 1): average = d average + (1 - d) value, d = min(decay, (1 + n) / (10 + n)), so that the average of a
young run is not that of its fresh weights (tf.train.ExponentialMovingAverage with num_updates; EfficientNet's 0.9999).
Running means and variances of batch norms are averaged with the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 14


class Average:
    """Averages of some arrays, by name."""

    def __init__(self, decay: float, values: Mapping[str, NDArray[Any]]) -> None:
        self.decay = decay
        self.steps = 0
        self.values: dict[str, NDArray[Any]] = {name: array.copy() for name, array in values.items()}

    def update(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Takes the values after one more step in."""
        self.steps += 1
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, average in self.values.items():
            flat, new = average.reshape(-1), values[name].reshape(-1)
            for start in range(0, len(flat), _BLOCK):
                part = flat[start : start + _BLOCK]
                np.multiply(part, keep, out=part)
                part += (1 - keep) * new[start : start + _BLOCK]
