"""Zeros that are laid around a map become padding of the convolution behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.ir.network import Node
from netdsl.layers.conv import Convolution
from netdsl.layers.pad import Pad
from netdsl.layers.sizes import MAX_PADDING
from netdsl.passes.bound import Bound


@dataclass(frozen=True)
class MergePad:
    """`pad` and the convolution behind it become one convolution. Legal where

    1. the pad holds zeros (mode `constant` or `zeros`, value 0);
    2. nothing but the convolution reads it, and it is no output itself;
    3. the convolution pads with zeros too, by amounts that do not depend on an extent that is not known (`same`);
    4. both together stay below the limit of a padding.
    """

    name: ClassVar[str] = "merge_pad"

    def apply(self, bound: Bound) -> Bound:
        network = bound.network
        once = bound.only_reader()
        nodes: dict[str, Node] = {}
        for node in network.nodes():
            pad = nodes.get(node.inputs[0]) if node.inputs else None
            if isinstance(node.layer, Convolution) and pad is not None and once.get(pad.name) is node:
                merged = _merged(bound, pad, node)
                if merged is not None:
                    del nodes[pad.name]
                    node = merged
            nodes[node.name] = node
        return bound.with_nodes(nodes.values())


def _merged(bound: Bound, pad: Node, conv: Node) -> Node | None:
    network = bound.network
    before, layer = pad.layer, conv.layer
    assert isinstance(layer, Convolution)
    if not isinstance(before, Pad) or before.mode not in ("constant", "zeros") or before.value:
        return None
    x = network.type_of(pad.name)
    if layer.padding_mode != "zeros" or (layer.padding == "same" and None in x.spatial):
        return None
    outer = _sides(before, len(x.spatial))
    inner = [side for axis in layer.slides(x) for side in (axis.before, axis.after)]
    total = tuple(a + b for a, b in zip(outer, inner, strict=True))
    if max(total) > MAX_PADDING:
        return None
    return conv._replace(layer=layer.model_copy(update={"padding": total}), inputs=pad.inputs)


def _sides(pad: Any, rank: int) -> list[int]:
    """(before, after) of each spatial axis, in a row."""
    amount = pad.amount
    if isinstance(amount, int):
        return [amount] * (2 * rank)
    if len(amount) == rank:
        return [side for margin in amount for side in (margin, margin)]
    return list(amount)
