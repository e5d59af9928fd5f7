"""Any layer, by its own forward."""

from __future__ import annotations

from typing import Any

from netdsl.backends.cupy.axes import channels_first, channels_last
from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.steps.ending import FLOAT, ending, single
from netdsl.backends.cupy.steps.products import Products
from netdsl.ir.layer import Array
from netdsl.program.ir import Step


def by_layer(step: Step, context: Context) -> Launch:
    """The layer's own `forward` in float32, on copies that lie as it expects them."""
    xp, layer = Products(context.device, context.precision.tf32), step.layer
    views = [channels_first(context.view(tensor)) for tensor in step.inputs]
    end = ending(step, context, biased=False)
    weights = {name: _weight(context, step, name) for name in step.weights}

    def run() -> None:
        # A layer may return a view of what it is given, which the ending would write over.
        arrays = [single(view).copy() for view in views]
        end.finish(channels_last(single(layer.forward(xp, arrays, weights))))

    return Launch("layer", run)


def _weight(context: Context, step: Step, name: str) -> Any:
    def make() -> Array:
        return step.weights[name]

    return context.packed(step, f"layer {name}", make, FLOAT)
