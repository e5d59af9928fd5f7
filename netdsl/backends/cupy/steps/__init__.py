"""The plain form of every step, in the array library: always right, and what faster kernels are measured against.

Numbers are read from the arena as they are stored, computed in float32, and rounded once on their way back.
"""

from __future__ import annotations

from collections.abc import Callable

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.steps import conv, depthwise, pointwise, pool
from netdsl.backends.cupy.steps.layer import by_layer
from netdsl.layers.activation import Activation, Prelu
from netdsl.program.ir import Step

Form = Callable[[Step, Context], Launch]

FORMS: dict[str, Form] = {
    "conv": conv.conv,
    "depthwise_conv": depthwise.depthwise,
    "dense": conv.dense,
    "max_pool": pool.pool,
    "avg_pool": pool.pool,
    "global_avg_pool": pool.global_avg_pool,
    "global_max_pool": pool.global_max_pool,
    "adaptive_avg_pool": pool.adaptive_pool,
    "adaptive_max_pool": pool.adaptive_pool,
    "add": pointwise.join,
    "multiply": pointwise.join,
    "subtract": pointwise.join,
    "maximum": pointwise.join,
    "minimum": pointwise.join,
    "average": pointwise.join,
    "concat": pointwise.concat,
    "affine": pointwise.affine,
    "channel_shuffle": pointwise.channel_shuffle,
    "layer_norm": pointwise.layer_norm,
}
"""The form of each kind of layer; what is not here runs by the layer's own forward. A form raises ValueError for what
it does not know."""


def plain(step: Step, context: Context) -> Launch:
    """The plain form of a step."""
    form = FORMS.get(step.kernel)
    if form is None and isinstance(step.layer, Activation) and not isinstance(step.layer, Prelu):
        form = pointwise.activation
    if form is not None:
        try:
            return form(step, context)
        except ValueError:
            pass
    return by_layer(step, context)
