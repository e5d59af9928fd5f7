"""From a step of a Program to native steps: a function for each kind of layer.

It raises NoKernelError where there is no kernel for a step; the layer's own `forward` computes it then.
"""

from __future__ import annotations

from netdsl.backends.native.lower import (
    along,
    bins,
    channels,
    conv,
    elements,
    move,
    norms,
    pool,
    resample,
    sums,
    transposed,
    volume,
)
from netdsl.backends.native.lower.context import Context, NoKernelError
from netdsl.backends.native.lower.fitting import Lowering, of_planes, of_positions, without_gaps
from netdsl.backends.native.steps.step import NativeStep
from netdsl.layers.activation import LAYERS as ACTIVATIONS
from netdsl.program.ir import Step

_JOINS = ("add", "multiply", "subtract", "divide", "maximum", "minimum", "average", "magnitude")
_AFFINE = ("batch_norm", "affine", "layer_scale", "scale", "shift", "scalar")
_ALONG = ("softmax", "log_softmax")
_FUNCTIONS = ("abs", "square", "sqrt", "exp", "power", "clip")

_ALIKE: dict[str, Lowering] = {
    **{layer.kind: elements.lower_activation for layer in ACTIVATIONS if layer.kind not in _ALONG},
    **dict.fromkeys(_JOINS, elements.lower_join),
    **dict.fromkeys(_AFFINE, elements.lower_affine),
    **dict.fromkeys(_FUNCTIONS, elements.lower_function),
    **dict.fromkeys(("global_avg_pool", "global_max_pool"), pool.lower_global_pool),
    "prelu": elements.lower_prelu,
    **dict.fromkeys(("identity", "dropout", "stochastic_depth"), elements.lower_copy),
    "layer_norm": channels.lower_layer_norm,
    "rms_norm": norms.lower_rms_norm,
    "local_response_norm": norms.lower_response_norm,
    "group_norm": norms.lower_group_norm,
    "instance_norm": norms.lower_group_norm,
    "global_response_norm": norms.lower_global_response_norm,
    "sum_groups": along.lower_sum_groups,
    "grayscale": sums.lower_grayscale,
}
"""Layers that treat all positions alike, or all together: any number of spatial axes."""

LOWERINGS: dict[str, Lowering] = {
    "conv": of_planes(conv.lower_conv, volume.lower_conv),
    "depthwise_conv": of_planes(conv.lower_conv, volume.lower_conv),
    "conv_transpose": transposed.lower_conv_transpose,
    "dense": sums.lower_dense,
    "rbf": sums.lower_rbf,
    "max_pool": of_planes(pool.lower_max_pool, volume.lower_pool),
    "avg_pool": of_planes(pool.lower_avg_pool, volume.lower_pool),
    "gem_pool": sums.lower_gem_pool,
    "adaptive_avg_pool": bins.lower_adaptive_pool,
    "adaptive_max_pool": bins.lower_adaptive_pool,
    "subsample": sums.lower_subsample,
    "softmax": along.lower_softmax,
    "log_softmax": along.lower_log_softmax,
    "l2_norm": along.lower_l2_norm,
    "reduce": along.lower_reduce,
    "channel_shuffle": move.lower_shuffle,
    "concat": move.lower_concat,
    "flatten": move.lower_flatten,
    "reshape": move.lower_reshape,
    "permute": move.lower_permute,
    "pad": move.lower_pad,
    "crop": move.lower_crop,
    "crop_like": move.lower_crop,
    "decimate": move.lower_decimate,
    "pad_channels": move.lower_pad_channels,
    "space_to_depth": move.lower_blocks,
    "depth_to_space": move.lower_blocks,
    "upsample": resample.lower_resampling,
    "upsample_like": resample.lower_resampling,
    **{kind: of_positions(lowering) for kind, lowering in _ALIKE.items()},
}
"""By the kind of the layer. What is not here has no native kernel."""


def lower(step: Step, context: Context) -> list[NativeStep]:
    """The native steps of one step. Raises NoKernelError."""
    lowering = LOWERINGS.get(step.kernel)
    if lowering is None:
        raise NoKernelError(f"no kernel for {step.kernel}")
    if not type(step.layer).__module__.startswith("netdsl."):
        raise NoKernelError(f"a {step.kernel} from elsewhere")  # which may compute something else
    return without_gaps(lowering)(step, context)


__all__ = ["Context", "NoKernelError", "lower"]
