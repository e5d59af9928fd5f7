"""What follows a convolution or another layer with much arithmetic is computed while its numbers are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netdsl.ir.layer import Layer
from netdsl.ir.network import Node
from netdsl.layers.activation import Activation, Prelu
from netdsl.layers.conv import Convolution
from netdsl.layers.conv_transpose import ConvTranspose
from netdsl.layers.dense import Dense
from netdsl.layers.join import Add, Join
from netdsl.layers.scale import Affine
from netdsl.passes.bound import Bound
from netdsl.passes.fused import Fused

_HEAVY = (Convolution, ConvTranspose, Dense)


@dataclass(frozen=True)
class FuseEpilogues:
    """An `add` and an activation become part of the layer before them.

    1. An activation of one element without weights (not `prelu`, not `softmax`) behind a convolution, a transposed
       convolution, a dense layer, an `affine` or an elementwise join that has none yet, where nothing else reads that
       layer and it is no output itself.
    2. An `add` of two tensors of the same type, one of which is made by a convolution, a transposed convolution or a
       dense layer with neither residual nor activation, which nothing else reads and which is no output itself. Where
       both are, the later one takes the other in.
    3. An activation behind such an `add`, by 1 again.

    The node that remains has the name of the last one that it computes and stands in its place.
    """

    name: ClassVar[str] = "fuse_epilogues"

    def apply(self, bound: Bound) -> Bound:
        once = bound.only_reader()
        nodes: dict[str, Node] = {}
        for node in bound.network.nodes():
            fused = self._with_activation(node, nodes, once) or self._with_residual(bound, node, nodes, once)
            if fused is not None:
                producer, node = fused
                del nodes[producer]
            nodes[node.name] = node
        return bound.with_nodes(nodes.values())

    def _with_activation(self, node: Node, nodes: dict[str, Node], once: dict[str, Node]) -> tuple[str, Node] | None:
        if not isinstance(node.layer, Activation) or isinstance(node.layer, Prelu):
            return None
        producer = nodes[node.inputs[0]]
        parts = _parts(producer.layer)
        if parts is None or parts.activation is not None or producer.name not in once:
            return None
        layer = parts.model_copy(update={"activation": node.layer})
        return producer.name, producer._replace(name=node.name, layer=layer)

    def _with_residual(
        self, bound: Bound, node: Node, nodes: dict[str, Node], once: dict[str, Node]
    ) -> tuple[str, Node] | None:
        if not isinstance(node.layer, Add) or len(node.inputs) != 2:
            return None
        if len({*bound.network.types_of(node.inputs), node.type}) != 1:
            return None
        order = {name: place for place, name in enumerate(nodes)}
        for name in sorted(node.inputs, key=order.__getitem__, reverse=True):
            producer = nodes[name]
            parts = _parts(producer.layer)
            plain = parts is not None and isinstance(parts.core, _HEAVY)
            if parts is None or not plain or parts.activation is not None or parts.residual or name not in once:
                continue
            other = node.inputs[1 - node.inputs.index(name)]
            layer = parts.model_copy(update={"residual": True})
            return name, producer._replace(name=node.name, layer=layer, inputs=(*producer.inputs, other))
        return None


def _parts(layer: Layer) -> Fused | None:
    """A producer as a `Fused`, which it may be already; None for other layers."""
    if isinstance(layer, Fused):
        return layer
    return Fused.model_construct(core=layer) if isinstance(layer, (*_HEAVY, Affine, Join)) else None
