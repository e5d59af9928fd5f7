"""Random numbers as a function of a key and a counter, for many images at once.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3). What is
drawn for an image follows from (seed, epoch, number of the image, stream) alone: not from who draws it, when, or
beside which other images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ORDER = 2**31
"""The stream that puts the images of an epoch in their order. Step p of a pipeline draws from stream p."""

_WORD = 2**32 - 1
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

Words = NDArray[np.uint64]


def philox(counter: Sequence[Words], key: tuple[int, int]) -> list[Words]:
    """Four words of 32 bits (in uint64) for a counter and a key of four and two such words."""
    mask, half = np.uint64(_WORD), np.uint64(32)
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> half) ^ c1 ^ np.uint64(k0), second & mask,
            (first >> half) ^ c3 ^ np.uint64(k1), first & mask,
        )  # fmt: skip
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return [c0, c1, c2, c3]


def uniforms(seed: int, epoch: int, indices: NDArray[np.int64], stream: int, count: int) -> NDArray[np.float64]:
    """`count` numbers for each image, multiples of 2^-32 in [0, 1); shape (count, N).

    `seed` has up to 64 bits; epochs, numbers of images and streams count from 0 to 2^32 - 1.
    """
    blocks = -(-count // 4)
    shape = (blocks, len(indices))
    counter = [
        np.broadcast_to(np.arange(blocks, dtype=np.uint64)[:, None], shape),
        np.full(shape, stream, np.uint64),
        np.full(shape, epoch, np.uint64),
        np.broadcast_to(indices.astype(np.uint64), shape),
    ]
    words = np.stack(philox(counter, (seed & _WORD, seed >> 32 & _WORD)), axis=1)
    numbers: NDArray[np.float64] = words.reshape(blocks * 4, len(indices))[:count] * np.float64(2.0**-32)
    return numbers


def shuffled(indices: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """The images in the order of an epoch: sorted by a random number that each image has by itself."""
    high, low = uniforms(seed, epoch, indices, ORDER, 2)
    return indices[np.lexsort((indices, low, high))]
