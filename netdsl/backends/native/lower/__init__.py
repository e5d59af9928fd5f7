"""From a step of a Program to native steps: a function for each kind of layer.

It raises NoKernelError where there is no kernel for a step; the layer's own `forward` computes it then.
"""

from __future__ import annotations

from collections.abc import Callable

from netdsl.backends.native.lower import channels, conv, pointwise, pool
from netdsl.backends.native.lower.context import Context, NoKernelError
from netdsl.backends.native.steps.step import NativeStep
from netdsl.layers.activation import LAYERS as ACTIVATIONS
from netdsl.program.ir import Step

Lowering = Callable[[Step, Context], list[NativeStep]]

_JOINS = ("add", "multiply", "subtract", "maximum", "minimum", "average")
_AFFINE = ("batch_norm", "affine", "layer_scale", "scale", "shift")
_GLOBAL = ("global_avg_pool", "global_max_pool", "adaptive_avg_pool", "adaptive_max_pool")

LOWERINGS: dict[str, Lowering] = {
    "conv": conv.lower_conv,
    "depthwise_conv": conv.lower_conv,
    "dense": conv.lower_dense,
    "max_pool": pool.lower_max_pool,
    "avg_pool": pool.lower_avg_pool,
    **dict.fromkeys(_GLOBAL, pool.lower_global_pool),
    **{layer.kind: pointwise.lower_activation for layer in ACTIVATIONS},
    **dict.fromkeys(_JOINS, pointwise.lower_join),
    **dict.fromkeys(_AFFINE, pointwise.lower_affine),
    "layer_norm": channels.lower_layer_norm,
    "softmax": channels.lower_softmax,
    "channel_shuffle": channels.lower_shuffle,
    "flatten": channels.lower_flatten,
    "decimate": pool.lower_decimate,
    "prelu": pointwise.lower_prelu,
    "concat": pointwise.lower_concat,
    "identity": pointwise.lower_copy,
}
"""By the kind of the layer. What is not here has no native kernel."""


def lower(step: Step, context: Context) -> list[NativeStep]:
    """The native steps of one step. Raises NoKernelError."""
    lowering = LOWERINGS.get(step.kernel)
    if lowering is None:
        raise NoKernelError(f"no kernel for {step.kernel}")
    return lowering(step, context)


__all__ = ["Context", "NoKernelError", "lower"]
