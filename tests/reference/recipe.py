"""Weights and inputs that any runtime can make for itself, so that none have to be stored.

u(key, n) are n numbers in [0, 1): raw output of NumPy's PCG64, whose stream is promised to stay, seeded with the CRC-32
of the key, 53 bits each. A weight is made from its full name, its shape and one `gain` for the network:

    num_batches_tracked                                    0
    running_mean                                           0.2 (u - 1/2)
    running_var                                            1/2 + u
    weight with at most one axis, layer_scale, gamma       3/4 + u / 2
    anything else with at most one axis                    0.2 (u - 1/2)
    anything else           gain sqrt(3 / fan_in) (2 u - 1): standard deviation gain / sqrt(fan_in)

fan_in is the product of the axes behind the first. Computed in float64, rounded to float32.

An image is 7 x 7 random blocks, enlarged to the image by nearest neighbor, and noise: 1.25 blocks + 0.75 noise.
"""

from __future__ import annotations

from math import prod, sqrt
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 21


def uniform(key: str, count: int) -> NDArray[np.float64]:
    raw = np.random.PCG64(crc32(key.encode())).random_raw(count)
    return np.ldexp((raw >> np.uint64(11)).astype(np.float64), -53)


def weight(name: str, shape: tuple[int, ...], gain: float) -> NDArray[np.float32] | NDArray[np.int64]:
    last = name.split(".")[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_var":
        low, width = 0.5, 1.0
    elif last in ("layer_scale", "gamma") or (last == "weight" and len(shape) < 2):
        low, width = 0.75, 0.5
    elif last == "running_mean" or len(shape) < 2:
        low, width = -0.1, 0.2
    else:
        bound = gain * sqrt(3 / prod(shape[1:]))
        low, width = -bound, 2 * bound
    # In pieces, so that a dense layer of 100 million weights does not need gigabytes on its way to float32.
    generator = np.random.PCG64(crc32(name.encode()))
    values = np.empty(prod(shape), np.float32)
    for start in range(0, values.size, CHUNK):
        piece = values[start : start + CHUNK]
        raw = np.asarray(generator.random_raw(piece.size))
        piece[:] = low + width * np.ldexp((raw >> np.uint64(11)).astype(np.float64), -53)
    return values.reshape(shape)


def images(count: int, height: int, width: int) -> NDArray[np.float32]:
    """(N, 3, H, W)"""
    blocks = 2 * uniform("input/coarse", count * 3 * 7 * 7).reshape(count, 3, 7, 7) - 1
    noise = 2 * uniform("input/fine", count * 3 * height * width).reshape(count, 3, height, width) - 1
    rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
    return (1.25 * blocks[:, :, rows[:, None], columns] + 0.75 * noise).astype(np.float32)
