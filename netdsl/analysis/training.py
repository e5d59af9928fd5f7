"""Which nodes a training step runs, how, and where gradients flow.

Three kinds of nodes, by what their output depends on:

    frozen    on no trainable parameter: it runs as in evaluation, and nothing is computed backwards
    learning  on a trainable parameter: it runs in training mode, and has a gradient where a loss depends on it
    drawing   frozen, but a dropout in front of a trainable layer, with nothing between them but layers of one input
              without weights: it acts all the same, as the dropout in front of a new head should, while those inside
              of a frozen trunk do not

What depends on no drawing node either is `fixed`: for the same input it is the same at every step, and can be stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from netdsl.analysis.cost import full_name
from netdsl.ir.layer import Layer, Weight
from netdsl.ir.network import Network, Node
from netdsl.language.diagnostics import did_you_mean
from netdsl.train.errors import TrainError


class Role(NamedTuple):
    """What one node does in a training step."""

    node: Node
    layer: Layer
    """The node's layer; in its `frozen` form where it has parameters and none of them is trainable."""
    trains: bool
    """Whether it runs `train`; `forward` otherwise."""
    fixed: bool
    """Whether its output is the same at every step, for the same input."""
    gradient: bool
    """Whether the derivative of the loss in its output is wanted: it depends on a trainable parameter, and a loss
    depends on it."""
    wanted: tuple[bool, ...]
    """For each input, whether `backward` is asked for its derivative."""
    weights: Mapping[str, str]
    """Own name of each weight -> full name."""
    wanted_weights: frozenset[str]
    """Own names of the weights whose derivatives are wanted."""

    @property
    def keeps_inputs(self) -> bool:
        return self.gradient and "inputs" in self.layer.keeps

    @property
    def keeps_output(self) -> bool:
        return self.gradient and "output" in self.layer.keeps


@dataclass(frozen=True)
class TrainingPlan:
    """All that a training step computes, in order; its backward half goes through the roles with a gradient in
    reverse."""

    network: Network
    roles: Mapping[str, Role]
    """By node, in execution order: what the outputs need, and the auxiliary heads that have a weight."""
    trainable: tuple[str, ...]
    """Full names of the parameters that are trained, in the order of the network's state."""
    heads: Mapping[str, float]
    """Output -> weight of its loss, which is not 0."""
    outputs: Mapping[str, str]
    """Output -> node: all outputs, and the auxiliary ones that run."""

    @cached_property
    def fixed_frontier(self) -> tuple[str, ...]:
        """The fixed nodes that others read which are not fixed (or that are outputs): what has to be stored to leave
        the fixed part out. In execution order."""
        read = {source for role in self.roles.values() if not role.fixed for source in role.node.inputs}
        read.update(self.outputs.values())
        return tuple(name for name, role in self.roles.items() if role.fixed and name in read)


def loss_weights(network: Network, auxiliary: Mapping[str, float] | None = None) -> dict[str, float]:
    """The weight of the loss of each output: 1 for the outputs, and what `auxiliary` says for those that it names.

    Auxiliary heads that it does not name are left out. Raises TrainError E0954 for an unknown name.
    """
    weights = dict.fromkeys(network.outputs, 1.0)
    for name, weight in (auxiliary or {}).items():
        known = [*network.outputs, *network.auxiliary]
        if name not in known:
            raise TrainError("E0954", f"{network.name} has no output `{name}`", did_you_mean(name, known))
        weights[name] = float(weight)
    return {name: weight for name, weight in weights.items() if weight}


def parameters(network: Network) -> dict[str, Weight]:
    """Every parameter (not the buffers) by its full name, in the order of the network's state; shared ones once."""
    return {
        name: weight
        for node in network.nodes()
        for name, weight in _owned(network, node).items()
        if weight.role == "parameter"
    }


def default_trainable(network: Network, auxiliary: Mapping[str, float] | None = None) -> frozenset[str]:
    """The parameters that a loss depends on and that the spec does not fix (`trainable = false`)."""
    heads = loss_weights(network, auxiliary)
    reached = _ancestors(network, [_node_of(network, head) for head in heads])
    return frozenset(
        name
        for node in network.nodes()
        if node.name in reached
        for name, weight in _owned(network, node).items()
        if weight.role == "parameter" and weight.trainable
    )


def training_plan(
    network: Network, trainable: Collection[str], auxiliary: Mapping[str, float] | None = None
) -> TrainingPlan:
    """What a step computes that trains the parameters `trainable` (full names) of a network.

    `auxiliary` gives auxiliary heads the weight of their loss; those that it does not name do not run. It may name
    outputs too, whose weight is 1 otherwise; 0 is for an output without a loss. Raises TrainError: E0954 where nothing
    is trainable, for a parameter or output that does not exist, and for a parameter that no loss depends on; E0955
    where a gradient would have to pass a layer that has none.
    """
    heads = loss_weights(network, auxiliary)
    outputs = {**network.outputs, **{name: node for name, node in network.auxiliary.items() if name in heads}}
    runs = _ancestors(network, outputs.values(), shapes=True) | set(network.inputs)
    reached = _ancestors(network, [_node_of(network, head) for head in heads])
    nodes = [node for node in network.nodes() if node.name in runs]
    order = _checked(network, trainable)
    wanted = {
        node.name: frozenset(own for own, full in _names(network, node).items() if full in trainable) for node in nodes
    }
    depends: set[str] = set()
    for node in nodes:
        if wanted[node.name] or any(source in depends for source in _read(node)):
            depends.add(node.name)
    gradients = depends & reached
    useful = {full for node in nodes if node.name in gradients for full in _names(network, node).values()}
    _require_use(network, [name for name in order if name not in useful])
    drawing = _drawing(network, nodes, wanted, depends)
    roles: dict[str, Role] = {}
    for node in nodes:
        role = _role(network, node, roles, depends, gradients, drawing, wanted[node.name])
        if role.gradient and (any(role.wanted) or role.wanted_weights) and not node.layer.differentiable:
            raise TrainError(
                "E0955",
                f"the gradient cannot pass `{node.name}`: {node.layer.kind} has none",
                "freeze what lies below it, or take a layer in its place that can be differentiated",
            )
        roles[node.name] = role
    return TrainingPlan(network, roles, order, heads, outputs)


def _role(
    network: Network,
    node: Node,
    roles: Mapping[str, Role],
    depends: set[str],
    gradients: set[str],
    drawing: set[str],
    wanted_weights: frozenset[str],
) -> Role:
    name = node.name
    learned = [weight for weight in _owned(network, node).values() if weight.role == "parameter"]
    still = not wanted_weights and (bool(learned) or not getattr(node.layer, "trainable", True))
    gradient = name in gradients
    read = set(range(len(_read(node))))
    return Role(
        node,
        node.layer.frozen() if still else node.layer,
        trains=name in depends or name in drawing,
        fixed=name not in depends and name not in drawing and all(roles[source].fixed for source in node.inputs),
        gradient=gradient,
        wanted=tuple(
            gradient and position in read and source in gradients for position, source in enumerate(node.inputs)
        ),
        weights=_names(network, node),
        wanted_weights=wanted_weights if gradient else frozenset(),
    )


def _drawing(
    network: Network, nodes: Collection[Node], wanted: Mapping[str, frozenset[str]], depends: set[str]
) -> set[str]:
    """The stochastic layers of the frozen part that act: see the head of this file."""
    found: set[str] = set()
    for node in nodes:
        if not wanted[node.name]:
            continue
        for source in node.inputs:
            below = network.node(source)
            while below.name not in depends and len(below.inputs) == 1 and not _names(network, below):
                if below.layer.stochastic:
                    found.add(below.name)
                below = network.node(below.inputs[0])
    return found


def _checked(network: Network, trainable: Collection[str]) -> tuple[str, ...]:
    """`trainable` in the network's order. Raises TrainError E0954 where it is empty or names no parameter."""
    known = parameters(network)
    for name in sorted(trainable):
        if name not in known:
            raise TrainError("E0954", f"{network.name} has no parameter `{name}`", did_you_mean(name, known))
    if not trainable:
        raise TrainError(
            "E0954", f"nothing of {network.name} is trainable", "leave at least one parameter out of what is frozen"
        )
    return tuple(name for name in known if name in trainable)


def _require_use(network: Network, idle: list[str]) -> None:
    if idle:
        more = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
        raise TrainError(
            "E0954",
            f"no loss of {network.name} depends on the trainable parameter `{idle[0]}`{more}",
            "freeze it; or, where it is that of an auxiliary head, give the head's loss a weight",
        )


def _owned(network: Network, node: Node) -> dict[str, Weight]:
    """The weights of a node by full name."""
    if not node.inputs:
        return {}
    return {full_name(node.address, w.name): w for w in node.layer.weights(*network.types_of(node.inputs))}


def _names(network: Network, node: Node) -> dict[str, str]:
    """Own name -> full name."""
    return {weight.name: full for full, weight in _owned(network, node).items()}


def _read(node: Node) -> tuple[str, ...]:
    """The inputs whose numbers it reads."""
    return node.inputs[: node.layer.read]


def _node_of(network: Network, output: str) -> str:
    return network.outputs[output] if output in network.outputs else network.auxiliary[output]


def _ancestors(network: Network, names: Collection[str], *, shapes: bool = False) -> set[str]:
    """The nodes whose numbers (with `shapes`, or whose shapes) the named ones depend on, themselves included."""
    found: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            node = network.node(name)
            stack.extend(node.inputs if shapes else _read(node))
    return found
