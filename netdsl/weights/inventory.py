"""Which weights a network owns, under the names that files know them by."""

from __future__ import annotations

from typing import NamedTuple

from netdsl.analysis.cost import full_name, weights
from netdsl.ir.layer import Weight
from netdsl.ir.network import Network, Node

__all__ = ["Slot", "full_name", "inventory", "weights_of"]


class Slot(NamedTuple):
    """The place of one weight: its full name (`layer1.0.conv1.weight`) and what belongs there."""

    name: str
    weight: Weight
    auxiliary: bool
    """Only heads that run in training need it."""

    @property
    def fixed(self) -> bool:
        """Its values are stated in the spec, so nothing has to be loaded."""
        initial = self.weight.initial
        return not isinstance(initial, str) and (not self.weight.trainable or isinstance(initial, tuple))

    @property
    def counter(self) -> bool:
        """Batch normalization's count of training steps: nothing in evaluation depends on it."""
        return self.name.rpartition(".")[2] == "num_batches_tracked"


def weights_of(network: Network, node: Node) -> tuple[Weight, ...]:
    """The weights that one node owns, by their own names."""
    if not node.inputs:
        return ()
    return node.layer.weights(*network.types_of(node.inputs))


def inventory(network: Network) -> dict[str, Slot]:
    """Every weight of a network by its full name, in execution order; shared weights once."""
    if not network.auxiliary:
        return {name: Slot(name, weight, False) for name, weight in weights(network)}
    main = network.main()
    needed = {
        full_name(node.address, weight.name)
        for node in network.nodes()
        if node.name in main
        for weight in weights_of(network, node)
    }
    return {name: Slot(name, weight, name not in needed) for name, weight in weights(network)}
