"""Layers that do nothing in evaluation are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netdsl.ir.network import Network, Node
from netdsl.layers.adaptive_pool import AdaptivePool
from netdsl.layers.channels import ChannelShuffle, DepthToSpace, PadChannels, SpaceToDepth
from netdsl.layers.join import Add, Average, Concat, Maximum, Minimum, Multiply, SumGroups
from netdsl.layers.pad import Pad
from netdsl.layers.regularisation import Regularisation
from netdsl.layers.reshape import Decimate, Flatten, Identity, Permute, Reshape, Slice
from netdsl.layers.scale import Affine, Scale, Shift
from netdsl.passes.bound import Bound


@dataclass(frozen=True)
class DropIdentities:
    """Whoever reads an identity reads what it reads. A node is one where its output is its input:

    1. dropout and stochastic depth, in evaluation; `identity`;
    2. a join of one lane (`add`, `multiply`, `maximum`, `minimum`, `average`, `concat`), or one group to sum;
    3. `flatten` of a vector, a `reshape` or `slice` to the shape that there is, a `permute` that keeps the order;
    4. `pad` and `pad_channels` by nothing, `decimate` by 1, a block or a number of groups of 1;
    5. an adaptive pool to the extents that there are;
    6. `scale(1)`, `shift(0)`, an `affine` without terms.

    With `training`, dropout and stochastic depth stay: they do something there.
    """

    name: ClassVar[str] = "drop_identities"
    training: bool = False

    def apply(self, bound: Bound) -> Bound:
        network = bound.network
        renamed = {
            node.name: node.inputs[0]
            for node in network.nodes()
            if _is_identity(network, node) and not (self.training and isinstance(node.layer, Regularisation))
        }
        return bound.with_nodes([node for node in network.nodes() if node.name not in renamed], renamed)


def _is_identity(network: Network, node: Node) -> bool:
    if len(node.inputs) != 1:
        return False
    layer, same = node.layer, network.type_of(node.inputs[0]) == node.type and None not in node.type.shape
    match layer:
        case Regularisation() | Identity() | Add() | Multiply() | Maximum() | Minimum() | Average() | Concat():
            return True
        case Flatten() | Reshape() | Slice() | PadChannels():
            return same
        case SumGroups() | ChannelShuffle():
            return layer.groups == 1
        case SpaceToDepth() | DepthToSpace():
            return layer.block == 1
        case AdaptivePool():
            return same
        case Pad():
            return layer.amount == 0 or (isinstance(layer.amount, tuple) and not any(layer.amount))
        case Permute():
            return list(layer.axes) == sorted(layer.axes)
        case Decimate():
            return layer.stride == 1 or (isinstance(layer.stride, tuple) and set(layer.stride) == {1})
        case Scale():
            return layer.by == 1
        case Shift():
            return layer.by == 0
        case Affine():
            return layer.scale is False and layer.shift is False
    return False
