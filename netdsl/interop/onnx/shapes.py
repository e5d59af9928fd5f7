"""Layers that move numbers and compute none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netdsl.interop.onnx.graph import Graph, Rule
from netdsl.layers.axes import axis_index

_PAD_MODES = {
    "constant": "constant",
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def flatten(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Flatten", x[0], axis=1)


def reshape(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.reshape(x[0], graph.known(graph.y))


def permute(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Transpose", x[0], perm=[0, *(1 + axis for axis in layer.axes)])


def concat(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Concat", *x, axis=1 + axis_index(layer.kind, layer.axis, graph.x()))


def slice_(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    axis = axis_index(layer.kind, layer.axis, graph.x())
    extent = graph.known(graph.y)[axis]
    return _cut(graph, x[0], [(1 + axis, layer.start, layer.start + extent, 1)])


def decimate(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    extents, steps = graph.known(graph.x())[1:], layer._strides(graph.x())
    return _cut(graph, x[0], [(2 + at, 0, n, s) for at, (n, s) in enumerate(zip(extents, steps, strict=True))])


def crop(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    graph.known(graph.y)
    stretches = layer._stretches(*(graph.x(number) for number in range(len(x))))
    return _cut(graph, x[0], [(2 + at, first, first + length, 1) for at, (first, length) in enumerate(stretches)])


def _cut(graph: Graph, x: str, parts: Sequence[tuple[int, int, int, int]]) -> str:
    """(axis, first, end, step) of what is kept."""
    axes, first, end, step = (graph.whole(column) for column in zip(*parts, strict=True))
    return graph.op("Slice", x, first, end, axes, step)


def pad(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    sides = layer._sides(graph.x())
    return _padded(graph, x[0], [(0, 0), *sides], _PAD_MODES[layer.mode], layer.value)


def pad_channels(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    sides = [(layer.before, layer._after(graph.x())), *[(0, 0)] * (graph.x().rank - 1)]
    return _padded(graph, x[0], sides, "constant", 0.0)


def _padded(graph: Graph, x: str, sides: Sequence[tuple[int, int]], mode: str, value: float) -> str:
    amounts = graph.whole([0, *(before for before, _ in sides), 0, *(after for _, after in sides)])
    return graph.op("Pad", x, amounts, *([graph.floats(value)] if mode == "constant" else []), mode=mode)


def channel_shuffle(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    c, *spatial = graph.known(graph.x())
    split = graph.reshape(x[0], [layer.groups, c // layer.groups, *spatial])
    turned = graph.op("Transpose", split, perm=[0, 2, 1, *range(3, 3 + len(spatial))])
    return graph.reshape(turned, [c, *spatial])


def space_to_depth(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    c, *spatial = graph.known(graph.x())
    b, k = layer.block, len(spatial)
    # (N, C, H / b, b, W / b, b) -> (N, C, b, b, H / b, W / b), or with C behind the b's
    split = graph.reshape(x[0], [c, *(m for extent in spatial for m in (extent // b, b))])
    places = [3 + 2 * axis for axis in range(k)]
    positions = [2 + 2 * axis for axis in range(k)]
    deep = [1, *places] if layer.order == "crd" else [*places, 1]
    return graph.reshape(graph.op("Transpose", split, perm=[0, *deep, *positions]), graph.known(graph.y))


def depth_to_space(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    deep, *spatial = graph.known(graph.x())
    b, k = layer.block, len(spatial)
    c, crd = deep // b**k, layer.order == "crd"
    # (N, C, b, b, H, W), or with C behind the b's -> (N, C, H, b, W, b)
    split = graph.reshape(x[0], [*([c, *[b] * k] if crd else [*[b] * k, c]), *spatial])
    channel, first = (1, 2) if crd else (1 + k, 1)
    pairs = [m for axis in range(k) for m in (2 + k + axis, first + axis)]
    return graph.reshape(graph.op("Transpose", split, perm=[0, channel, *pairs]), graph.known(graph.y))


def upsample(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    before, after = graph.known(graph.x())[1:], graph.known(graph.y)[1:]
    if layer.mode == "nearest":
        # Indices that are exact, where a ratio of sizes in floating point might not be.
        y = x[0]
        for axis, (n, o) in enumerate(zip(before, after, strict=True), start=2):
            y = y if n == o else graph.op("Gather", y, graph.whole(np.arange(o) * n // o), axis=axis)
        return y
    axes = [2 + at for at in range(len(after))]
    how = "align_corners" if layer.align_corners else "half_pixel"
    return graph.op(
        "Resize", x[0], "", "", graph.whole(after), mode="linear", coordinate_transformation_mode=how, axes=axes
    )


RULES: dict[str, Rule] = {
    "flatten": flatten,
    "reshape": reshape,
    "permute": permute,
    "concat": concat,
    "slice": slice_,
    "decimate": decimate,
    "crop": crop,
    "crop_like": crop,
    "pad": pad,
    "pad_channels": pad_channels,
    "channel_shuffle": channel_shuffle,
    "space_to_depth": space_to_depth,
    "depth_to_space": depth_to_space,
    "upsample": upsample,
    "upsample_like": upsample,
}
