"""The two parts of a network that learns.

* The **prefix**: nodes that are `fixed` (see netdsl/analysis/training.py). It computes the same for the same image, as
  in evaluation, and an inference Program does that.
* The **body**: the rest. It reads the network's inputs and what the prefix makes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from netdsl.analysis.training import Role, TrainingPlan
from netdsl.ir.layer import Layer
from netdsl.ir.network import Network, Node
from netdsl.layers.input import Input
from netdsl.layers.norm import BatchNorm
from netdsl.layers.regularisation import Regularisation
from netdsl.layers.reshape import Identity
from netdsl.weights.inventory import full_name, weights_of


def owned(network: Network, node: Node) -> dict[str, str]:
    """The weights of a node: own name -> full name."""
    return {weight.name: full_name(node.address, weight.name) for weight in weights_of(network, node)}


def prefix_of(plan: TrainingPlan) -> Network:
    """What is the same at every step; its outputs are those of its tensors that the body reads, by node."""
    network = plan.network
    outputs = {name: name for name in plan.fixed_frontier if name not in network.inputs}
    needed = set(network.inputs)
    stack = list(outputs)
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack.extend(network.node(name).inputs)
    part = _empty(network, list(network.inputs), outputs)
    for node in network.nodes():
        if node.name in needed:
            part.add(node)
    return part


def body_of(plan: TrainingPlan) -> Network:
    """What is computed at every step; what the prefix makes is an input here. Layers have the form of their role."""
    network = plan.network
    frontier = plan.fixed_frontier
    body = _empty(network, list(frontier), dict(plan.outputs))
    for name, role in plan.roles.items():
        node = role.node
        if name in frontier:
            layer = Input.model_construct(shape=node.type.shape)
            body.add(Node(name, layer, (), node.type, node.span, name, node.calls))
        elif not role.fixed:
            body.add(node._replace(layer=_acting(role)))
    return body


def _acting(role: Role) -> Layer:
    """The layer of a role; what runs as in evaluation is in a form that does."""
    if role.trains:
        return role.layer
    if isinstance(role.layer, Regularisation):
        return Identity.model_construct()
    return role.layer.frozen() if isinstance(role.layer, BatchNorm) else role.layer


def _empty(network: Network, inputs: list[str], outputs: dict[str, str]) -> Network:
    return replace(network, table={}, inputs=inputs, outputs=outputs, auxiliary={}, tensors={})


def learning_nodes(network: Network, trainable: Collection[str]) -> frozenset[str]:
    """The nodes whose output depends on a parameter in `trainable` (full names)."""
    names = set(trainable)
    found: set[str] = set()
    for node in network.nodes():
        read = node.inputs[: node.layer.read]
        if not found.isdisjoint(read) or not names.isdisjoint(owned(network, node).values()):
            found.add(node.name)
    return frozenset(found)
