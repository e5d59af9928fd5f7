"""Base of the layers that move numbers and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from netdsl.ir.layer import Cost, Layer
from netdsl.ir.types import TensorType


class Rearrangement(Layer):
    """They cost nothing: 0 FLOPs."""

    category: ClassVar[str] = "reshape"

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return Cost()
