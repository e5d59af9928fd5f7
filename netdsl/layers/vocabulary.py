"""The vocabulary: every layer that a spec can name.

A new layer is a class in one of these modules, listed in its `LAYERS`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from netdsl.ir.layer import Layer
from netdsl.layers import (
    activation,
    adaptive_pool,
    arithmetic,
    conv,
    conv_transpose,
    dense,
    input,
    join,
    lenet,
    matmul,
    norm,
    pad,
    pool,
    reduce,
    regularisation,
    resample,
    reshape,
    response_norm,
    scale,
    std_conv,
)

_MODULES: tuple[tuple[type[Layer], ...], ...] = (
    input.LAYERS,
    conv.LAYERS,
    std_conv.LAYERS,
    conv_transpose.LAYERS,
    dense.LAYERS,
    pool.LAYERS,
    adaptive_pool.LAYERS,
    norm.LAYERS,
    response_norm.LAYERS,
    activation.LAYERS,
    arithmetic.LAYERS,
    reduce.LAYERS,
    join.LAYERS,
    matmul.LAYERS,
    reshape.LAYERS,
    pad.LAYERS,
    resample.LAYERS,
    scale.LAYERS,
    regularisation.LAYERS,
    lenet.LAYERS,
)

LAYERS: dict[str, type[Layer]] = {cls.kind: cls for module in _MODULES for cls in module}
"""Every layer by the name it has in a spec."""


OTHER_NAMES = {
    "linear": "dense", "fc": "dense", "fully_connected": "dense", "conv2d": "conv", "conv1d": "conv", "conv3d": "conv",
    "convolution": "conv", "deconv": "conv_transpose", "conv2d_transpose": "conv_transpose", "dwconv": "depthwise_conv",
    "bn": "batch_norm", "batchnorm": "batch_norm", "batch_norm2d": "batch_norm", "ln": "layer_norm", "gn": "group_norm",
    "lrn": "local_response_norm", "maxpool": "max_pool", "max_pool2d": "max_pool", "avgpool": "avg_pool",
    "average_pool": "avg_pool", "mean_pool": "avg_pool", "gap": "global_avg_pool", "global_pool": "global_avg_pool",
    "global_average_pool": "global_avg_pool", "adaptive_pool": "adaptive_avg_pool", "swish": "silu",
    "hswish": "hard_swish", "h_swish": "hard_swish", "hardswish": "hard_swish", "hsigmoid": "hard_sigmoid",
    "hardsigmoid": "hard_sigmoid", "leakyrelu": "leaky_relu", "lrelu": "leaky_relu", "logistic": "sigmoid",
    "drop": "dropout", "drop_path": "stochastic_depth", "droppath": "stochastic_depth", "cat": "concat",
    "concatenate": "concat", "sum": "add", "plus": "add", "mul": "multiply", "times": "multiply", "sub": "subtract",
    "mean": "average", "max": "maximum", "min": "minimum", "upsampling": "upsample", "resize": "upsample",
    "interpolate": "upsample", "pixel_shuffle": "depth_to_space", "pixel_unshuffle": "space_to_depth",
    "shuffle": "channel_shuffle", "narrow": "slice", "chunk": "split", "view": "reshape", "transpose": "permute",
    "skip": "identity", "noop": "identity", "zero_pad": "pad", "padding": "pad", "gray": "grayscale",
    "mm": "matmul", "bmm": "matmul", "dot": "matmul", "div": "divide", "pow": "power", "clamp": "clip",
    "gem": "gem_pool", "grn": "global_response_norm", "rmsnorm": "rms_norm", "l2_normalize": "l2_norm",
    "rezero": "scalar", "skipinit": "scalar", "wsconv": "std_conv", "stdconv2d": "std_conv",
    "scaledstdconv2d": "scaled_std_conv",
}  # fmt: skip
"""What other frameworks and the papers call a layer: for suggestions only."""


def layer(name: str) -> type[Layer]:
    """The layer that a spec calls `name`. Raises KeyError."""
    return LAYERS[name]


@cache
def option_words() -> frozenset[str]:
    """The words that some attribute takes for a value (`same`, `bilinear`), which a spec may write without quotes."""
    return frozenset(word for cls in LAYERS.values() for words in option_words_of(cls).values() for word in words)


@cache
def option_words_of(model: type[BaseModel]) -> dict[str, frozenset[str]]:
    """The words that each attribute of a layer (or of another model) takes for a value."""
    found = {name: frozenset(_words(field.annotation)) for name, field in model.model_fields.items()}
    return {name: words for name, words in found.items() if words}


def _words(annotation: Any) -> set[str]:
    """The strings in the Literals of an annotation, however deep."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return {word for word in arguments if isinstance(word, str)}
    return {word for argument in arguments for word in _words(argument)}
