"""A network: a typed graph of layers.

The graph is a plain NetworkX MultiDiGraph. A node's key is its name (the path of labels, `layer1.0.conv1`), and its
attributes are the fields of `Node`. Nodes are added in execution order, so iterating over the graph is a topological
order. An edge's key is the position of the input that it feeds, so `add(x, x)` has two edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import networkx as nx

from netdsl.ir.layer import Layer
from netdsl.ir.types import TensorType

if TYPE_CHECKING:
    from netdsl.language.source import Span

    Graph: TypeAlias = "nx.MultiDiGraph[str]"


class Call(NamedTuple):
    """One block call on the way to a node: which block, in which scope, and where it was called."""

    block: str
    scope: str
    span: Span


class Node(NamedTuple):
    """One application of a layer."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    type: TensorType
    span: Span | None
    address: str
    """Prefix of the names of its weights; equals `name` unless the weights are shared with an earlier node."""
    calls: tuple[Call, ...]
    """The chain of block calls that led here, outermost first."""


@dataclass
class Network:
    """A checked network. `graph` holds the nodes, the other fields say what it is for."""

    name: str
    graph: Graph = field(default_factory=lambda: nx.MultiDiGraph())
    inputs: list[str] = field(default_factory=list)
    """Names of the input nodes, in the order they were declared."""
    outputs: dict[str, str] = field(default_factory=dict)
    """Output name -> node."""
    auxiliary: dict[str, str] = field(default_factory=dict)
    """Train-only output name -> node."""
    tensors: dict[str, str] = field(default_factory=dict)
    """Name of a scope -> the node that made its last tensor, so that `layer1` names a tensor too."""
    preprocess: tuple[Any, ...] = ()
    """What is done to an image before it enters, as frozen models (see `netdsl.images`)."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """The parameters of the network as they were bound."""
    doc: str = ""

    def add(self, node: Node) -> None:
        """Adds a node behind its inputs. Raises ValueError for a name in use or an unknown input."""
        graph = self.graph
        if node.name in graph:
            raise ValueError(f"{node.name} is in the network already")
        for source in node.inputs:
            if source not in graph:
                raise ValueError(f"{node.name} reads {source}, which is not in the network")
        name = node.name
        graph.add_node(
            name, name=name, layer=node.layer, inputs=node.inputs, type=node.type, span=node.span,
            address=node.address, calls=node.calls,
        )  # fmt: skip
        for position, source in enumerate(node.inputs):
            graph.add_edge(source, name, key=position)

    def node(self, name: str) -> Node:
        """The node called `name`. Raises KeyError."""
        return Node(**self.graph.nodes[name])

    def nodes(self) -> Iterator[Node]:
        """All nodes in execution order."""
        for _, attributes in self.graph.nodes(data=True):
            yield Node(**attributes)

    def resolve(self, name: str) -> str:
        """The node that makes the tensor called `name`: a node, a scope or an output. Raises KeyError."""
        if name in self.graph:
            return name
        for table in (self.tensors, self.outputs, self.auxiliary):
            if name in table:
                return table[name]
        raise KeyError(name)

    def input_types(self) -> dict[str, TensorType]:
        return {name: self.type_of(name) for name in self.inputs}

    def type_of(self, name: str) -> TensorType:
        return cast(TensorType, self.graph.nodes[name]["type"])

    def types_of(self, names: tuple[str, ...]) -> tuple[TensorType, ...]:
        nodes = self.graph.nodes
        return tuple(nodes[name]["type"] for name in names)

    def main(self) -> set[str]:
        """The nodes that the outputs need: all but those that only auxiliary heads read, which run in training only."""
        if not self.auxiliary:
            return set(self.graph)
        needed = set(self.inputs)
        stack = list(self.outputs.values())
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack.extend(self.graph.nodes[name]["inputs"])
        return needed


def verify(network: Network) -> Mapping[str, TensorType]:
    """Checks the invariants of a network and returns each node's type.

    Every node's inputs come before it, edges agree with `inputs`, and the stored type is what the layer infers.
    Raises ValueError for the first violation.
    """
    seen: dict[str, TensorType] = {}
    for node in network.nodes():
        missing = [source for source in node.inputs if source not in seen]
        if missing:
            raise ValueError(f"{node.name} comes before its inputs {missing}")
        edges = {key: source for source, _, key in network.graph.in_edges(node.name, keys=True)}
        if edges != dict(enumerate(node.inputs)):
            raise ValueError(f"{node.name}: edges {edges} disagree with its inputs {node.inputs}")
        if node.inputs:
            inferred = node.layer.infer(*(seen[source] for source in node.inputs))
            if inferred != node.type:
                raise ValueError(f"{node.name}: stored type {node.type}, inferred {inferred}")
        seen[node.name] = node.type
    for name in [*network.inputs, *network.outputs.values(), *network.auxiliary.values()]:
        if name not in seen:
            raise ValueError(f"{name} is named as an input or output and is not in the network")
    return seen
