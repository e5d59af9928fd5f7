"""Pools: the rows of a window first, then its columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.backends.numpy.blocks import NARROW_BYTES, Task, axes, strip
from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.epilogue import call
from netdsl.backends.numpy.memory import Array
from netdsl.layers.adaptive_pool import bins
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.program.ir import Step


def pool(step: Step, context: Context) -> tuple[str, list[Task]]:
    """Maximum or mean of windows. Raises ValueError for more than two spatial axes."""
    layer = step.layer
    assert isinstance(layer, MaxPool | AvgPool)
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    slides = layer.slides(step.inputs[0].type)
    height, width = axes(slides)
    largest = isinstance(layer, MaxPool)
    combine: Any = np.maximum if largest else np.add
    border = -np.inf if largest else 0.0
    divisor = None if isinstance(layer, MaxPool) else _divisor(layer, step)
    c = x.shape[3]
    tasks: list[Task] = []
    for block in context.blocks(
        x.shape[0], height.o, 4 * c * (width.reach * (1 + height.s) + width.o), 2 * NARROW_BYTES
    ):
        scratch = context.scratch
        scratch.restart()
        part = strip(x, block, height, width, scratch, border)
        if part.fill is not None:
            tasks.append(part.fill)
        source = part.array
        lines = [
            source[:, i * height.d : i * height.d + (block.rows - 1) * height.s + 1 : height.s] for i in range(height.f)
        ]
        along = scratch.take(*lines[0].shape) if height.f > 1 else lines[0]
        if height.f > 1:
            tasks.append(_reduce(combine, lines, along))
        target = y[block.n0 : block.n1, block.r0 : block.r1]
        cells = [along[:, :, j * width.d : j * width.d + (width.o - 1) * width.s + 1 : width.s] for j in range(width.f)]
        tasks.append(_reduce(combine, cells, target))
        if divisor is not None:
            rows = divisor if divisor.ndim == 0 else divisor[block.r0 : block.r1]
            tasks.append(call(np.multiply, target, rows, target))
    return ("row maxima" if largest else "row sums"), tasks


def _reduce(combine: Any, parts: list[Array], out: Array) -> Task:
    def run() -> None:
        if len(parts) == 1:
            np.copyto(out, parts[0])
            return
        combine(parts[0], parts[1], out=out)
        for part in parts[2:]:
            combine(out, part, out=out)

    return run


def _divisor(layer: AvgPool, step: Step) -> Array:
    """One over how many positions of each window count: one number, or (o, o, 1)."""
    counts = np.ones((1, 1, 1), np.float64)
    slides = layer.slides(step.inputs[0].type)
    for axis, slide in enumerate(slides, start=2 - len(slides)):
        shape = [1, 1, 1]
        shape[axis] = -1
        counts = counts * np.asarray(layer.counts(slide), np.float64).reshape(shape)
    height, width = axes(slides)
    inverse = np.broadcast_to(1 / counts, (height.o, width.o, 1)).astype(np.float32)
    return inverse if (inverse != inverse[0, 0, 0]).any() else inverse[0, 0, 0].reshape(())


def global_avg_pool(step: Step, context: Context) -> tuple[str, list[Task]]:
    """A product with a row of 1 / positions for each image."""
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    n, h, w, c = x.shape
    flat = x.reshape(n, h * w, c)
    if not np.may_share_memory(flat, x):
        raise ValueError("positions do not follow each other at one distance")
    row = np.full((1, h * w), 1 / (h * w), np.float32)
    out = y[:, 0]
    return "matmul", [call(np.matmul, row, flat, out)]


def global_max_pool(step: Step, context: Context) -> tuple[str, list[Task]]:
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    out = y[:, 0, 0]
    return "maximum", [lambda: _max(x, out)]


def _max(x: Array, out: Array) -> None:
    np.max(x, axis=(1, 2), out=out)


def adaptive_pool(step: Step, context: Context) -> tuple[str, list[Task]]:
    """Each window by itself: there are few."""
    x, y = context.maps(step.inputs[0]), context.maps(step.output)
    function: Any = np.mean if step.layer.kind == "adaptive_avg_pool" else np.max
    windows = [
        (x[:, top:bottom, left:right], y[:, row, column])
        for row, (top, bottom) in enumerate(bins(x.shape[1], y.shape[1]))
        for column, (left, right) in enumerate(bins(x.shape[2], y.shape[2]))
    ]

    def run() -> None:
        for source, target in windows:
            function(source, axis=(1, 2), out=target)

    return "windows", [run]
