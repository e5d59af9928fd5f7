"""Layers whose windows slide over a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netdsl.interop.errors import ExportError
from netdsl.interop.onnx.graph import Graph, Rule
from netdsl.layers.adaptive_pool import bins
from netdsl.layers.sizes import Slide


def _attributes(slides: Sequence[Slide], reach: bool = False) -> dict[str, Any]:
    """How windows slide. With `reach` what hangs over the end is padded, where the sizes are rounded up."""
    after = []
    for axis in slides:
        needed = (axis.o - 1) * axis.s + axis.span - axis.before - axis.n if axis.o and axis.n else 0
        after.append(max(axis.after, needed) if reach else axis.after)
    return {
        "kernel_shape": [axis.f for axis in slides],
        "strides": [axis.s for axis in slides],
        "dilations": [axis.d for axis in slides],
        "pads": [*(axis.before for axis in slides), *after],
    }


def conv(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    if layer.padding_mode != "zeros" or layer.flip_kernel or getattr(layer, "connections", None) is not None:
        raise ExportError(f"error: `{graph.node.name}` is a form of {layer.kind} that ONNX has no operator for")
    groups = getattr(layer, "groups", None) or graph.known(graph.x())[0]
    bias = [graph.weight("bias")] if graph.has("bias") else []
    # Kernels that are standardised as they are applied are constants here.
    applied = layer.kind in ("std_conv", "scaled_std_conv")
    kernel = graph.weight("weight", lambda _: layer._applied(np, graph.weights)) if applied else graph.weight("weight")
    return graph.op("Conv", x[0], kernel, *bias, group=groups, **_attributes(layer.slides(graph.x())))


def conv_transpose(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    spreads = layer.spreads(graph.x())
    n, o = graph.known(graph.x())[1:], graph.known(graph.y)[1:]
    whole = [(size - 1) * axis.s + axis.span for size, axis in zip(n, spreads, strict=True)]
    # What is cut off behind; where the output is larger than what the kernels touch, it is added instead.
    behind = [w - axis.before - size for w, axis, size in zip(whole, spreads, o, strict=True)]
    bias = [graph.weight("bias")] if graph.has("bias") else []
    return graph.op(
        "ConvTranspose", x[0], graph.weight("weight"), *bias,
        group=layer.groups, kernel_shape=[axis.f for axis in spreads], strides=[axis.s for axis in spreads],
        dilations=[axis.d for axis in spreads], output_padding=[max(0, -cut) for cut in behind],
        pads=[*(axis.before for axis in spreads), *(max(0, cut) for cut in behind)],
    )  # fmt: skip


def max_pool(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    graph.known(graph.x())
    return graph.op("MaxPool", x[0], **_attributes(layer.slides(graph.x()), reach=True))


def avg_pool(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    graph.known(graph.x())
    slides = layer.slides(graph.x())
    window = _attributes(slides, reach=True)
    del window["dilations"]
    counts = [np.asarray(layer.counts(axis), np.float64) for axis in slides]
    if all((count == axis.f).all() for count, axis in zip(counts, slides, strict=True)):
        return graph.op("AveragePool", x[0], count_include_pad=1, **window)
    inside = [_inside(axis) for axis in slides]
    if all((count == own).all() for count, own in zip(counts, inside, strict=True)):
        return graph.op("AveragePool", x[0], count_include_pad=0, **window)
    # Some of the padding counts: the mean of whole windows, times how much too large their number was.
    factor = np.ones((1,) * len(slides))
    for number, (count, axis) in enumerate(zip(counts, slides, strict=True)):
        factor = factor * (axis.f / count).reshape([-1 if number == at else 1 for at in range(len(slides))])
    mean = graph.op("AveragePool", x[0], count_include_pad=1, **window)
    return graph.op("Mul", mean, graph.floats(factor))


def _inside(axis: Slide) -> Any:
    """For each window, how many of its positions lie in the map."""
    starts = np.arange(axis.o or 0) * axis.s - axis.before
    return np.minimum(starts + axis.f, axis.n or 0) - np.maximum(starts, 0)


def subsample(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    """The sum of each window, a factor and a shift for each map: all of it is one convolution of each channel."""
    slides = layer.slides(graph.x())
    extents = [axis.f for axis in slides]

    def taps(weight: Any) -> Any:
        return np.broadcast_to(weight.reshape(-1, *[1] * (len(extents) + 1)), (weight.size, 1, *extents))

    channels = graph.known(graph.x())[0]
    kernel = graph.weight("weight", taps)
    return graph.op("Conv", x[0], kernel, graph.weight("bias"), group=channels, **_attributes(slides))


def global_pool(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("GlobalAveragePool" if layer.kind == "global_avg_pool" else "GlobalMaxPool", x[0])


def gem_pool(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    exponent = graph.weight("p", lambda p: p.reshape(1))
    powers = graph.op("Pow", graph.op("Max", x[0], graph.floats(layer.eps)), exponent)
    return graph.op("Pow", graph.op("GlobalAveragePool", powers), graph.op("Reciprocal", exponent))


def adaptive_pool(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    """One axis after the other; windows of one size are a pool, others are reduced one by one."""
    average = layer.kind == "adaptive_avg_pool"
    before, after = graph.known(graph.x())[1:], graph.known(graph.y)[1:]
    if all(n % o == 0 for n, o in zip(before, after, strict=True)):
        sizes = [n // o for n, o in zip(before, after, strict=True)]
        return graph.op("AveragePool" if average else "MaxPool", x[0], kernel_shape=sizes, strides=sizes)
    y = x[0]
    for axis, (n, o) in enumerate(zip(before, after, strict=True), start=2):
        if n == o:
            continue
        along = graph.whole([axis])
        parts = [
            graph.op(
                "ReduceMean" if average else "ReduceMax",
                graph.op("Slice", y, graph.whole([first]), graph.whole([end]), along), along, keepdims=1,
            )
            for first, end in bins(n, o)
        ]  # fmt: skip
        y = graph.op("Concat", *parts, axis=axis)
    return y


RULES: dict[str, Rule] = {
    "conv": conv,
    "depthwise_conv": conv,
    "std_conv": conv,
    "scaled_std_conv": conv,
    "conv_transpose": conv_transpose,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "subsample": subsample,
    "global_avg_pool": global_pool,
    "global_max_pool": global_pool,
    "gem_pool": gem_pool,
    "adaptive_avg_pool": adaptive_pool,
    "adaptive_max_pool": adaptive_pool,
}
