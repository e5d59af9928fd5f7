"""Memory that is used again: for arrays of this size asking the system each time takes longer than filling them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

MAX_BYTES = 2**23
"""Larger arrays are not kept."""

_local = threading.local()


def scratch(name: str, shape: Sequence[int], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """An array whose values are whatever was there, the caller's until this thread asks for the same name again."""
    size = prod(shape) * np.dtype(dtype).itemsize
    if size > MAX_BYTES:
        return np.empty(shape, dtype)
    kept: dict[str, NDArray[np.uint8]] = _local.__dict__.setdefault("kept", {})
    found = kept.get(name)
    if found is None or found.nbytes < size:
        found = kept[name] = np.empty(size, np.uint8)
    return found[:size].view(dtype).reshape(shape)
