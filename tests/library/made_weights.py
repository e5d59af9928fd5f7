"""Weights and images made from their names alone, so that none have to be stored.

The numbers come from NumPy's PCG64 bit generator (`random_raw`, whose stream NumPy promises to keep), seeded by the
CRC-32 of a name. The peer's outputs in this folder were computed with the same.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray


def uniform(key: str, count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1)."""
    raw = np.random.PCG64(zlib.crc32(key.encode("utf-8"))).random_raw(count)
    return (np.asarray(raw, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def weight(key: str, shape: tuple[int, ...], gain: float) -> NDArray[np.float32] | NDArray[np.int64]:
    """The weight or buffer called `key`: matrices and filters have the standard deviation gain / sqrt(fan in)."""
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    values = uniform(key, math.prod(shape))
    if last == "running_mean":
        values = 0.2 * (values - 0.5)
    elif last == "running_var":
        values = 0.5 + values
    elif last == "weight" and len(shape) <= 1:
        values = 0.75 + 0.5 * values
    elif len(shape) <= 1:
        values = 0.2 * (values - 0.5)
    else:
        values = (2 * values - 1) * 3**0.5 * gain / math.prod(shape[1:]) ** 0.5
    return values.astype(np.float32).reshape(shape)


def image(batch: int, height: int, width: int) -> NDArray[np.float32]:
    """(N, 3, H, W): 7x7 coarse squares and fine noise."""
    coarse = (2 * uniform("input/coarse", batch * 3 * 49) - 1).reshape(batch, 3, 7, 7)
    fine = (2 * uniform("input/fine", batch * 3 * height * width) - 1).reshape(batch, 3, height, width)
    rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
    return (1.25 * coarse[:, :, rows][:, :, :, columns] + 0.75 * fine).astype(np.float32)
