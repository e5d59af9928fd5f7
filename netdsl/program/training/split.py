"""The two parts of a network that learns (netdsl/analysis/cut.py), as Programs compute them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from netdsl.analysis.cut import body_of, prefix_of
from netdsl.analysis.training import Role, TrainingPlan
from netdsl.ir.layer import Layer
from netdsl.ir.network import Network, Node
from netdsl.layers.norm import BatchNorm
from netdsl.layers.regularisation import Regularisation
from netdsl.layers.reshape import Identity
from netdsl.weights.inventory import full_name, weights_of


def owned(network: Network, node: Node) -> dict[str, str]:
    """The weights of a node: own name -> full name."""
    return {weight.name: full_name(node.address, weight.name) for weight in weights_of(network, node)}


def prefix(plan: TrainingPlan) -> Network:
    """What is the same at every step, for an inference Program; the body has the inputs of the network already."""
    return prefix_of(plan, [name for name in plan.fixed_frontier if name not in plan.network.inputs])


def body(plan: TrainingPlan) -> Network:
    """What is computed at every step: the heads that run, and layers in the form of their role."""
    whole = body_of(plan)
    acting = {
        name: node._replace(layer=_acting(plan.roles[name])) if node.inputs else node
        for name, node in whole.table.items()
    }
    return replace(whole, table=acting, outputs=dict(plan.outputs), auxiliary={})


def _acting(role: Role) -> Layer:
    """The layer of a role; what runs as in evaluation is in a form that does."""
    if role.trains:
        return role.layer
    if isinstance(role.layer, Regularisation):
        return Identity.model_construct()
    return role.layer.frozen() if isinstance(role.layer, BatchNorm) else role.layer


def learning_nodes(network: Network, trainable: Collection[str]) -> frozenset[str]:
    """The nodes whose output depends on a parameter in `trainable` (full names)."""
    names = set(trainable)
    found: set[str] = set()
    for node in network.nodes():
        read = node.inputs[: node.layer.read]
        if not found.isdisjoint(read) or not names.isdisjoint(owned(network, node).values()):
            found.add(node.name)
    return frozenset(found)
