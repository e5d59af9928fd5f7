"""Layers of one element, joins, and those that work along the channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.backends.numpy.blocks import BLOCK_BYTES, Task
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.epilogue import activate, call, copy, epilogue, rows_of
from netdsl.backends.numpy.memory import Array, channels_first, channels_last
from netdsl.layers.channels import ChannelShuffle
from netdsl.layers.norm import LayerNorm
from netdsl.layers.scale import Affine
from netdsl.program.ir import Step, lanes_to_copy

_JOINS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "multiply": np.multiply,
    "subtract": np.subtract,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "average": np.add,
}


def join(step: Step, context: Context) -> tuple[str, list[Task]]:
    """Lane after lane, a block of rows at a time."""
    y = context.maps(step.output)
    lanes = [context.maps(tensor) for tensor in step.inputs]
    if len(lanes) < 2:
        raise ValueError("one lane")
    function = _JOINS[step.layer.kind]
    average = np.float32(1 / len(lanes)) if step.layer.kind == "average" else None
    tasks: list[Task] = []
    for block in context.blocks(y.shape[0], y.shape[1], 4 * y.shape[2] * y.shape[3] * (1 + len(lanes)), BLOCK_BYTES):
        context.scratch.restart()
        place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
        parts = [lane[block.n0 : block.n1] if lane.shape[1] == 1 else lane[place] for lane in lanes]
        target = y[place]
        tasks.append(_join(function, parts, target, average))
        tasks += epilogue(target, target, None, None, step.activation, context.scratch)
    return "lanes", tasks


def _join(function: Callable[..., Any], parts: list[Array], out: Array, factor: Any) -> Task:
    def run() -> None:
        function(parts[0], parts[1], out=out)
        for part in parts[2:]:
            function(out, part, out=out)
        if factor is not None:
            np.multiply(out, factor, out=out)

    return run


def activation(step: Step, context: Context) -> tuple[str, list[Task]]:
    """In place, or into a copy."""
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    tasks: list[Task] = []
    for block in context.blocks(y.shape[0], y.shape[1], 4 * y.shape[2] * y.shape[3] * 2, BLOCK_BYTES):
        context.scratch.restart()
        place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
        tasks += activate(x[place], y[place], step.layer, context.scratch)
    return "rows", tasks


def affine(step: Step, context: Context) -> tuple[str, list[Task]]:
    """A product and a sum along rows. Raises ValueError for numbers of the spec."""
    layer = step.layer
    assert isinstance(layer, Affine)
    scale, shift = step.weights.get("weight"), step.weights.get("bias")
    if (scale is None) != (layer.scale is False) or (shift is None) != (layer.shift is False):
        raise ValueError("numbers of the spec")
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    tasks: list[Task] = []
    for block in context.blocks(y.shape[0], y.shape[1], 4 * y.shape[2] * y.shape[3] * 2, BLOCK_BYTES):
        context.scratch.restart()
        place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
        target = y[place]
        source, flat = rows_of(x[place], target)
        repeat = flat.shape[-1] // y.shape[3]
        factor = np.tile(scale, repeat) if scale is not None else np.ones(flat.shape[-1], np.float32)
        tasks.append(call(np.multiply, source, factor, flat))
        tasks += epilogue(target, target, shift, None, step.activation, context.scratch)
    return "rows", tasks


def concat(step: Step, context: Context) -> tuple[str, list[Task]]:
    """Copies the lanes that do not lie in place."""
    pairs = [(context.view(source), context.view(target)) for source, target in lanes_to_copy(step)]
    return f"copy of {len(pairs)}", [copy(target, source) for source, target in pairs]


def channel_shuffle(step: Step, context: Context) -> tuple[str, list[Task]]:
    layer = step.layer
    assert isinstance(layer, ChannelShuffle)
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    g, c = layer.groups, x.shape[3]
    # (N, H, W, g, C / g) -> (N, H, W, C / g, g)
    source = _split(x, g).swapaxes(3, 4)
    target = _split(y, c // g)
    return "turned copy", [copy(target, source)]


def _split(x: Array, parts: int) -> Array:
    """(N, H, W, C) as (N, H, W, parts, C / parts): a view, whatever the strides in front."""
    each = x.shape[3] // parts
    return np.lib.stride_tricks.as_strided(x, (*x.shape[:3], parts, each), (*x.strides[:3], 4 * each, 4))


def layer_norm(step: Step, context: Context) -> tuple[str, list[Task]]:
    """Mean and variance along the last axis, a block of rows at a time."""
    layer = step.layer
    assert isinstance(layer, LayerNorm)
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    scale, shift = step.weights.get("weight"), step.weights.get("bias")
    tasks: list[Task] = []
    for block in context.blocks(y.shape[0], y.shape[1], 4 * y.shape[2] * y.shape[3] * 3, BLOCK_BYTES):
        context.scratch.restart()
        place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
        part = y[place]
        squares = context.scratch.take(*part.shape)
        tasks.append(_normalise(x[place], part, squares, layer.eps, scale))
        tasks += epilogue(part, part, shift, None, step.activation, context.scratch)
    return "rows", tasks


def _normalise(x: Array, y: Array, squares: Array, eps: float, scale: Array | None) -> Task:
    def run() -> None:
        mean = x.mean(axis=-1, keepdims=True)
        np.subtract(x, mean, out=y)
        np.multiply(y, y, out=squares)
        deviation = np.sqrt(squares.mean(axis=-1, keepdims=True) + np.float32(eps))
        np.divide(y, deviation, out=y)
        if scale is not None:
            np.multiply(y, scale, out=y)

    return run


def fallback(step: Step, context: Context) -> tuple[str, list[Task]]:
    """Any layer, by its own `forward`."""
    views = [channels_first(context.view(tensor)) for tensor in step.inputs]
    y = context.view(step.output)
    weights = dict(step.weights)
    layer = step.layer

    def run() -> None:
        # A layer may return a view of its input, or be slow on memory that is turned around.
        made = layer.forward(np, [np.ascontiguousarray(view) for view in views], weights)
        np.copyto(y, channels_last(np.asarray(made, np.float32)))

    residual = None if step.residual is None else context.view(step.residual)
    context.scratch.restart()
    return "layer", [run, *epilogue(y, y, None, residual, step.activation, context.scratch)]
