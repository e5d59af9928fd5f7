"""A layer with what follows it, as one layer: y = activation(core(x) + residual)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from netdsl.ir.layer import MANY, Arity, Array, Cost, Layer, LayerError, Weight
from netdsl.ir.types import TensorType


class Fused(Layer):
    """A core (convolution, dense, affine, join) with a residual, an activation, or both. No
    spec can name it; passes make it.

    Its inputs are those of the core and, with `residual`, one more of the type of the output. Its weights are the
    core's. It costs what its parts cost together.
    """

    kind: ClassVar[str] = "fused"
    arity: ClassVar[Arity] = MANY
    category: ClassVar[str] = "conv"
    reference: ClassVar[str] = "none: the parts have theirs"

    core: Layer
    residual: bool = False
    activation: Layer | None = None

    def _inner(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """What the core takes."""
        return inputs[:-1] if self.residual else inputs

    def infer(self, *inputs: TensorType) -> TensorType:
        y = self.core.infer(*self._inner(inputs))
        if self.residual and inputs[-1] != y:
            raise LayerError("E0311", f"a residual of {inputs[-1]} is added to {y}")
        return y if self.activation is None else self.activation.infer(y)

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        return self.core.weights(*self._inner(inputs))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        costs = [self.core.cost(self._inner(inputs), output)]
        if self.residual:
            costs.append(None if output.elements is None else Cost(flops=output.elements))
        if self.activation is not None:
            costs.append(self.activation.cost([output], output))
        known = [cost for cost in costs if cost is not None]
        return Cost(*map(sum, zip(*known, strict=True))) if len(known) == len(costs) else None

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        y = self.core.forward(xp, self._inner(inputs), weights)
        if self.residual:
            y = y + inputs[-1]
        return y if self.activation is None else self.activation.forward(xp, [y], {})
