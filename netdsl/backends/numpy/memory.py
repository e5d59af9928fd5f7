"""The arena as arrays, and memory for what lives within one step."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from netdsl.program.ir import ALIGNMENT, Planned, Tensor

Array = NDArray[Any]


def aligned_zeros(count: int) -> Array:
    """`count` float32 that begin at a line of the cache."""
    raw = np.zeros(count + ALIGNMENT // 4, np.float32)
    skip = (-raw.ctypes.data % ALIGNMENT) // 4
    return raw[skip : skip + count]


SCRATCH_BYTES = 2**26
"""Memory that is reserved for all steps; pages that none of them writes to cost nothing."""


class Scratch:
    """Memory that every step uses anew: `restart` begins a step, `take` hands out pieces of it."""

    def __init__(self) -> None:
        self._memory = np.empty(SCRATCH_BYTES // 4, np.float32)
        self._start = (-self._memory.ctypes.data % ALIGNMENT) // 4
        self._used = self._start

    def restart(self) -> None:
        self._used = self._start

    def take(self, *shape: int) -> Array:
        """An array without gaps, whose contents are whatever was there."""
        count = prod(shape)
        start, end = self._used, self._used + count
        if end > self._memory.size:
            return np.empty(shape, np.float32)
        self._used = end + (-end + self._start) % (ALIGNMENT // 4)
        return self._memory[start:end].reshape(shape)


class Memory:
    """The arena of one Program."""

    def __init__(self, program: Planned) -> None:
        self.program = program
        self.arena = aligned_zeros(-(-program.arena_bytes // 4))

    def view(self, tensor: Tensor) -> Array:
        """A tensor as an array of shape (N, *spatial, C)."""
        buffer = self.program.buffers[tensor.buffer]
        start = buffer.offset // 4 + tensor.offset
        strides = tuple(4 * stride for stride in tensor.strides)
        return as_strided(self.arena[start:], tensor.shape, strides)

    def maps(self, tensor: Tensor) -> Array:
        """The same as (N, H, W, C): a vector has one position, a sequence one row. Raises ValueError for more axes."""
        view = self.view(tensor)
        if view.ndim > 4:
            raise ValueError("more than two spatial axes")
        while view.ndim < 4:
            view = view[:, None]
        return view


def channels_first(view: Array) -> Array:
    """(N, *spatial, C) as (N, C, *spatial); the memory stays."""
    return np.moveaxis(view, -1, 1) if view.ndim > 2 else view


def channels_last(array: Array) -> Array:
    """(N, C, *spatial) as (N, *spatial, C); the memory stays."""
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array
