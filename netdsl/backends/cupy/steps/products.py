"""The array library with matrix products that may be part of a CUDA graph: what layers' own forwards are given."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from netdsl.backends.cupy.device import Device


class Products:
    """Everything that the library has; `matmul` of float32 matrices, or batches of them, goes through the device."""

    def __init__(self, device: Device, tf32: bool) -> None:
        self._device = device
        self._tf32 = tf32

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device.xp, name)

    def matmul(self, a: Any, b: Any) -> Any:
        """(..., M, K) @ (..., K, N), axes in front broadcast."""
        xp = self._device.xp
        if min(a.ndim, b.ndim) < 2 or not a.dtype == b.dtype == np.float32:
            return xp.matmul(a, b)
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out = xp.empty((*batch, a.shape[-2], b.shape[-1]), np.float32)
        left, right = (self._flat(each, batch) for each in (a, b))
        target = out if not batch else out.reshape(prod(batch), *out.shape[-2:])
        if out.size:
            self._device.matmul(left, right, target, self._tf32)
        return out

    def _flat(self, x: Any, batch: tuple[int, ...]) -> Any:
        """With one batch axis, or none, and no gaps."""
        xp = self._device.xp
        matrix = x.shape[-2:]
        if x.shape[:-2] != batch:
            x = xp.broadcast_to(x, (*batch, *matrix))
        x = xp.ascontiguousarray(x)
        return x.reshape(prod(batch), *matrix) if batch else x
