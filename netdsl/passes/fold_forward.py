"""A scale and shift for each channel goes into the convolution or dense layer behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from netdsl.ir.layer import Array
from netdsl.ir.network import Node
from netdsl.ir.types import TensorType
from netdsl.layers.conv import Conv, Convolution
from netdsl.layers.dense import Dense
from netdsl.layers.scale import Affine
from netdsl.passes.affine_map import affine_map
from netdsl.passes.bound import Bound
from netdsl.passes.fold_constants import with_weights
from netdsl.passes.values import Value


@dataclass(frozen=True)
class FoldForward:
    """weight (scale x + shift) + bias = (weight scale) x + (weight shift + bias). Legal where

    1. nothing but the convolution (of any groups) or the dense layer along the channels reads the scale and shift, and
       it is no output itself;
    2. there is no padding, or no shift: zeros around the map would have to become something else;
    3. the weights are plain (`fold_constants` has run).

    What could go into a layer before it has gone there already (`fold_batch_norm` has run). The normalization of images
    in front of Inception is such a scale and shift.
    """

    name: ClassVar[str] = "fold_forward"

    def apply(self, bound: Bound) -> Bound:
        once = bound.only_reader()
        values: dict[str, Value] = {}
        nodes: dict[str, Node] = {}
        for node in bound.network.nodes():
            affine = nodes.get(node.inputs[0]) if len(node.inputs) == 1 else None
            if affine is not None and isinstance(affine.layer, Affine) and once.get(affine.name) is node:
                folded = _folded(bound, affine, node, values)
                if folded is not None:
                    del nodes[affine.name]
                    node = folded
            nodes[node.name] = node
        return bound.with_nodes(nodes.values(), values=values)


def _folded(bound: Bound, affine: Node, node: Node, values: dict[str, Value]) -> Node | None:
    layer: Any = node.layer
    x = bound.network.type_of(affine.name)
    if not isinstance(layer, Convolution | Dense) or layer.weight is not None or isinstance(layer.bias, tuple):
        return None
    map_ = affine_map(affine.layer, affine.type, bound.weights(affine))
    if map_ is None:
        return None
    shifted = bool(map_.shift.any())
    if not _legal(layer, x, shifted):
        return None
    weights = bound.weights(node)
    filters = weights.shape("weight")[0]
    groups = 1 if isinstance(layer, Dense) else layer.groups if isinstance(layer, Conv) else x.channels
    factor, addend = (_for_each_filter(each, filters, groups or 1) for each in map_)
    shape = weights.shape("weight")
    spatial = (1,) * (len(shape) - 2)

    def scaled(weight: Array) -> Array:
        product, each = np.empty(shape, np.float32), factor.reshape(*factor.shape, *spatial)
        return np.multiply(weight, each, out=product, dtype=np.float64, casting="same_kind")

    made: dict[str, Value] = {"weight": weights.derived("weight", shape, scaled)}
    bias = weights["bias"].astype(np.float64) if layer.bias else np.zeros(filters)
    if shifted:
        taps = weights["weight"].astype(np.float64).reshape(*shape[:2], -1).sum(axis=2)
        bias = bias + (taps * addend).sum(axis=1)
    if layer.bias or shifted:
        made["bias"] = bias.astype(np.float32)
        layer = layer.model_copy(update={"bias": True})
    read = node._replace(inputs=affine.inputs, layer=layer)
    return with_weights(read, f"{node.name}+{affine.name}", made, values)


def _legal(layer: Any, x: TensorType, shifted: bool) -> bool:
    """Cases 2 and 3, and that a dense layer works along the channels."""
    if isinstance(layer, Dense):
        return layer.axis in (None, 0, "channels")
    if layer.padding_mode != "zeros" or layer.flip_kernel or getattr(layer, "connections", None) is not None:
        return False
    if not shifted:
        return True
    unknown = layer.padding == "same" and None in x.spatial
    return not unknown and not any(axis.before or axis.after for axis in layer.slides(x))


def _for_each_filter(of_channels: Array, filters: int, groups: int) -> Array:
    """(C) -> (filters, C / groups): for each filter the numbers of the channels that it reads."""
    each = np.asarray(of_channels).reshape(groups, -1)
    return np.repeat(each, filters // groups, axis=0)
