"""Random numbers of a training step that depend on nothing but who draws them, and when.

They come from Philox, a generator that is a function of a key and a counter (Salmon et al. 2011, Parallel random
numbers: as easy as 1, 2, 3). The key is made of the seed of the run and the name of the node, the counter starts at the
number of the step: a run that is resumed needs no state of a generator, and threads cannot change what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PhiloxDraw:
    """The random numbers of one node in one step; a `Draw` (netdsl/ir/layer.py)."""

    def __init__(self, seed: int, step: int, node: str) -> None:
        self._seed, self._step, self._node = seed, step, node
        # Most layers draw nothing, and making a generator takes longer than many a layer.
        self._generator: np.random.Philox | None = None

    def uniform(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """Numbers k / 2^24 in [0, 1), float32."""
        if self._generator is None:
            key = int.from_bytes(blake2b(f"{self._seed}/{self._node}".encode(), digest_size=16).digest(), "little")
            # A step may draw 2^128 blocks before it meets the numbers of the next one.
            self._generator = np.random.Philox(key=key, counter=self._step << 128)
        count = prod(shape)
        # Raw output, whose stream NumPy promises to keep, unlike that of its distributions: two in each 64 bits.
        raw: NDArray[Any] = np.asarray(self._generator.random_raw((count + 1) // 2), np.uint64)
        bits = raw.astype("<u8", copy=False).view("<u4")[:count] >> np.uint32(8)
        return (bits.astype(np.float32) * np.float32(2.0**-24)).reshape(tuple(shape))
