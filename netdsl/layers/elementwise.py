"""Layers that leave the shape as it is."""

from __future__ import annotations

from netdsl.ir.layer import Layer
from netdsl.ir.types import TensorType


class Elementwise(Layer):
    """Base of the layers with one input whose output has the same shape."""

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return x
