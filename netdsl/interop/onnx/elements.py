"""Functions of one element, joins, scales."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from netdsl.interop.onnx.graph import Graph, Rule


def plain(operator: str, *attributes: str, **fixed: Any) -> Rule:
    """An operator of all inputs; `attributes` are those of the layer that ONNX calls the same."""

    def rule(graph: Graph, layer: Any, x: Sequence[str]) -> str:
        return graph.op(operator, *x, **{name: getattr(layer, name) for name in attributes}, **fixed)

    return rule


def pairwise(operator: str) -> Rule:
    """An operator of two, over all lanes; one lane passes."""

    def rule(graph: Graph, layer: Any, x: Sequence[str]) -> str:
        return reduce(lambda a, b: graph.op(operator, a, b), x)

    return rule


def along_channels(values: Any, rank: int) -> Any:
    """(C) as (C, 1, 1), so that it spreads over a map of that rank."""
    array = np.asarray(values)
    return array.reshape(-1, *[1] * (rank - 1)) if array.ndim else array


def relu6(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Clip", x[0], graph.floats(0), graph.floats(6))


def clip(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    limits = ["" if limit is None else graph.floats(limit) for limit in (layer.low, layer.high)]
    return graph.op("Clip", x[0], *limits)


def leaky_relu(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("LeakyRelu", x[0], alpha=layer.slope)


def prelu(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    rank = graph.x().rank
    return graph.op("PRelu", x[0], graph.weight("weight", lambda slope: along_channels(slope, rank)))


def gelu(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Gelu", x[0], approximate=layer.approximate or "none")


def silu(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Mul", x[0], graph.op("Sigmoid", x[0]))


def scaled_tanh(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    inner = graph.op("Tanh", graph.op("Mul", x[0], graph.floats(layer.slope)))
    return graph.op("Mul", inner, graph.floats(layer.amplitude))


def square(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Mul", x[0], x[0])


def power(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Pow", x[0], graph.floats(layer.exponent))


def magnitude(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    squares = [graph.op("Mul", lane, lane) for lane in x]
    return graph.op("Sqrt", graph.op("Sum", *squares))


def scale(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    return graph.op("Mul" if layer.kind == "scale" else "Add", x[0], graph.floats(layer.by))


def own_scale(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    """`layer_scale` and `scalar`, whose weight has the name of the layer itself."""
    rank = graph.x().rank
    return graph.op("Mul", x[0], graph.weight("", lambda w: along_channels(w.reshape(-1), rank)))


def affine(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    y, rank = x[0], graph.x().rank
    for operator, own, values in (("Mul", "weight", layer.scale), ("Add", "bias", layer.shift)):
        if values is False:
            continue
        if graph.has(own):
            other = graph.weight(own, lambda w: along_channels(w, rank))
        else:
            other = graph.floats(along_channels(values, rank))
        y = graph.op(operator, y, other)
    return y


def grayscale(graph: Graph, layer: Any, x: Sequence[str]) -> str:
    kernel = np.reshape(layer.coefficients, (1, -1, *[1] * (graph.x().rank - 1)))
    return graph.op("Conv", x[0], graph.floats(kernel))


RULES: dict[str, Rule] = {
    "relu": plain("Relu"),
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "elu": plain("Elu", "alpha"),
    "selu": plain("Selu"),
    "gelu": gelu,
    "silu": silu,
    "sigmoid": plain("Sigmoid"),
    "hard_sigmoid": plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": plain("HardSwish"),
    "mish": plain("Mish"),
    "softplus": plain("Softplus"),
    "tanh": plain("Tanh"),
    "scaled_tanh": scaled_tanh,
    "abs": plain("Abs"),
    "square": square,
    "sqrt": plain("Sqrt"),
    "exp": plain("Exp"),
    "power": power,
    "clip": clip,
    "add": pairwise("Add"),
    "multiply": pairwise("Mul"),
    "subtract": plain("Sub"),
    "divide": plain("Div"),
    "maximum": plain("Max"),
    "minimum": plain("Min"),
    "average": plain("Mean"),
    "magnitude": magnitude,
    "matmul": plain("MatMul"),
    "scale": scale,
    "shift": scale,
    "layer_scale": own_scale,
    "scalar": own_scale,
    "affine": affine,
    "grayscale": grayscale,
    # What acts in training only.
    "identity": plain("Identity"),
    "dropout": plain("Identity"),
    "stochastic_depth": plain("Identity"),
}
