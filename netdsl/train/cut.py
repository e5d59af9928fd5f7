"""A network cut in two: what is the same at every step, and the rest."""

from __future__ import annotations

from dataclasses import replace

from netdsl.analysis.training import TrainingPlan
from netdsl.ir.network import Network, Node
from netdsl.layers.input import Input


def prefix_of(plan: TrainingPlan) -> Network:
    """The part that is the same at every step; its outputs are what the rest reads, by node."""
    network = plan.network
    outputs = {name: name for name in plan.fixed_frontier}
    fixed = {name for name, role in plan.roles.items() if role.fixed}
    part = _empty(network, list(network.inputs), outputs)
    for node in network.nodes():
        if node.name in fixed:
            part.add(node)
    return part


def body_of(plan: TrainingPlan) -> Network:
    """The rest of the network: what the fixed part makes is an input here."""
    network = plan.network
    frontier = plan.fixed_frontier
    body = _empty(network, list(frontier), dict(network.outputs))
    for name, role in plan.roles.items():
        node = role.node
        if name in frontier:
            layer = Input.model_construct(shape=node.type.shape)
            body.add(Node(name, layer, (), node.type, node.span, name, node.calls))
        elif not role.fixed:
            body.add(node)
    body.auxiliary = {name: node for name, node in network.auxiliary.items() if node in body.table}
    return body


def _empty(network: Network, inputs: list[str], outputs: dict[str, str]) -> Network:
    return replace(network, table={}, inputs=inputs, outputs=outputs, auxiliary={}, tensors={})
