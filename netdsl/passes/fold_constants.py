"""Arithmetic on weights alone is done once, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from netdsl.ir.layer import Array
from netdsl.ir.network import Node
from netdsl.layers.conv import Conv, Convolution, DepthwiseConv
from netdsl.layers.conv_transpose import ConvTranspose
from netdsl.layers.dense import Dense
from netdsl.layers.norm import BatchNorm
from netdsl.layers.pad import Pad
from netdsl.layers.scale import Affine, LayerScale, Scale, Shift
from netdsl.passes.affine_map import AffineMap, affine_map
from netdsl.passes.bound import Bound
from netdsl.passes.values import Value
from netdsl.weights.inventory import full_name


@dataclass(frozen=True)
class FoldConstants:
    """Weights take the form that is computed with.

    1. A convolution with `flip_kernel` has its kernels turned around.
    2. A convolution with a table of connections gets all kernels, those that do not exist being zeros.
    3. A convolution with as many groups as channels is a `depthwise_conv`.
    4. Values stated in the spec are weights like others.
    5. Batch norm and the like (y = scale x + shift for each channel) become one `affine`; two of them in a row, the
       first of which nothing else reads, become one.
    6. Padding that is not zeros becomes a `pad` of its own in front of the convolution, where the extents are known or
       the amounts do not depend on them.

    Always legal; weights that are shared are copied, not changed.
    """

    name: ClassVar[str] = "fold_constants"

    def apply(self, bound: Bound) -> Bound:
        network = bound.network
        values: dict[str, Value] = {}
        nodes: dict[str, Node] = {}
        made: dict[str, AffineMap] = {}
        once = bound.only_reader()
        for node in network.nodes():
            layer = node.layer
            if isinstance(layer, Convolution):
                nodes |= {plain.name: plain for plain in _plain(bound, node, values)}
                continue
            if isinstance(layer, Dense | ConvTranspose) and _states(layer):
                node = node._replace(layer=_unstated(layer))
            elif isinstance(layer, BatchNorm | LayerScale | Affine | Scale | Shift) and node.inputs:
                (source,) = node.inputs
                map_ = affine_map(layer, network.type_of(source), bound.weights(node))
                if map_ is not None:
                    if source in made and once.get(source) is node:
                        map_ = made[source].then(map_)
                        (source,) = nodes.pop(source).inputs
                    made[node.name] = map_
                    node = _affine(node._replace(inputs=(source,)), map_, values)
            nodes[node.name] = node
        return bound.with_nodes(nodes.values(), values=values)


def _affine(node: Node, map_: AffineMap, values: dict[str, Value]) -> Node:
    """The same node as an `affine`, whose weights are put into `values`."""
    address = f"{node.name}+affine"
    layer = Affine.model_construct(scale=bool((map_.scale != 1).any()), shift=bool((map_.shift != 0).any()))
    if not layer.scale and not layer.shift:
        layer = Affine.model_construct(scale=True, shift=False)
    if layer.scale:
        values[full_name(address, "weight")] = map_.scale.astype(np.float32)
    if layer.shift:
        values[full_name(address, "bias")] = map_.shift.astype(np.float32)
    return node._replace(layer=layer, address=address)


def _states(layer: Any) -> bool:
    return layer.weight is not None or isinstance(layer.bias, tuple)


def _unstated(layer: Any, **changes: Any) -> Any:
    """The layer without values of its own: they are among the weights."""
    return layer.model_copy(update={"weight": None, "bias": layer.bias is not False, **changes})


def _plain(bound: Bound, node: Node, values: dict[str, Value]) -> list[Node]:
    """Cases 1 to 4 and 6 for one convolution: its node, behind a pad where there is one."""
    layer: Any = node.layer
    assert isinstance(layer, Convolution)
    x = bound.network.type_of(node.inputs[0])
    weights = bound.weights(node)
    new: Convolution = _unstated(layer) if _states(layer) else layer
    shape, flipped = weights.shape("weight"), new.flip_kernel
    connections = new.connections if isinstance(new, Conv) else None
    if isinstance(new, Conv) and connections is not None:
        shape = (new.filters, x.channels or 0, *shape[1:])
        new = new.model_copy(update={"connections": None})
    if flipped:
        new = new.model_copy(update={"flip_kernel": False})

    def written_out(weight: Array) -> Array:
        if connections is not None:
            full = np.zeros(shape, weight.dtype)
            rows = [row for row, read in enumerate(connections) for _ in read]
            full[rows, list(chain.from_iterable(connections))] = weight
            weight = full
        if flipped:
            weight = np.flip(weight, tuple(range(2, weight.ndim)))
        return np.ascontiguousarray(weight)

    if isinstance(new, Conv) and new.groups == x.channels != 1:
        new = DepthwiseConv.model_construct(
            **{name: getattr(new, name) for name in Convolution.model_fields},
            multiplier=new.filters // new.groups,
        )
    before: list[Node] = []
    if new.padding_mode != "zeros":
        before, new = _apart(node, new, x)
    made = node._replace(layer=new, inputs=(before[0].name,) if before else node.inputs)
    if connections is not None or flipped:
        weight = weights.derived("weight", shape, written_out)
        made = with_weights(made, f"{node.name}+plain", {**weights, "weight": weight}, values)
    return [*before, made]


def with_weights(node: Node, address: str, weights: Mapping[str, Value], values: dict[str, Value]) -> Node:
    """The node with weights of its own under another address; they are put into `values`."""
    for name, array in weights.items():
        values[full_name(address, name)] = array
    return node._replace(address=address)


def _apart(node: Node, layer: Convolution, x: Any) -> tuple[list[Node], Convolution]:
    """Case 6: a pad in front, and the convolution without padding."""
    if layer.padding == "same" and None in x.spatial:
        return [], layer
    sides = [side for axis in layer.slides(x) for side in (axis.before, axis.after)]
    plain = layer.model_copy(update={"padding": 0, "padding_mode": "zeros"})
    if not any(sides):
        return [], plain
    pad = Pad.model_construct(amount=tuple(sides), mode=layer.padding_mode)
    name = f"{node.name}+pad"
    return [Node(name, pad, node.inputs, pad.infer(x), node.span, name, node.calls)], plain
