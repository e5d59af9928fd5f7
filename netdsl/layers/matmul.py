"""The product of two tensors as matrices: what attention between positions is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from netdsl.ir.layer import Arity, Array, Cost, Global, Gradients, Layer, LayerError, Passed, Window
from netdsl.ir.types import Extent, TensorType, unify
from netdsl.layers import working
from netdsl.layers.lanes import broadcast, to_lane


class Matmul(Layer):
    """Matrix product of two tensors: (C, M) and (M, N) make (C, N), y[i, j] = sum over m of a[i, m] * b[m, j].

    Both are computed, neither is a weight; a product with a learned matrix is `dense`. Further axes may stand in front,
    the heads of an attention for example: (heads, L, M) and (heads, M, N) make (heads, L, N); both tensors have the
    same number of axes, and in front of the matrices the same extents, or 1, which is repeated. `permute` turns a
    matrix around, `reshape` makes one of a map: (C, H, W) to (C, H * W). Every output sees the whole input.

    FLOPs for each output: M multiplications and M - 1 additions. They stand beside the MACs, which are those of
    convolution and dense layers.
    Errors: E0303 for a tensor of less than two axes; E0311 where the matrices do not fit.
    """

    kind: ClassVar[str] = "matmul"
    arity: ClassVar[Arity] = Arity(2, 2)
    category: ClassVar[str] = "join"
    reference: ClassVar[str] = "Wang et al. 2018, Non-local neural networks, eq. 1 and figure 2; ONNX MatMul"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def infer(self, *inputs: TensorType) -> TensorType:
        a, b = inputs
        for number, lane in enumerate(inputs, start=1):
            if lane.rank < 2:
                raise LayerError(
                    "E0303",
                    f"matmul multiplies matrices, and tensor {number} is {lane}",
                    f"reshape(({lane}, 1)) makes a column of it, reshape((1, {lane})) a row" if lane.rank else None,
                )
        if a.rank != b.rank:
            raise LayerError(
                "E0311",
                f"matmul cannot multiply {a} by {b}: they differ in rank",
                "reshape one of them, so that both have the same number of axes",
            )
        try:
            front = broadcast(self.kind, [TensorType(lane.shape[:-2]) for lane in inputs])
        except LayerError:
            raise LayerError(
                "E0311",
                f"matmul cannot multiply {a} by {b}: they differ in front of the matrices",
                "both have as many matrices, or one of them has 1, which is repeated",
            ) from None
        self._terms(a, b)
        return TensorType((*front.shape, a.shape[-2], b.shape[-1]))

    def _terms(self, a: TensorType, b: TensorType) -> Extent:
        """M. Raises E0311."""
        try:
            return unify(a.shape[-1], b.shape[-2])
        except ValueError:
            pass
        order = ", ".join(map(str, [*range(a.rank - 2), a.rank - 1, a.rank - 2]))
        help = "the last extent of the first tensor is the last but one of the second"
        if a.shape[-2] == b.shape[-2]:
            help = f"turn the first around: permute(({order}))"
        elif a.shape[-1] == b.shape[-1]:
            help = f"turn the second around: permute(({order}))"
        elif b.shape[-1] == a.shape[-2]:
            help = f"the other way round they fit: {b} by {a}"
        raise LayerError(
            "E0311",
            f"matmul cannot multiply {a} by {b}: the rows of the first have {a.shape[-1]} numbers, the columns of the "
            f"second {b.shape[-2]}",
            help,
        )

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements, terms = output.elements, self._terms(inputs[0], inputs[1])
        return None if elements is None or terms is None else Cost(flops=elements * (2 * terms - 1))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global()

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        terms = self._terms(inputs[0], inputs[1])
        cost = self.cost(inputs, output)
        less = None if terms is None else terms - 1
        each = f"({working.number(terms)} products + {working.number(less)} additions)"
        total = working.result(None if cost is None else cost.flops)
        return {
            "output": [
                f"rows of the first = {working.number(output.shape[-2])}, "
                f"columns of the second = {working.number(output.shape[-1])}"
            ],
            "flops": [f"{working.product(*output.shape)} outputs * {each}{total}"],
        }

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.matmul(inputs[0], inputs[1])

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        a, b = passed.inputs
        da = to_lane(xp.matmul(dy, b.swapaxes(-1, -2)), a) if passed.wanted[0] else None
        db = to_lane(xp.matmul(a.swapaxes(-1, -2), dy), b) if passed.wanted[1] else None
        return Gradients((da, db))


LAYERS: tuple[type[Layer], ...] = (Matmul,)
