"""What is computed twice is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.layers.norm import BatchNorm
from netdsl.layers.regularisation import Regularisation
from netdsl.passes.bound import Bound
from netdsl.weights.inventory import weights_of


@dataclass(frozen=True)
class ShareSubexpressions:
    """Two nodes become one where

    1. their layers are equal, attribute by attribute;
    2. they read the same nodes in the same order (after sharing what these compute);
    3. they own no weights, or the same ones: their weights have the same address.

    Inputs of the network are never shared; with `training`, neither are layers that draw random numbers, nor batch
    norms, each of which moves its running statistics.
    """

    name: ClassVar[str] = "share_subexpressions"
    training: bool = False

    def apply(self, bound: Bound) -> Bound:
        network = bound.network
        first: dict[Any, str] = {}
        renamed: dict[str, str] = {}
        kept = []
        for node in network.nodes():
            if node.inputs and not (self.training and isinstance(node.layer, BatchNorm | Regularisation)):
                inputs = tuple(renamed.get(source, source) for source in node.inputs)
                key = (type(node.layer), node.layer, inputs, node.address if weights_of(network, node) else None)
                known = first.setdefault(key, node.name)
                if known != node.name:
                    renamed[node.name] = known
                    continue
            kept.append(node)
        return bound.with_nodes(kept, renamed)
