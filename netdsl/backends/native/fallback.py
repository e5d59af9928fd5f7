"""Steps without a native kernel: the layer's own arithmetic in NumPy, on the arena."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdsl.backends.native.steps.view import Array
from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.program.ir import Step, Tensor


@dataclass(frozen=True)
class Fallback:
    """One step in NumPy, and why."""

    step: Step
    reason: str
    arena: Array
    """All of it, float32."""
    starts: dict[int, int]
    """Where each buffer begins, in numbers."""

    def run(self) -> None:
        """Computes the output from the inputs."""
        step = self.step
        inputs = [np.ascontiguousarray(self._view(tensor)) for tensor in step.inputs]
        with np.errstate(over="ignore", under="ignore"):
            y = np.asarray(step.layer.forward(np, inputs, step.weights), dtype=np.float32)
            if step.residual is not None:
                y = y + self._view(step.residual)
            if step.activation is not None:
                y = np.asarray(step.activation.forward(np, [y], {}), dtype=np.float32)
        self._view(step.output)[...] = y

    def _view(self, tensor: Tensor) -> Array:
        return channels_first(self.arena, self.starts, tensor)


def channels_first(arena: Array, starts: dict[int, int], tensor: Tensor) -> Array:
    """A tensor as an array of shape (N, C, *spatial) that shares the arena's memory."""
    start = starts[tensor.buffer] + tensor.offset
    strides = tuple(BYTES_PER_ELEMENT * stride for stride in tensor.strides)
    inside = np.lib.stride_tricks.as_strided(arena[start:], tensor.shape, strides)
    return inside if len(tensor.shape) < 3 else np.moveaxis(inside, -1, 1)
