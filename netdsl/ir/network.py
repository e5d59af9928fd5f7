"""A network: a typed graph of layers.

Nodes are kept by name (the path of labels, `layer1.0.conv1`) in execution order, so iterating over them is a
topological order. `Network.graph` is the same as a plain NetworkX MultiDiGraph, made when it is first asked for: the
attributes of its nodes are the fields of `Node`, and an edge's key is the position of the input that it feeds, so
`add(x, x)` has two edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from netdsl.ir.layer import Layer
from netdsl.ir.types import TensorType

if TYPE_CHECKING:
    import networkx as nx

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
    """A checked network. `table` and `graph` hold the nodes, the other fields say what it is for."""

    name: str
    table: dict[str, Node] = field(default_factory=dict)
    """Node name -> node, in execution order."""
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
        if node.name in self.table:
            raise ValueError(f"{node.name} is in the network already")
        for source in node.inputs:
            if source not in self.table:
                raise ValueError(f"{node.name} reads {source}, which is not in the network")
        self.table[node.name] = node
        self.__dict__.pop("graph", None)

    @cached_property
    def graph(self) -> Graph:
        """The network as a plain NetworkX MultiDiGraph, for whoever wants to run its algorithms."""
        # NetworkX takes as long to import as an array library: checking a spec does without.
        import networkx as nx

        graph: Graph = nx.MultiDiGraph(name=self.name)
        graph.add_nodes_from((name, node._asdict()) for name, node in self.table.items())
        for name, node in self.table.items():
            for position, source in enumerate(node.inputs):
                graph.add_edge(source, name, key=position)
        return graph

    def node(self, name: str) -> Node:
        """The node called `name`. Raises KeyError."""
        return self.table[name]

    def nodes(self) -> Iterator[Node]:
        """All nodes in execution order."""
        return iter(self.table.values())

    def resolve(self, name: str) -> str:
        """The node that makes the tensor called `name`: a node, a scope or an output. Raises KeyError."""
        if name in self.table:
            return name
        for aliases in (self.tensors, self.outputs, self.auxiliary):
            if name in aliases:
                return aliases[name]
        raise KeyError(name)

    def input_types(self) -> dict[str, TensorType]:
        return {name: self.type_of(name) for name in self.inputs}

    def type_of(self, name: str) -> TensorType:
        return self.table[name].type

    def types_of(self, names: tuple[str, ...]) -> tuple[TensorType, ...]:
        return tuple([self.table[name].type for name in names])

    def main(self) -> set[str]:
        """The nodes that the outputs need: all but those that only auxiliary heads read, which run in training only."""
        if not self.auxiliary:
            return set(self.table)
        return self.needed(self.outputs.values())

    def needed(self, wanted: Iterable[str]) -> set[str]:
        """The nodes that `wanted` depend on, themselves included; the inputs of the network are always among them."""
        found = set(self.inputs)
        stack = list(wanted)
        while stack:
            name = stack.pop()
            if name not in found:
                found.add(name)
                stack.extend(self.table[name].inputs)
        return found


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
