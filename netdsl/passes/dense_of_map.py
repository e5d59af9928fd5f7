"""A dense layer over a whole map reads the map as it lies in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.ir.layer import Array, Layer
from netdsl.ir.network import Node
from netdsl.ir.types import TensorType
from netdsl.layers.conv import Conv
from netdsl.layers.dense import Dense
from netdsl.layers.reshape import Flatten
from netdsl.layers.sizes import MAX_KERNEL
from netdsl.passes.bound import Bound
from netdsl.passes.fused import Fused


@dataclass(frozen=True)
class DenseOfMap:
    """`flatten` and the dense layer behind it become a convolution whose kernel covers the map, and a `flatten` of its
    one position, which moves nothing.

    Where channels lie last a `flatten` would have to turn the map around; the convolution reads it as it is. Its weight
    is the dense layer's (units, C H W) read as (units, C, H, W), which is the same memory. Legal where

    1. all extents of the map are known, and there is more than one position;
    2. the dense layer (with its activation, without a residual) works on the vector;
    3. no extent is larger than a kernel may be.

    The `flatten` itself stays for whoever else reads it.
    """

    name: ClassVar[str] = "dense_of_map"

    def apply(self, bound: Bound) -> Bound:
        network = bound.network
        nodes: list[Node] = []
        values: dict[str, Any] = {}
        for node in network.nodes():
            dense = _dense(node.layer)
            flatten = network.node(node.inputs[0]) if dense is not None else None
            if dense is None or flatten is None or not isinstance(flatten.layer, Flatten):
                nodes.append(node)
                continue
            x = network.type_of(flatten.inputs[0])
            if x.elements in (None, x.channels) or any((extent or 0) > MAX_KERNEL for extent in x.spatial):
                nodes.append(node)
                continue
            conv: Layer = Conv.model_construct(filters=dense.units, kernel=x.spatial, bias=dense.bias)
            if isinstance(node.layer, Fused):
                conv = node.layer.model_copy(update={"core": conv})
            address = f"{node.address}+map"
            weights = bound.weights(node)
            shape = (dense.units, *(extent or 0 for extent in x.shape))
            values[f"{address}.weight"] = weights.derived("weight", shape, _reshaped(shape))
            if "bias" in weights:
                values[f"{address}.bias"] = weights["bias"]
            one = TensorType((dense.units, *(1 for _ in x.spatial)))
            name = f"{node.name}+map"
            nodes.append(node._replace(name=name, layer=conv, inputs=flatten.inputs, type=one, address=address))
            nodes.append(node._replace(layer=Flatten.model_construct(), inputs=(name,), address=node.name))
        return bound.with_nodes(nodes, values=values)


def _reshaped(shape: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda weight: weight.reshape(shape)


def _dense(layer: Layer) -> Dense | None:
    """The dense layer over a vector that a layer is, with or without an activation."""
    if isinstance(layer, Fused) and not layer.residual:
        layer = layer.core
    if isinstance(layer, Dense) and layer.axis is None and layer.weight is None and not isinstance(layer.bias, tuple):
        return layer
    return None
