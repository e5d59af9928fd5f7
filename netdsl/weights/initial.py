"""Fresh weights: the same seed and the same name give the same values, whatever else the network holds."""

from __future__ import annotations

from hashlib import blake2b
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.ir.layer import Weight

_CHUNK = 1 << 20
"""Random numbers made at a time, which bounds the memory beside the result."""


def fresh(name: str, weight: Weight, seed: int, dtype: str = "float32") -> NDArray[Any]:
    """The values that a weight starts from.

    `kaiming` is He et al. 2015, eq. 10, as a uniform distribution: |w| <= sqrt(6 / fan_in), so the standard deviation
    is sqrt(2 / fan_in), which keeps the scale of activations through convolutions with ReLU. fan_in is the product of
    the axes behind the first.
    """
    kind = dtype if weight.dtype == "float32" else weight.dtype
    if weight.initial == "zeros":
        return np.zeros(weight.shape, kind)
    if weight.initial == "ones":
        return np.ones(weight.shape, kind)
    if weight.initial == "kaiming":
        fan_in = 1
        for extent in weight.shape[1:]:
            fan_in *= extent
        return _uniform(name, seed, weight.size, sqrt(6 / max(1, fan_in)), kind).reshape(weight.shape)
    return np.broadcast_to(np.asarray(weight.initial, kind), weight.shape).copy()


def _uniform(name: str, seed: int, count: int, bound: float, dtype: str) -> NDArray[Any]:
    """`count` numbers in [-bound, bound).

    They come from raw output of PCG64, whose stream NumPy promises to keep, unlike that of its distributions.
    """
    key = int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=16).digest(), "little")
    generator = np.random.PCG64(key)
    values = np.empty(count, dtype)
    for start in range(0, count, _CHUNK):
        raw = np.asarray(generator.random_raw(min(_CHUNK, count - start)))
        unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        values[start : start + _CHUNK] = (2 * unit - 1) * bound
    return values
