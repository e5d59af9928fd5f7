"""Pools: one tap of the window after the other, over whole maps."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.steps.ending import FLOAT, ending, single
from netdsl.backends.cupy.steps.windows import needed, parts, rows_of, together, windows
from netdsl.ir.layer import Array
from netdsl.layers.adaptive_pool import bins
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.program.ir import Step


def pool(step: Step, context: Context) -> Launch:
    """Maximum or mean of windows."""
    layer = step.layer
    assert isinstance(layer, MaxPool | AvgPool)
    xp, x, end = context.xp, context.view(step.inputs[0]), ending(step, context)
    channels = x.shape[-1]
    found = windows(layer.slides(step.inputs[0].type), channels)
    largest = isinstance(layer, MaxPool)
    combine: Any = xp.maximum if largest else xp.add
    divisor = None
    if isinstance(layer, AvgPool):
        divisor = context.packed(step, f"divisor {found.axes}", lambda: _divisor(layer, step), FLOAT)
    images, output = x.shape[0], (*found.outputs, channels)
    at_a_time = together(images, (prod(found.reach) * channels + prod(output), 4))
    context.workspace.need(needed((4, (at_a_time, *found.reach, channels)), (4, (at_a_time, *output))))

    def run() -> None:
        for part in parts(images, at_a_time):
            count = part.stop - part.start
            room, total = context.workspace.take(FLOAT, (count, *found.reach, channels), (count, *output))
            first = True
            for _, seen in found.taps(found.bordered(context, x[part], room, -np.inf if largest else 0.0)):
                if first:
                    total[...] = seen
                else:
                    combine(total, seen, out=total)
                first = False
            if divisor is not None:
                xp.multiply(total, divisor, out=total)
            end.finish(total, part)

    return Launch("maxima of taps" if largest else "sums of taps", run)


def _divisor(layer: AvgPool, step: Step) -> Array:
    """One over how many positions of each window count: (*o, 1)."""
    slides = layer.slides(step.inputs[0].type)
    counts = np.ones((1,) * len(slides))
    for axis, slide in enumerate(slides):
        shape = [1] * len(slides)
        shape[axis] = -1
        counts = counts * np.asarray(layer.counts(slide), np.float64).reshape(shape)
    return (1 / counts)[..., None]


def global_avg_pool(step: Step, context: Context) -> Launch:
    """A product with a row of ones for each image. Raises ValueError where positions do not lie at one distance."""
    xp, device, x, end = context.xp, context.device, context.view(step.inputs[0]), ending(step, context)
    images, channels, positions = x.shape[0], x.shape[-1], prod(x.shape[1:-1])
    if x.ndim < 3 or rows_of(xp, x[0]) is None:
        raise ValueError("positions do not follow each other at one distance")
    flat = xp.lib.stride_tricks.as_strided(
        x, (images, positions, channels), (x.strides[0], x.strides[-2], x.strides[-1])
    )
    row = context.packed(step, f"ones {positions}", lambda: np.ones((1, 1, positions), np.float32))
    ones = xp.lib.stride_tricks.as_strided(row, (images, 1, positions), (0, row.strides[1], row.strides[2]))
    context.workspace.need(needed((4, (images, 1, channels))))

    def run() -> None:
        (total,) = context.workspace.take(FLOAT, (images, 1, channels))
        device.matmul(ones, flat, total)
        xp.multiply(total, np.float32(1 / positions), out=total)
        end.finish(total.reshape(end.y.shape))

    return Launch("matmul with ones", run)


def global_max_pool(step: Step, context: Context) -> Launch:
    """The largest number of each channel."""
    xp, x, end = context.xp, context.view(step.inputs[0]), ending(step, context)
    spatial = tuple(range(1, x.ndim - 1))

    def run() -> None:
        end.finish(xp.max(single(x), axis=spatial).reshape(end.y.shape))

    return Launch("maximum", run)


def adaptive_pool(step: Step, context: Context) -> Launch:
    """Each window by itself: there are few."""
    xp, x, end = context.xp, context.view(step.inputs[0]), ending(step, context)
    function: Any = xp.mean if step.layer.kind == "adaptive_avg_pool" else xp.max
    spatial = tuple(range(1, x.ndim - 1))
    found = [bins(x.shape[axis], end.y.shape[axis]) for axis in spatial]
    places = [
        (tuple(slice(*edges) for edges in window), index)
        for window, index in zip(product(*found), product(*(range(len(axis)) for axis in found)), strict=True)
    ]

    def run() -> None:
        for window, index in places:
            made = function(single(x[(slice(None), *window)]), axis=spatial)
            end.finish(made, (slice(None), *index))

    return Launch("windows", run)
