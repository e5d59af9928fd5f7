"""Layers that training computes in one step, because neither direction needs what lies between them.

1. Batch norm and the activation behind it: backward computes the number between them anew, from the input.
2. Batch norm and an `add` of two tensors of one type behind it, and an activation behind that which gets its gradient
   from its output alone (relu, tanh, ...).
3. A convolution, dense layer or elementwise join, and such an activation behind it.

In each case nothing else reads what lies between, and it is no output. The node that remains has the name of the last.
"""

from __future__ import annotations

from netdsl.ir.layer import Layer
from netdsl.ir.network import Network, Node
from netdsl.layers.activation import Activation, Prelu
from netdsl.layers.conv import Convolution
from netdsl.layers.dense import Dense
from netdsl.layers.join import Add
from netdsl.layers.norm import BatchNorm
from netdsl.passes import Bound, Fused

_PLAIN = (Convolution, Dense, Add)


def fused(network: Network) -> Network:
    """The same network with such layers made one."""
    once = Bound(network, {}).only_reader()
    nodes: dict[str, Node] = {}
    for node in network.nodes():
        found = _activated(node, nodes, once) or _added(network, node, nodes, once)
        if found is not None:
            producer, node = found
            del nodes[producer]
        nodes[node.name] = node
    return Bound(network, {}).with_nodes(nodes.values()).network


def by_output(activation: Layer) -> bool:
    """Whether the gradient of an activation is computed from its output alone."""
    return "inputs" not in activation.keeps


def _activated(node: Node, nodes: dict[str, Node], once: dict[str, Node]) -> tuple[str, Node] | None:
    layer = node.layer
    if not isinstance(layer, Activation) or isinstance(layer, Prelu):
        return None
    producer = nodes.get(node.inputs[0])
    if producer is None or producer.name not in once:
        return None
    parts = _parts(producer.layer)
    if parts.activation is not None or not isinstance(parts.core, (*_PLAIN, BatchNorm)):
        return None
    between = not parts.residual and isinstance(parts.core, BatchNorm)
    if not between and not by_output(layer):
        return None
    return producer.name, producer._replace(name=node.name, layer=parts.model_copy(update={"activation": layer}))


def _added(network: Network, node: Node, nodes: dict[str, Node], once: dict[str, Node]) -> tuple[str, Node] | None:
    if not isinstance(node.layer, Add) or len(node.inputs) != 2:
        return None
    if len({*network.types_of(node.inputs), node.type}) != 1:
        return None
    order = {name: place for place, name in enumerate(nodes)}
    for name in sorted(node.inputs, key=order.__getitem__, reverse=True):
        producer = nodes[name]
        if name not in once or not isinstance(producer.layer, BatchNorm):
            continue
        other = node.inputs[1 - node.inputs.index(name)]
        layer = _parts(producer.layer).model_copy(update={"residual": True})
        return name, producer._replace(name=node.name, layer=layer, inputs=(*producer.inputs, other))
    return None


def _parts(layer: Layer) -> Fused:
    return layer if isinstance(layer, Fused) else Fused.model_construct(core=layer)
