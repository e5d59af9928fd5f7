"""A network that learns, cut in two (see `TrainingPlan`).

* The **prefix**: nodes that are `fixed`. It computes the same for the same image at every step, as in evaluation.
* The **body**: the rest. It reads inputs of the network and what the prefix makes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from netdsl.analysis.training import TrainingPlan
from netdsl.ir.network import Network, Node
from netdsl.layers.input import Input


def prefix_of(plan: TrainingPlan, wanted: Collection[str]) -> Network:
    """The part of the prefix that makes `wanted`, nodes of `plan.fixed_frontier`; they are its outputs."""
    network = plan.network
    part = _empty(network, list(network.inputs), {name: name for name in wanted})
    needed = network.needed(wanted)
    for node in network.nodes():
        if node.name in needed:
            part.add(node)
    return part


def body_of(plan: TrainingPlan) -> Network:
    """The body: what the prefix makes is an input here."""
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
