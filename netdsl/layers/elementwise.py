"""Layers that leave the shape as it is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from netdsl.ir.layer import Array, Gradients, Layer, Passed
from netdsl.ir.types import TensorType


class Elementwise(Layer):
    """Base of the layers with one input whose output has the same shape."""

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return x


class Pointwise(Elementwise):
    """Base of the functions of one element without weights: y_i = f(x_i)."""

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((self._gradient(xp, dy, passed.x, passed.output),))

    @abstractmethod
    def _gradient(self, xp: Any, dy: Array, x: Array, y: Array) -> Array:
        """dy f'(x). Of `x` and `y` there are the numbers that `keeps` names."""
