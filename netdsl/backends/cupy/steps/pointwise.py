"""Layers of one element, joins, and those that work along the channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.steps.ending import FLOAT, activated, ending, single
from netdsl.layers.channels import ChannelShuffle
from netdsl.layers.norm import LayerNorm
from netdsl.layers.scale import Affine
from netdsl.program.ir import Step, lanes_to_copy

_JOINS = {
    "add": "add",
    "multiply": "multiply",
    "subtract": "subtract",
    "maximum": "maximum",
    "minimum": "minimum",
    "average": "add",
}


def join(step: Step, context: Context) -> Launch:
    """Lane after lane. Raises ValueError for one lane."""
    xp, end = context.xp, ending(step, context)
    if len(step.inputs) < 2:
        raise ValueError("one lane")
    lanes = [_of_rank(context.view(tensor), end.y.ndim) for tensor in step.inputs]
    function: Any = getattr(xp, _JOINS[step.layer.kind])
    factor = np.float32(1 / len(lanes)) if step.layer.kind == "average" else None

    def run() -> None:
        made = function(single(lanes[0]), single(lanes[1]))
        for lane in lanes[2:]:
            made = function(made, single(lane))
        if factor is not None:
            xp.multiply(made, factor, out=made)
        end.finish(made)

    return Launch("lanes", run)


def _of_rank(view: Any, rank: int) -> Any:
    """With axes of one position behind the batch, until there are `rank`."""
    while view.ndim < rank:
        view = view[:, None]
    return view


def activation(step: Step, context: Context) -> Launch:
    xp, x, end = context.xp, context.view(step.inputs[0]), ending(step, context, biased=False)
    layer = step.layer

    def run() -> None:
        end.finish(activated(xp, single(x), layer))

    return Launch("elements", run)


def affine(step: Step, context: Context) -> Launch:
    """A product and a sum. Raises ValueError for numbers of the spec."""
    layer = step.layer
    assert isinstance(layer, Affine)
    has_scale, has_shift = "weight" in step.weights, "bias" in step.weights
    if has_scale == (layer.scale is False) or has_shift == (layer.shift is False):
        raise ValueError("numbers of the spec")
    xp, x, end = context.xp, context.view(step.inputs[0]), ending(step, context)
    scale = context.packed(step, "scale", lambda: step.weights["weight"], FLOAT) if has_scale else np.float32(1)

    def run() -> None:
        end.finish(xp.multiply(single(x), scale))

    return Launch("elements", run)


def concat(step: Step, context: Context) -> Launch:
    """Copies the lanes that do not lie in place."""
    pairs = [(context.view(source), context.view(target)) for source, target in lanes_to_copy(step)]

    def run() -> None:
        for source, target in pairs:
            target[...] = source

    return Launch(f"copy of {len(pairs)}", run)


def channel_shuffle(step: Step, context: Context) -> Launch:
    """(..., g, C / g) as (..., C / g, g)"""
    layer = step.layer
    assert isinstance(layer, ChannelShuffle)
    xp, x, y = context.xp, context.view(step.inputs[0]), context.view(step.output)
    each = x.shape[-1] // layer.groups
    source = _split(xp, x, layer.groups).swapaxes(-1, -2)
    target = _split(xp, y, each)

    def run() -> None:
        target[...] = source

    return Launch("turned copy", run)


def _split(xp: Any, x: Any, parts: int) -> Any:
    """(..., C) as (..., parts, C / parts): a view, whatever the strides in front."""
    each, item = x.shape[-1] // parts, x.strides[-1]
    return xp.lib.stride_tricks.as_strided(x, (*x.shape[:-1], parts, each), (*x.strides[:-1], each * item, item))


def layer_norm(step: Step, context: Context) -> Launch:
    """Mean and variance along the channels."""
    layer = step.layer
    assert isinstance(layer, LayerNorm)
    xp, x, end = context.xp, context.view(step.inputs[0]), ending(step, context)
    scale = None
    if "weight" in step.weights:
        scale = context.packed(step, "scale", lambda: step.weights["weight"], FLOAT)

    def run() -> None:
        numbers = single(x)
        centred = numbers - numbers.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        made = centred / xp.sqrt(variance + np.float32(layer.eps))
        if scale is not None:
            xp.multiply(made, scale, out=made)
        end.finish(made)

    return Launch("rows", run)
