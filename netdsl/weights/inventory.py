"""Which weights a network owns, under the names that files know them by."""

from __future__ import annotations

from typing import NamedTuple

from netdsl.ir.layer import Weight
from netdsl.ir.network import Network, Node


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


def full_name(address: str, name: str) -> str:
    """The name of a weight: the address of its layer, a dot, its own name; without the dot where either is empty."""
    return f"{address}.{name}" if address and name else address or name


def weights_of(network: Network, node: Node) -> tuple[Weight, ...]:
    """The weights that one node owns, by their own names."""
    if not node.inputs:
        return ()
    return node.layer.weights(*network.types_of(node.inputs))


def inventory(network: Network) -> dict[str, Slot]:
    """Every weight of a network by its full name, in execution order; shared weights once.

    Raises ValueError where nodes that share an address disagree on a shape, which a checked network rules out.
    """
    main = network.main()
    slots: dict[str, Slot] = {}
    for node in network.nodes():
        auxiliary = node.name not in main
        for weight in weights_of(network, node):
            name = full_name(node.address, weight.name)
            known = slots.get(name)
            if known is None:
                slots[name] = Slot(name, weight, auxiliary)
            elif known.weight.shape != weight.shape:
                raise ValueError(f"{name} is shared and has shapes {known.weight.shape} and {weight.shape}")
            elif known.auxiliary and not auxiliary:
                slots[name] = known._replace(auxiliary=False)
    return slots
