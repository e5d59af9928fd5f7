"""From a network with values to a Program for inputs of one shape."""

from __future__ import annotations

from collections.abc import Mapping

from netdsl.ir.network import Network, Node
from netdsl.ir.types import BYTES_PER_ELEMENT, TensorType
from netdsl.passes import Bound, Fused
from netdsl.program.arena import Demand, plan
from netdsl.program.ir import Buffer, Program, Step, Tensor, in_memory
from netdsl.program.place import Places, place
from netdsl.program.specialise import types_for


def lower(bound: Bound, inputs: Mapping[str, TensorType], batch: int = 1) -> Program:
    """The Program of a network (after the passes) for a batch of inputs of the given types, all extents known.

    Raises SpecError where a layer does not accept extents that were open.
    """
    network = bound.network
    types = types_for(network, network.nodes(), inputs)
    places = place(network, types, batch)
    order = [node for node in network.nodes() if node.inputs and node.name not in places.views]
    number = {node.name: step for step, node in enumerate(order)}
    buffers, index = _buffers(network, types, batch, places, number)
    tensors = {
        name: Tensor(name, types[name], in_memory(types[name], batch), index[at.owner], at.offset, at.strides)
        for name, at in ((node.name, places.found[node.name]) for node in network.nodes())
    }
    return Program(
        network.name,
        {name: tensors[name] for name in network.inputs},
        {output: tensors[name] for output, name in network.outputs.items()},
        tuple(_step(bound, node, number[node.name], tensors, places) for node in order),
        buffers,
        tensors,
        sum(tensor.bytes for tensor in tensors.values()),
    )


def _step(bound: Bound, node: Node, number: int, tensors: Mapping[str, Tensor], places: Places) -> Step:
    layer, activation, residual = node.layer, None, None
    inputs = tuple(tensors[source] for source in node.inputs)
    if isinstance(node.layer, Fused):
        layer, activation = node.layer.core, node.layer.activation
        if node.layer.residual:
            inputs, residual = inputs[:-1], inputs[-1]
    return Step(
        number, node, layer.kind, layer, inputs, tensors[node.name], bound.weights(node), activation, residual,
        node.name in places.in_place,
    )  # fmt: skip


def _buffers(
    network: Network, types: Mapping[str, TensorType], batch: int, places: Places, number: Mapping[str, int]
) -> tuple[tuple[Buffer, ...], dict[str, int]]:
    """The buffers with their place in the arena, and the number of each by the node that owns it."""
    end = max(0, len(number) - 1)
    first: dict[str, int] = {}
    last: dict[str, int] = {}

    def used(name: str, step: int) -> None:
        owner = places.found[name].owner
        first[owner] = min(first.get(owner, step), step)
        last[owner] = max(last.get(owner, step), step)

    for name in network.inputs:
        used(name, 0)
    for node in network.nodes():
        if node.name in number:
            used(node.name, number[node.name])
            for source in node.inputs:
                used(source, number[node.name])
    for name in network.outputs.values():
        used(name, end)
    owners = list(first)
    demands = [
        Demand(batch * (types[owner].elements or 0) * BYTES_PER_ELEMENT, first[owner], last[owner]) for owner in owners
    ]
    offsets = plan(demands)
    buffers = tuple(
        Buffer(index, demand.bytes, offset, demand.first, demand.last)
        for index, (demand, offset) in enumerate(zip(demands, offsets, strict=True))
    )
    return buffers, {owner: index for index, owner in enumerate(owners)}
