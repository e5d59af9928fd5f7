"""Convolution and dense layers as matrix products, both directions; plain forms.

* forward: windows of x, laid out as rows (im2col), times the weights;
* d(x): tap after tap, d(y) times the weights of the tap, added where the tap reads;
* d(weight): windows of x, laid out again, transposed, times d(y).

Groups are computed one after the other, depthwise convolutions (a channel a group) tap by tap, number by number.

Legend: N images, C channels, K filters, G groups, o extents of the output, f of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from netdsl.backends.cupy.steps.windows import Windows, parts, together, windows
from netdsl.backends.cupy.training.bench import FLOAT, Bench, Work, put, single
from netdsl.backends.cupy.training.pointwise import activated, before_activation
from netdsl.layers.conv import Convolution
from netdsl.layers.dense import Dense
from netdsl.layers.sizes import Slide
from netdsl.program.training.ir import Backward, Forward


def knows(step: Forward) -> bool:
    """Whether these forms compute a layer: nothing that only the layer itself knows."""
    layer = step.layer
    if isinstance(layer, Dense):
        return layer.axis in (None, 0, "channels") and isinstance(layer.bias, bool)
    if not isinstance(layer, Convolution):
        return False
    return layer.padding_mode == "zeros" and not layer.flip_kernel and getattr(layer, "connections", None) is None


class Shape(NamedTuple):
    """How the windows of a layer lie."""

    windows: Windows
    groups: int
    filters: int

    @property
    def channels(self) -> int:
        """Of a group."""
        return self.windows.channels // self.groups

    @property
    def depthwise(self) -> bool:
        return self.channels == 1 and self.groups > 1


def shape_of(step: Forward) -> Shape:
    layer, x = step.layer, step.inputs[0]
    channels = x.shape[-1]
    if isinstance(layer, Convolution):
        slides = layer.slides(x.type)
        groups = getattr(layer, "groups", channels)
    else:
        slides = tuple(Slide(extent, 1, 1, 1, 0, 0, extent) for extent in x.shape[1:-1])
        groups = 1
    return Shape(windows(slides, channels), groups, step.output.shape[-1])


def forward(step: Forward, bench: Bench) -> Work:
    found, x, y = shape_of(step), bench.view(step.inputs[0]), bench.view(step.output)
    xp, activation = bench.xp, step.activation
    bias = bench.weight(step, "bias") if "bias" in step.weights else None
    weight = _taps(step, bench, found)

    def run() -> None:
        for part, seen in _seen(bench, found, x):
            made = _depthwise(xp, found, seen, weight) if found.depthwise else _products(bench, found, seen, weight)
            if bias is not None:
                made = made + bias
            y[part] = activated(xp, made.reshape(y[part].shape), activation)

    work = Work()
    work.then("depthwise taps" if found.depthwise else "im2col", run)
    return work


def _taps(step: Forward, bench: Bench, found: Shape) -> Any:
    """The weights (K, C / G, *f) as (G, prod(f), C / G, K / G); those of a depthwise convolution in float32."""
    count = prod(found.windows.extents)
    shape = (found.groups, found.filters // found.groups, found.channels, count)

    def turned(weight: Any) -> Any:
        return weight.reshape(shape).transpose(0, 3, 2, 1)

    return bench.stored(step, "weight", "taps", turned, FLOAT if found.depthwise else None)


def _seen(bench: Bench, found: Shape, x: Any) -> Iterator[tuple[slice, Any]]:
    """A part of the batch after the other, and its windows (n, *o, *f, C): a view of a copy with a border."""
    size = bench.dtype.itemsize
    o, reach = prod(found.windows.outputs), prod(found.windows.reach)
    columns = prod(found.windows.extents) * found.windows.channels * o
    for part in parts(len(x), together(len(x), (columns, size), (reach * x.shape[-1], size))):
        room = bench.xp.empty((part.stop - part.start, *found.windows.reach, x.shape[-1]), bench.dtype)
        bordered = found.windows.bordered(bench.context, x[part], room, 0.0)
        yield part, found.windows.view(bench.xp, bordered)


def _columns(xp: Any, found: Shape, seen: Any, group: int) -> Any:
    """(rows, prod(f) C / G) of a group."""
    channels = slice(group * found.channels, (group + 1) * found.channels)
    laid = xp.ascontiguousarray(seen[..., channels])
    return laid.reshape(-1, prod(found.windows.extents) * found.channels)


def _products(bench: Bench, found: Shape, seen: Any, weight: Any) -> Any:
    """(rows, K), float32."""
    xp, each = bench.xp, found.filters // found.groups
    made = []
    for group in range(found.groups):
        columns = _columns(xp, found, seen, group)
        out = xp.empty((len(columns), each), FLOAT)
        bench.device.matmul(columns, weight[group].reshape(-1, each), out, bench.precision.tf32)
        made.append(out)
    return made[0] if len(made) == 1 else xp.concatenate(made, axis=1)


def _tap_views(found: Shape, seen: Any) -> Iterator[tuple[int, Any]]:
    """Each tap and what it reads, (n, *o, C)."""
    extents = found.windows.extents
    lead = seen.ndim - len(extents) - 1
    for number, tap in enumerate(np.ndindex(*extents)):
        yield number, seen[(slice(None),) * lead + tap]


def _depthwise(xp: Any, found: Shape, seen: Any, weight: Any) -> Any:
    """(n, *o, K), float32: sums over taps."""
    total = None
    for number, x in _tap_views(found, seen):
        made = single(x)[..., None] * weight[:, number, 0]
        total = made if total is None else total + made
    assert total is not None
    return total.reshape(*total.shape[:-2], -1)


def backward(step: Backward, bench: Bench) -> Work:
    work = Work()
    dy = before_activation(step, bench, work)
    bias_gradient(step, bench, bench.rows(dy), work)
    found = shape_of(step.forward)
    if "weight" in step.wanted:
        _weight(step, bench, found, bench.view(dy), work)
    if step.dx[0] is not None:
        _input(step, bench, found, bench.view(dy), work)
    return work


def bias_gradient(step: Backward, bench: Bench, rows: Any, work: Work) -> None:
    """The sum of d(y) over all positions, as a product with a row of ones."""
    if "bias" not in step.wanted:
        return
    gradient, add = bench.gradient(step.forward, "bias"), "bias" in step.add_to
    total = column_sums(bench, rows)
    work.then("d bias", lambda: put(gradient, total(), add))


def column_sums(bench: Bench, rows: Any) -> Any:
    """What adds the rows (n, C) of a matrix of the stored type, or float32, up, in float32."""
    xp, device, count = bench.xp, bench.device, len(rows)
    with device.use():
        ones = xp.ones((1, count), FLOAT).astype(rows.dtype)

    def total() -> Any:
        out = xp.empty((1, rows.shape[1]), FLOAT)
        device.matmul(ones, rows, out)
        return out[0]

    return total


def _weight(step: Backward, bench: Bench, found: Shape, dy: Any, work: Work) -> None:
    ahead, xp, device = step.forward, bench.xp, bench.device
    x, add = bench.view(ahead.inputs[0]), "weight" in step.add_to
    gradient = bench.gradient(ahead, "weight")
    taps, each = prod(found.windows.extents), found.filters // found.groups
    shape = (found.groups, each, found.channels, taps)

    def part_of(part: slice, seen: Any) -> Any:
        """(G, prod(f), C / G, K / G)"""
        incoming = dy[part].reshape(-1, found.filters)
        if found.depthwise:
            ones = xp.ones((1, len(incoming)), FLOAT)
            wide = single(incoming).reshape(-1, found.groups, each)
            sums = []
            for _, one in _tap_views(found, seen):
                products = (single(one).reshape(-1, found.groups, 1) * wide).reshape(len(incoming), -1)
                out = xp.empty((1, found.filters), FLOAT)
                device.matmul(ones, products, out)
                sums.append(out.reshape(found.groups, 1, 1, each))
            return xp.concatenate(sums, axis=1)
        made = []
        for group in range(found.groups):
            columns = _columns(xp, found, seen, group)
            own = xp.ascontiguousarray(incoming[:, group * each : (group + 1) * each])
            out = xp.empty((columns.shape[1], each), FLOAT)
            device.matmul(columns.T, own, out, bench.precision.tf32)
            made.append(out.reshape(1, taps, found.channels, each))
        return xp.concatenate(made, axis=0)

    def run() -> None:
        total = None
        for part, seen in _seen(bench, found, x):
            made = part_of(part, seen)
            total = made if total is None else total + made
        assert total is not None
        put(gradient.reshape(shape), total.transpose(0, 3, 2, 1), add)

    work.then("d weight", run)


def _input(step: Backward, bench: Bench, found: Shape, dy: Any, work: Work) -> None:
    ahead, xp, device, dx = step.forward, bench.xp, bench.device, step.dx[0]
    assert dx is not None
    target, plus = bench.view(dx), None if step.plus[0] is None else bench.view(step.plus[0])
    weight = _taps(ahead, bench, found)
    axes, each = found.windows.axes, found.filters // found.groups
    padded = [max(axis.before + axis.n, axis.reach) for axis in axes]
    inside = tuple(slice(axis.before, axis.before + axis.n) for axis in axes)
    at_a_time = together(len(target), (prod(padded) * target.shape[-1], 8))

    def one(tap: int, incoming: Any) -> Any:
        """What a tap gets, (n, *o, C)."""
        if found.depthwise:
            wide = single(incoming).reshape(*incoming.shape[:-1], found.groups, each)
            products = wide * weight[:, tap, 0]
            return products[..., 0] if each == 1 else products.sum(axis=-1)
        rows = incoming.reshape(-1, found.filters)
        made = []
        for group in range(found.groups):
            own = xp.ascontiguousarray(rows[:, group * each : (group + 1) * each])
            out = xp.empty((len(rows), found.channels), FLOAT)
            device.matmul(own, weight[group, tap].T, out, bench.precision.tf32)
            made.append(out)
        whole = made[0] if len(made) == 1 else xp.concatenate(made, axis=1)
        return whole.reshape(*incoming.shape[:-1], -1)

    def run() -> None:
        for part in parts(len(target), at_a_time):
            incoming = dy[part]
            total = xp.zeros((part.stop - part.start, *padded, target.shape[-1]), FLOAT)
            for number, tap in enumerate(np.ndindex(*found.windows.extents)):
                starts = [j * axis.d for j, axis in zip(tap, axes, strict=True)]
                place = tuple(
                    slice(start, start + (axis.o - 1) * axis.s + 1, axis.s)
                    for start, axis in zip(starts, axes, strict=True)
                )
                reached = total[(slice(None), *place)]
                reached += one(number, incoming)
            made = total[(slice(None), *inside)]
            target[part] = made if plus is None else made + single(plus[part])

    work.then("d input", run)
