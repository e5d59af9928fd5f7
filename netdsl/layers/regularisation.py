"""Regularisation that acts in training only: in evaluation each of these layers is the identity."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, FiniteFloat

from netdsl.ir.layer import Array, Cost, Draw, Gradients, Layer, Passed, Trained
from netdsl.ir.types import TensorType
from netdsl.layers.axes import require_rank
from netdsl.layers.elementwise import Elementwise


class Regularisation(Elementwise):
    """Base of the layers that do nothing in evaluation: the input passes unchanged and costs nothing."""

    category: ClassVar[str] = "regularisation"
    stochastic: ClassVar[bool] = True

    rate: FiniteFloat

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return Cost()

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0]

    def train(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array], draw: Draw) -> Trained:
        x = inputs[0]
        if self.rate == 0:
            return Trained(x)
        kept = xp.asarray(draw.uniform(self._drawn(x.shape))) >= self.rate
        return Trained(self._masked(xp, x, kept), (kept,))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((self._masked(xp, dy, passed.extra[0]) if passed.extra else dy,))

    def _masked(self, xp: Any, x: Array, kept: Array) -> Array:
        """x / (1 - rate) where it is kept, else 0."""
        return xp.where(kept, x * (1 / (1 - self.rate)), 0) if self.rate < 1 else xp.zeros_like(x)

    @abstractmethod
    def _drawn(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the random numbers for an input of `shape`, (N, ...), which are repeated to fit it."""


class Dropout(Regularisation):
    """In training, sets each element to 0 with probability `rate` and divides the others by 1 - rate.

    With `spatial = true` whole channels are dropped. Any shape; the output has the same. The identity, at no cost, in
    evaluation. Errors: E0315 where channels are dropped of a tensor without spatial axes.
    """

    kind: ClassVar[str] = "dropout"
    positional: ClassVar[tuple[str, ...]] = ("rate",)
    reference: ClassVar[str] = "Srivastava et al. 2014, Dropout; Tompson et al. 2015 for spatial; ONNX Dropout"

    rate: FiniteFloat = Field(0.5, ge=0, le=1, description="Probability that an element is dropped.")
    spatial: bool = Field(False, description="Drop whole channels instead of single elements.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if self.spatial:
            require_rank("dropout(spatial = true)", x, 2)
        return x

    def _drawn(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:2], *(1 for _ in shape[2:])) if self.spatial else shape


class StochasticDepth(Regularisation):
    """In training, sets its whole input to 0 with probability `rate` and divides it by 1 - rate otherwise.

    `row` draws for each image, `batch` once for the batch. Stands at the end of a residual lane, so that the block is
    skipped. Any shape; the output has the same. The identity, at no cost, in evaluation.
    """

    kind: ClassVar[str] = "stochastic_depth"
    positional: ClassVar[tuple[str, ...]] = ("rate", "mode")
    reference: ClassVar[str] = "Huang et al. 2016, Deep networks with stochastic depth, section 3"

    rate: FiniteFloat = Field(ge=0, le=1, description="Probability that the input is dropped.")
    mode: Literal["row", "batch"] = Field("row", description="Whether one draw is for an image or for the batch.")

    def _drawn(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] if self.mode == "row" else 1, *(1 for _ in shape[1:]))


LAYERS: tuple[type[Layer], ...] = (Dropout, StochasticDepth)
