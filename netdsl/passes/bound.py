"""A network together with the values of its weights: what passes work on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from netdsl.ir.layer import Array
from netdsl.ir.network import Network, Node
from netdsl.passes.values import Value, Values, Weights
from netdsl.weights.inventory import full_name, weights_of


@dataclass(frozen=True)
class Bound:
    """A network and values by full name. Neither is ever changed: a pass returns another Bound.

    `network` holds what its outputs need and nothing else; it has no auxiliary heads and no names of scopes. Nodes keep
    their meaning: a node that is called as one of the original network computes the same numbers.
    """

    network: Network
    values: Mapping[str, Array]

    @cached_property
    def entries(self) -> Values:
        """The values, or how they are made."""
        return self.values if isinstance(self.values, Values) else Values(self.values)

    def weights(self, node: Node) -> Weights:
        """The values of a node's weights, by their own names."""
        names = {weight.name: full_name(node.address, weight.name) for weight in weights_of(self.network, node)}
        return Weights(self.entries, names)

    def readers(self) -> Counter[str]:
        """How often each node is read, by other nodes and as an output."""
        count = Counter(source for node in self.network.nodes() for source in node.inputs)
        count.update(self.network.outputs.values())
        return count

    def only_reader(self) -> dict[str, Node]:
        """For each node that is read exactly once, and by a node: its reader."""
        count = self.readers()
        return {source: node for node in self.network.nodes() for source in node.inputs if count[source] == 1}

    def with_nodes(
        self, nodes: Iterable[Node], renamed: Mapping[str, str] | None = None, values: Mapping[str, Value] | None = None
    ) -> Bound:
        """The same network made of `nodes`; what read a key of `renamed` reads its value instead.

        `values`, arrays or how they are made, come in addition to those that there are.
        """
        names = _resolved(renamed or {})
        network = replace(self.network, table={}, outputs={
            output: names.get(name, name) for output, name in self.network.outputs.items()
        })  # fmt: skip
        for node in nodes:
            network.add(node._replace(inputs=tuple(names.get(source, source) for source in node.inputs)))
        return Bound(network, self.entries.extended(values) if values else self.entries)

    def mapped(self, change: Callable[[Node], Node], values: Mapping[str, Value] | None = None) -> Bound:
        """The same network with every node changed by itself."""
        return self.with_nodes([change(node) for node in self.network.nodes()], values=values)


def bind(network: Network, values: Mapping[str, Any], wanted: Mapping[str, str] | None = None) -> Bound:
    """The part of a network that the nodes in `wanted` (name of an output -> node) need, with values.

    Without `wanted`: its outputs; heads that run in training only are left out. Inputs stay, read or not.
    """
    outputs = dict(network.outputs if wanted is None else wanted)
    needed = network.needed(outputs.values())
    part = Network(
        network.name, inputs=list(network.inputs), outputs=outputs, preprocess=network.preprocess,
        parameters=network.parameters, doc=network.doc,
    )  # fmt: skip
    for node in network.nodes():
        if node.name in needed:
            part.add(node)
    owned = {full_name(node.address, weight.name) for node in part.nodes() for weight in weights_of(part, node)}
    return Bound(part, Values(values).chosen(owned))


def verify(bound: Bound) -> None:
    """Checks the invariants: inputs come first, types are what layers infer, weights have values of their shape.

    Raises ValueError for the first violation.
    """
    network = bound.network
    seen: set[str] = set()
    for node in network.nodes():
        missing = [source for source in node.inputs if source not in seen]
        if missing:
            raise ValueError(f"{node.name} comes before its inputs {missing}")
        if node.inputs:
            inferred = node.layer.infer(*network.types_of(node.inputs))
            if inferred != node.type:
                raise ValueError(f"{node.name}: stored type {node.type}, inferred {inferred}")
        for weight in weights_of(network, node):
            name = full_name(node.address, weight.name)
            if name not in bound.values:
                raise ValueError(f"{name} has no values")
            if bound.entries.shape(name) != weight.shape:
                raise ValueError(f"{name} has shape {bound.entries.shape(name)}, {node.name} wants {weight.shape}")
        seen.add(node.name)
    for name in (*network.inputs, *network.outputs.values()):
        if name not in seen:
            raise ValueError(f"{name} is an input or output and not in the network")


def _resolved(renamed: Mapping[str, str]) -> dict[str, str]:
    """Names followed to where they end: a -> b -> c becomes a -> c."""
    found = {}
    for name, target in renamed.items():
        while target in renamed:
            target = renamed[target]
        found[name] = target
    return found
