"""Layers that mix channels or axes by numbers: dense, normalisation, softmax, reductions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from netdsl.interop.errors import ExportError
from netdsl.interop.onnx.elements import along_channels
from netdsl.interop.onnx.graph import Graph, Rule
from netdsl.layers.axes import axes_indices, axis_index


def dense(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    type_ = graph.x()
    along = 0 if layer.axis is None else axis_index(layer.kind, layer.axis, type_)
    bias = [graph.weight("bias")] if graph.has("bias") else []
    if type_.rank == 1:
        return graph.op("Gemm", x[0], graph.weight("weight"), *bias, transB=1)
    turned = _last(graph, x[0], along, type_.rank)
    y = graph.op("MatMul", turned, graph.weight("weight", lambda w: w.T))
    if bias:
        y = graph.op("Add", y, bias[0])
    return _back(graph, y, along, type_.rank)


def _last(graph: Graph, x: str, along: int, rank: int) -> str:
    """The axis `along`, counted without the batch, behind all others."""
    if along == rank - 1:
        return x
    order = [axis for axis in range(rank + 1) if axis != along + 1] + [along + 1]
    return graph.op("Transpose", x, perm=order)


def _back(graph: Graph, x: str, along: int, rank: int) -> str:
    """Undoes `_last`."""
    if along == rank - 1:
        return x
    order = list(range(rank))
    order.insert(along + 1, rank)
    return graph.op("Transpose", x, perm=order)


def layer_norm(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    type_ = graph.x()
    (channels, *_) = graph.known(type_)
    scale = graph.weight("weight") if layer.affine else graph.floats(np.ones(channels))
    bias = [graph.weight("bias")] if layer.affine else []
    turned = _last(graph, x[0], 0, type_.rank)
    normal = graph.op("LayerNormalization", turned, scale, *bias, axis=-1, epsilon=layer.eps)
    return _back(graph, normal, 0, type_.rank)


def group_norm(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    extents = graph.known(graph.x())
    return _by_sets(graph, layer, x[0], layer.groups, extents)


def instance_norm(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    (channels, *_) = graph.known(graph.x())
    scale = graph.weight("weight") if layer.affine else graph.floats(np.ones(channels))
    bias = graph.weight("bias") if layer.affine else graph.floats(np.zeros(channels))
    return graph.op("InstanceNormalization", x[0], scale, bias, epsilon=layer.eps)


def _by_sets(graph: Graph, layer: Any, x: str, sets: int, extents: Sequence[int]) -> str:
    """Each of `sets` equal parts of the channels by its own mean and variance."""
    parts = graph.reshape(x, [sets, prod(extents) // sets])
    ones, zeros = graph.floats(np.ones(sets)), graph.floats(np.zeros(sets))
    y = graph.reshape(graph.op("InstanceNormalization", parts, ones, zeros, epsilon=layer.eps), extents)
    if not layer.affine:
        return y
    rank = len(extents)
    y = graph.op("Mul", y, graph.weight("weight", lambda w: along_channels(w, rank)))
    return graph.op("Add", y, graph.weight("bias", lambda w: along_channels(w, rank)))


def batch_norm(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    (channels, *_) = graph.known(graph.x())
    scale = graph.weight("weight") if layer.affine else graph.floats(np.ones(channels))
    bias = graph.weight("bias") if layer.affine else graph.floats(np.zeros(channels))
    mean, variance = graph.weight("running_mean"), graph.weight("running_var")
    return graph.op("BatchNormalization", x[0], scale, bias, mean, variance, epsilon=layer.eps)


def response_norm(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    if layer.size % 2 == 0:
        raise ExportError(f"error: `{graph.node.name}`: the windows of ONNX LRN are odd, this one is {layer.size}")
    alpha = layer.alpha if layer.divide_alpha else layer.alpha * layer.size
    # LRN is for maps: other shapes become one, (C, *spatial) as (C, 1, everything).
    extents = graph.known(graph.x())
    y = x[0] if len(extents) == 3 else graph.reshape(x[0], [extents[0], 1, prod(extents[1:])])
    y = graph.op("LRN", y, alpha=alpha, beta=layer.beta, bias=layer.k, size=layer.size)
    return y if len(extents) == 3 else graph.reshape(y, extents)


def l2_norm(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    axes = [1 + axis for axis in axes_indices(layer.kind, layer.axis, graph.x())]
    length = graph.op("ReduceL2", x[0], graph.whole(axes), keepdims=1)
    return graph.op("Div", x[0], graph.op("Max", length, graph.floats(layer.eps)))


def rms_norm(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    mean = graph.op("ReduceMean", graph.op("Mul", x[0], x[0]), graph.whole([1]), keepdims=1)
    y = graph.op("Div", x[0], graph.op("Sqrt", graph.op("Add", mean, graph.floats(layer.eps))))
    rank = graph.x().rank
    return graph.op("Mul", y, graph.weight("weight", lambda w: along_channels(w, rank))) if layer.affine else y


def global_response_norm(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    """y = x (1 + weight length / (mean length + eps)) + bias, the length of a channel over its positions."""
    rank = graph.x().rank
    length = graph.op("ReduceL2", x[0], graph.whole(range(2, rank + 1)), keepdims=1)
    mean = graph.op("ReduceMean", length, graph.whole([1]), keepdims=1)
    response = graph.op("Div", length, graph.op("Add", mean, graph.floats(layer.eps)))
    factor = graph.op("Mul", response, graph.weight("weight", lambda w: along_channels(w, rank)))
    y = graph.op("Mul", x[0], graph.op("Add", factor, graph.floats(1)))
    return graph.op("Add", y, graph.weight("bias", lambda w: along_channels(w, rank)))


def softmax(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    operator = "LogSoftmax" if layer.kind == "log_softmax" else "Softmax"
    groups = getattr(layer, "groups", None)
    if groups is None:
        return graph.op(operator, x[0], axis=1 + axis_index(layer.kind, layer.axis, graph.x()))
    extents = graph.known(graph.x())
    split = graph.reshape(x[0], [groups, extents[0] // groups, *extents[1:]])
    # Over the groups, or within each: as the layer computes it on the array in groups.
    axis = _axis_in_groups(layer, graph)
    return graph.reshape(graph.op(operator, split, axis=axis), extents)


def _axis_in_groups(layer: Any, graph: Graph) -> int:
    """The axis of the array in groups that the layer works along."""
    from netdsl.layers.softmax import _batched_axis

    return int(_batched_axis(layer, np.empty((1, *graph.known(graph.x())), np.float32)))


def reduction(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    axes = [1 + axis for axis in axes_indices(layer.kind, layer.axis, graph.x())]
    return graph.op(f"Reduce{layer.how.capitalize()}", x[0], graph.whole(axes), keepdims=1)


def sum_groups(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    extents = graph.known(graph.x())
    split = graph.reshape(x[0], [layer.groups, extents[0] // layer.groups, *extents[1:]])
    return graph.op("ReduceSum", split, graph.whole([1]), keepdims=0)


def rbf(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    """Squared distances to centres."""
    difference = graph.op("Sub", graph.op("Unsqueeze", x[0], graph.whole([1])), graph.weight("weight"))
    return graph.op("ReduceSumSquare", difference, graph.whole([2]), keepdims=0)


RULES: dict[str, Rule] = {
    "dense": dense,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "batch_norm": batch_norm,
    "local_response_norm": response_norm,
    "l2_norm": l2_norm,
    "rms_norm": rms_norm,
    "global_response_norm": global_response_norm,
    "softmax": softmax,
    "log_softmax": softmax,
    "reduce": reduction,
    "sum_groups": sum_groups,
    "rbf": rbf,
}
