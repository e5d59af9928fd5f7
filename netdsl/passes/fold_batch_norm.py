"""Batch norm, and any other scale and shift for each channel, goes into the convolution or dense layer before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from netdsl.ir.layer import Array, Layer
from netdsl.ir.network import Node
from netdsl.ir.types import TensorType
from netdsl.layers.conv import Convolution
from netdsl.layers.conv_transpose import ConvTranspose
from netdsl.layers.dense import Dense
from netdsl.layers.scale import Affine
from netdsl.passes.affine_map import AffineMap, affine_map
from netdsl.passes.bound import Bound
from netdsl.passes.fold_constants import with_weights
from netdsl.passes.values import Value, Weights

_PART = 32 * 1024
"""Numbers that are multiplied at a time."""


@dataclass(frozen=True)
class FoldBatchNorm:
    """scale * (weight x + bias) + shift = (scale weight) x + (scale bias + shift), channel by channel. Legal where

    1. the producer is a convolution (of any groups), a transposed convolution or a dense layer along the channels;
    2. nothing but the scale and shift reads the producer, and it is no output itself;
    3. the weights are plain (`fold_constants` has run).

    Weights that other nodes share are not changed: the folded ones have an address of their own. Products are formed in
    double precision and rounded once, when the folded weights are asked for.
    """

    name: ClassVar[str] = "fold_batch_norm"

    def apply(self, bound: Bound) -> Bound:
        network = bound.network
        once = bound.only_reader()
        folded: dict[str, Node] = {}
        values: dict[str, Value] = {}
        nodes: dict[str, Node] = {}
        for node in network.nodes():
            producer = nodes.get(node.inputs[0]) if node.inputs else None
            if (
                isinstance(node.layer, Affine)
                and producer is not None
                and once.get(producer.name) is node
                and _foldable(producer.layer, network.type_of(producer.name))
                and (map_ := affine_map(node.layer, node.type, bound.weights(node))) is not None
            ):
                weights = bound.weights(producer)
                layer: Any = producer.layer
                made = producer._replace(
                    name=node.name, layer=layer.model_copy(update={"bias": True}), calls=node.calls
                )
                folded[node.name] = nodes.pop(producer.name)
                nodes[node.name] = with_weights(
                    made, f"{producer.address}+{node.name}",
                    _folded(layer, weights, map_), values,
                )  # fmt: skip
            else:
                nodes[node.name] = node
        return bound.with_nodes(nodes.values(), values=values)


def _foldable(layer: Layer, output: TensorType) -> bool:
    match layer:
        case Convolution():
            return layer.weight is None and not isinstance(layer.bias, tuple)
        case ConvTranspose():
            return layer.weight is None and not isinstance(layer.bias, tuple)
        case Dense():
            plain = layer.weight is None and not isinstance(layer.bias, tuple)
            return plain and (layer.axis in (None, 0, "channels"))
    return False


def _folded(layer: Any, weights: Weights, map_: AffineMap) -> dict[str, Value]:
    shape = weights.shape("weight")
    scale = map_.scale
    if isinstance(layer, ConvTranspose):
        # (C, K / G, *kernel): filter g * K / G + k belongs to the channels of group g.
        groups = layer.groups
        each = scale.reshape(groups, 1, layer.filters // groups)
        rows = np.broadcast_to(each, (groups, shape[0] // groups, layer.filters // groups))
        factor = rows.reshape(shape[:2])
    else:
        factor = scale
    factor = factor.reshape(factor.shape + (1,) * (len(shape) - factor.ndim))

    def product(weight: Array) -> Array:
        found = np.empty(shape, np.float32)
        # Some rows at a time: products in double precision stay in the cache.
        rows = max(1, _PART * len(found) // max(1, found.size))
        for first in range(0, len(found), rows):
            part = weight[first : first + rows].astype(np.float64)
            part *= factor[first : first + rows]
            found[first : first + rows] = part
        return found

    bias = map_.shift if layer.bias is False else map_.shift + scale * weights["bias"]
    return {"weight": weights.derived("weight", shape, product), "bias": np.asarray(bias, np.float32)}
