"""Pools: a candidate."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.backends.cupy.kernels import pool
from netdsl.backends.cupy.kernels.candidates.base import Family, Form, flat, function_of, view, without_residual
from netdsl.backends.cupy.kernels.depthwise import Window
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.layers.adaptive_pool import AdaptiveMaxPool, AdaptivePool, GlobalAvgPool, GlobalMaxPool
from netdsl.layers.pool import AvgPool, MaxPool, Pool
from netdsl.program.ir import Step


def counts_padding(layer: Pool) -> bool:
    """Whether the padding of an average pool counts."""
    if not isinstance(layer, AvgPool):
        return False
    return layer.padding != "same" if layer.count_include_pad is None else layer.count_include_pad


class Pools(Family):
    name = "pool"
    kinds = frozenset(
        {"max_pool", "avg_pool", "global_avg_pool", "global_max_pool", "adaptive_avg_pool", "adaptive_max_pool"}
    )

    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        (step,) = steps
        without_residual(step)
        return [Form(self._work(step, storage), {"x": step.inputs[0], "y": step.output})]

    def _work(self, step: Step, storage: str) -> Work:
        layer, activation = step.layer, function_of(step.activation)
        x, y = view(step.inputs[0], storage), view(step.output, storage)
        if isinstance(layer, GlobalAvgPool | GlobalMaxPool):
            flat(step.output)
            if activation is not None:
                raise ValueError("an activation behind a global pool")
            maximum = isinstance(layer, GlobalMaxPool)
            return pool.sums(x, maximum=maximum, factor=1.0 if maximum else 1 / x.positions, dtype=storage)
        if len(step.inputs[0].type.spatial) > 2:
            raise ValueError("more than two spatial axes")
        if isinstance(layer, AdaptivePool):
            return pool.adaptive(x, y, maximum=isinstance(layer, AdaptiveMaxPool), activation=activation)
        assert isinstance(layer, Pool)
        return pool.slide(
            x, y, Window.of(layer.slides(step.inputs[0].type)),
            maximum=isinstance(layer, MaxPool), include_pad=counts_padding(layer), activation=activation,
        )  # fmt: skip


CANDIDATE = Pools()
