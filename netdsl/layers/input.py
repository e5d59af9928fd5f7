"""Where a tensor enters the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from netdsl.ir.layer import Arity, Cost, Layer
from netdsl.ir.types import TensorType
from netdsl.layers.sizes import MAX_EXTENT, MAX_SPATIAL


class Input(Layer):
    """A tensor that is given to the network when it runs.

    The shape is (C, *spatial), e.g. 3x224x224, without the batch axis; an extent that is only known when the network
    runs is written `?`. Costs nothing.
    """

    kind: ClassVar[str] = "input"
    positional: ClassVar[tuple[str, ...]] = ("shape",)
    arity: ClassVar[Arity] = Arity(0, 0)
    category: ClassVar[str] = "input"
    reference: ClassVar[str] = "ONNX graph input"

    shape: tuple[Annotated[int, Field(ge=1, le=MAX_EXTENT)] | None, ...] = Field(
        min_length=1,
        max_length=1 + MAX_SPATIAL,
        description="Channels, then the spatial extents, e.g. 3x224x224 or 3x?x?.",
    )

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType(self.shape)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return Cost()


LAYERS: tuple[type[Layer], ...] = (Input,)
