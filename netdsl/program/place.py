"""Which tensors share a buffer: views, lanes of a concatenation, results in place.

Three things make a tensor lie where another does:

1. A view: `flatten` and `reshape` that move nothing once channels lie last, and `slice`. They need no step.
2. A lane of a `concat` is computed where it belongs in the result; where all are, nothing is left to do. Each tensor
   can be a lane of one concatenation this way; where another reads the same lanes in the same order, it is a view of
   them (DenseNet's growing list).
3. A result in place: a layer of one element writes over its input where nothing reads that any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from netdsl.ir.layer import Layer
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType
from netdsl.layers.activation import Activation
from netdsl.layers.axes import axis_index
from netdsl.layers.join import Average, Concat, Join, Magnitude
from netdsl.layers.norm import BatchNorm
from netdsl.layers.reshape import Flatten, Reshape, Slice
from netdsl.layers.scale import Affine, LayerScale, Scale, Shift
from netdsl.passes import Fused
from netdsl.program.ir import dense_strides, in_memory


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: in the buffer of the node `owner`, `offset` numbers behind its start."""

    owner: str
    offset: int
    strides: tuple[int, ...]


@dataclass
class Places:
    """The place of every tensor, and which of them need a step of their own."""

    found: dict[str, Place] = field(default_factory=dict)
    views: set[str] = field(default_factory=set)
    in_place: set[str] = field(default_factory=set)


def place(network: Network, types: Mapping[str, TensorType], batch: int) -> Places:
    """Where each tensor lies."""
    shapes = {name: in_memory(type_, batch) for name, type_ in types.items()}
    places = Places()
    _place_lanes(network, types, shapes, places)
    last = _last_uses(network)
    order = {node.name: step for step, node in enumerate(network.nodes())}
    for node in network.nodes():
        name = node.name
        if name in places.found:
            continue
        view = _view(node, types, shapes, places.found)
        if view is not None:
            places.found[name] = view
            places.views.add(name)
            continue
        source = _overwritten(node, types, places, last, order)
        if source is None:
            places.found[name] = Place(name, 0, dense_strides(shapes[name]))
        else:
            places.found[name] = places.found[source]
            places.in_place.add(name)
    return places


def _place_lanes(
    network: Network, types: Mapping[str, TensorType], shapes: Mapping[str, tuple[int, ...]], places: Places
) -> None:
    """Case 2. Later concatenations come first: they are the larger ones."""
    movable = {node.name for node in network.nodes() if node.inputs and not _may_be_view(node.layer)}
    found = places.found
    for node in reversed(list(network.nodes())):
        if not isinstance(node.layer, Concat):
            continue
        axis = axis_index(node.layer.kind, node.layer.axis, types[node.inputs[0]])
        along = len(shapes[node.name]) - 1 if axis == 0 else axis
        if node.name not in found:
            together = _together(node, along, shapes, found)
            if together is not None:
                found[node.name] = together
                places.views.add(node.name)
                continue
            found[node.name] = Place(node.name, 0, dense_strides(shapes[node.name]))
        whole = found[node.name]
        offset = whole.offset
        for source in node.inputs:
            if source in movable and source not in found:
                found[source] = Place(whole.owner, offset, whole.strides)
            offset += shapes[source][along] * whole.strides[along]
        if _together(node, along, shapes, found) == whole:
            places.views.add(node.name)


def _together(
    node: Node, along: int, shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, Place]
) -> Place | None:
    """Where the lanes of a concatenation lie, if they lie beside each other in its order already."""
    first = found.get(node.inputs[0])
    if first is None:
        return None
    expected = first.offset
    for source in node.inputs:
        if found.get(source) != Place(first.owner, expected, first.strides):
            return None
        expected += shapes[source][along] * first.strides[along]
    return first


def _may_be_view(layer: Layer) -> bool:
    return isinstance(layer, Flatten | Reshape | Slice)


def _view(
    node: Node, types: Mapping[str, TensorType], shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, Place]
) -> Place | None:
    """Case 1: the part of another tensor that a node is."""
    if not node.inputs or not _may_be_view(node.layer):
        return None
    (source,) = node.inputs
    at, before, after = found[source], shapes[source], shapes[node.name]
    if isinstance(node.layer, Slice):
        axis = axis_index(node.layer.kind, node.layer.axis, types[source])
        along = len(before) - 1 if axis == 0 else axis
        return Place(at.owner, at.offset + node.layer.start * at.strides[along], at.strides)
    # All numbers of an image are channels of one position, before and after.
    if before[-1] == after[-1] == prod(before[1:]):
        return Place(at.owner, at.offset, (at.strides[0], *dense_strides(after)[1:]))
    return None


def _last_uses(network: Network) -> dict[str, int]:
    """The last step that reads each tensor; one behind all steps for outputs."""
    last: dict[str, int] = {}
    for step, node in enumerate(network.nodes()):
        last[node.name] = step
        for source in node.inputs:
            last[source] = step
    end = len(network.table)
    return last | dict.fromkeys(network.outputs.values(), end)


def _overwritten(
    node: Node, types: Mapping[str, TensorType], places: Places, last: Mapping[str, int], order: Mapping[str, int]
) -> str | None:
    """Case 3: the input that a node may write its result over."""
    if not node.inputs or not _by_element(node.layer):
        return None
    for source in node.inputs[:2]:
        at = places.found[source]
        # A third lane is read when the first two have been written.
        if types[source] != types[node.name] or source in node.inputs[2:]:
            continue
        # Everything that lies in this buffer, or will, and is not read any more behind this step.
        alive = [
            name for name, other in places.found.items()
            if other.owner == at.owner and (last[name] > order[node.name] or order[name] > order[node.name])
        ]  # fmt: skip
        others = [name for name in node.inputs if name != source and places.found[name].owner == at.owner]
        if not alive and not others:
            return source
    return None


def _by_element(layer: Layer) -> bool:
    """Whether each number of the output depends on the numbers at the same place of the inputs only."""
    if isinstance(layer, Fused):
        return not layer.residual and _by_element(layer.core)
    if isinstance(layer, Average | Magnitude):
        return False  # they work in several sweeps
    return isinstance(layer, Activation | Join | Affine | BatchNorm | LayerScale | Scale | Shift)
