"""Arrays in memory as kernels want them, and naive references: loops that share no code with what they check."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.backends.native.engine import Engine
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned, dense_view
from netdsl.backends.native.target import Target

GUARD = 64
"""Numbers around every array that nothing may write to."""


class Map:
    """A batch of maps, given as (N, C, H, W); `gap` channels lie between neighbouring pixels."""

    def __init__(self, values: Any, gap: int = 0) -> None:
        values = np.asarray(values, dtype=np.float32)
        images, channels, height, width = values.shape
        wide = channels + gap
        self.memory = aligned(values.size // max(1, channels) * wide + 2 * GUARD)
        self.memory[...] = np.nan
        self.inside = self.memory[GUARD : self.memory.size - GUARD].reshape(images, height, width, wide)
        self.inside[..., :channels] = values.transpose(0, 2, 3, 1)
        self.channels = channels
        dense = dense_view(int(self.inside.ctypes.data), images, height, width, wide)
        self.view: View = dense.lane(0, channels)

    @property
    def values(self) -> Array:
        """(N, C, H, W). Fails where something was written outside."""
        assert np.isnan(self.memory[:GUARD]).all()
        assert np.isnan(self.memory[self.memory.size - GUARD :]).all()
        assert np.isnan(self.inside[..., self.channels :]).all()
        return self.inside[..., : self.channels].transpose(0, 3, 1, 2)


def empty(images: int, channels: int, height: int, width: int, gap: int = 0) -> Map:
    """A map of NaN."""
    return Map(np.full((images, channels, height, width), np.nan), gap)


def run(target: Target, *steps: NativeStep, threads: int = 1) -> None:
    Engine(steps, target, threads).run()


def naive_conv(
    x: Array, weight: Array, bias: Array | None, stride: int, padding: int, dilation: int, groups: int
) -> Array:
    """(N, C, H, W) and (K, C / G, f, f) -> (N, K, o, o) in float64, a tap at a time."""
    images, _, height, width = x.shape
    filters, each, fy, fx = weight.shape
    oy = (height + 2 * padding - dilation * (fy - 1) - 1) // stride + 1
    ox = (width + 2 * padding - dilation * (fx - 1) - 1) // stride + 1
    y = np.zeros((images, filters, oy, ox))
    per = filters // groups
    for row in range(oy):
        for column in range(ox):
            for i in range(fy):
                for j in range(fx):
                    at_y, at_x = row * stride - padding + i * dilation, column * stride - padding + j * dilation
                    if not (0 <= at_y < height and 0 <= at_x < width):
                        continue
                    pixel = x[:, :, at_y, at_x].astype(np.float64)
                    for group in range(groups):
                        part = weight[group * per : (group + 1) * per, :, i, j].astype(np.float64)
                        y[:, group * per : (group + 1) * per, row, column] += (
                            pixel[:, group * each : (group + 1) * each] @ part.T
                        )
    return y if bias is None else y + bias[:, None, None]
