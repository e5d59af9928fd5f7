"""What a network costs: parameters, buffers, multiply-accumulates, other operations, memory. For one image, float32.

    1 MAC = 2 FLOPs; flops = 2 * macs + other flops

The headline figures are those of the main part of a network: the nodes that its outputs need. Heads that run in
training only are listed beside it. Weights that several nodes share are counted once; every application of them
costs its operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netdsl.collector import paused_collector
from netdsl.ir.layer import Cost, Layer, Weight
from netdsl.ir.network import Network
from netdsl.ir.types import BYTES_PER_ELEMENT, TensorType


class Row(NamedTuple):
    """What one node costs. None stands for a number that depends on an unknown extent (`?`)."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    input_types: tuple[TensorType, ...]
    type: TensorType
    address: str
    weights: tuple[Weight, ...]
    """The weights it applies, shared or not."""
    parameters: int
    """Numbers in its parameters; 0 where an earlier node owns them already."""
    trainable_parameters: int
    buffers: int
    """Buffer tensors (running mean, running variance, number of batches); 0 where an earlier node owns them."""
    macs: int | None
    other_flops: int | None
    connections: int | None
    auxiliary: bool
    """Only heads that run in training need it."""

    @property
    def kind(self) -> str:
        return self.layer.kind

    @property
    def flops(self) -> int | None:
        return None if self.macs is None or self.other_flops is None else 2 * self.macs + self.other_flops

    @property
    def activation_bytes(self) -> int | None:
        """Bytes of the output."""
        return self.type.bytes

    @property
    def parameter_bytes(self) -> int:
        return self.parameters * BYTES_PER_ELEMENT


class Totals(NamedTuple):
    """Sums over rows. A sum with an unknown term is unknown: None."""

    parameters: int
    trainable_parameters: int
    buffers: int
    macs: int | None
    other_flops: int | None
    connections: int | None
    activation_bytes: int | None

    @property
    def flops(self) -> int | None:
        return None if self.macs is None or self.other_flops is None else 2 * self.macs + self.other_flops

    @property
    def parameter_bytes(self) -> int:
        return self.parameters * BYTES_PER_ELEMENT


@dataclass(frozen=True)
class Report:
    """The costs of a network: a row for each node in execution order, and the totals.

    The properties are the headline figures, those of `main`.
    """

    rows: tuple[Row, ...]
    main: Totals
    """Without heads that run in training only."""
    with_auxiliary: Totals
    """Of all nodes; equals `main` where there are no auxiliary heads."""
    unknown: str | None = None
    """The first node of the main part whose cost depends on an unknown extent."""
    headline: Totals | None = None

    @property
    def totals(self) -> Totals:
        return self.headline or self.main

    @property
    def parameters(self) -> int:
        return self.totals.parameters

    @property
    def trainable_parameters(self) -> int:
        return self.totals.trainable_parameters

    @property
    def buffers(self) -> int:
        """How many buffer tensors there are."""
        return self.totals.buffers

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of convolution and dense layers for one image."""
        return self.totals.macs

    @property
    def other_flops(self) -> int | None:
        return self.totals.other_flops

    @property
    def flops(self) -> int | None:
        return self.totals.flops

    @property
    def connections(self) -> int | None:
        return self.totals.connections

    @property
    def activation_bytes(self) -> int | None:
        return self.totals.activation_bytes

    @property
    def parameter_bytes(self) -> int:
        return self.totals.parameter_bytes

    @property
    def why_unknown(self) -> str | None:
        """One sentence that says why a total is None; None where all are known."""
        if self.unknown is None:
            return None
        row = next(row for row in self.rows if row.name == self.unknown)
        return (
            f"MACs, FLOPs and activation bytes are not known: the output of `{row.name}` is {row.type}, "
            "and ? is an extent that is only known when the network runs; give the shape of the input to count them"
        )


@paused_collector()
def measure(network: Network, auxiliary: bool = False) -> Report:
    """Counts what every node costs and adds it up.

    With `auxiliary`, the headline figures include the heads that run in training only. Nodes with equal layers and
    equal input types cost the same, so each such pair is asked once: 100,000 repeated layers take a moment.
    """
    main = network.main() if network.auxiliary else None
    # By identity: the elaborator makes equal layers once, and hashing a model costs more than all the rest here.
    known: dict[tuple[int, tuple[TensorType, ...]], _Facts] = {}
    owned = _Owned()
    rows: list[Row] = []
    for name, layer, sources, type, _, address, _ in network.nodes():
        types = network.types_of(sources)
        facts = known.get((id(layer), types))
        if facts is None:
            facts = known[id(layer), types] = _facts(layer, types, type)
        parameters, trainable, buffers = facts.parameters, facts.trainable_parameters, facts.buffers
        if facts.weights:
            fresh = owned.claim(address, facts.weights)
            if fresh is not facts.weights:
                parameters, trainable, buffers = _count(fresh)
        cost = facts.cost
        rows.append(
            Row(
                name, layer, sources, types, type, address, facts.weights, parameters, trainable, buffers,
                None if cost is None else cost.macs,
                None if cost is None else cost.flops,
                None if cost is None else cost.connections,
                main is not None and name not in main,
            )
        )  # fmt: skip
    everything = total(rows)
    chosen = rows if main is None else _main_rows(rows)
    return Report(
        tuple(rows),
        everything if main is None else total(chosen),
        everything,
        next((row.name for row in chosen if row.macs is None or row.type.elements is None), None),
        everything if auxiliary else None,
    )


def total(rows: Sequence[Row]) -> Totals:
    """Adds rows up."""
    sizes = {type: type.bytes for type in {row.type for row in rows}}
    return Totals(
        sum([row.parameters for row in rows]),
        sum([row.trainable_parameters for row in rows]),
        sum([row.buffers for row in rows]),
        _sum([row.macs for row in rows]),
        _sum([row.other_flops for row in rows]),
        _sum([row.connections for row in rows]),
        _sum([sizes[row.type] for row in rows]),
    )


def weights(network: Network) -> list[tuple[str, Weight]]:
    """Every weight under its full name (`layer1.0.conv1.weight`), in execution order, each shared one once.

    Weights of heads that run in training only are among them.
    """
    found: dict[str, Weight] = {}
    known: dict[tuple[Layer, tuple[TensorType, ...]], tuple[Weight, ...]] = {}
    for node in network.nodes():
        key = (node.layer, network.types_of(node.inputs))
        if key not in known:
            known[key] = node.layer.weights(*key[1]) if node.inputs else ()
        for weight in known[key]:
            found.setdefault(full_name(node.address, weight.name), weight)
    return list(found.items())


def full_name(address: str, name: str) -> str:
    """The name by which a weights file knows a weight: the address of its layer, a dot, its own name.

    Without the dot where either is empty: a weight that has no name of its own is called like its layer.
    """
    return f"{address}.{name}" if address and name else address or name


class _Facts(NamedTuple):
    """What is the same for all nodes with this layer and these input types."""

    weights: tuple[Weight, ...]
    parameters: int
    trainable_parameters: int
    buffers: int
    cost: Cost | None


class _Owned:
    """Which weights have been counted."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def claim(self, address: str, weights: tuple[Weight, ...]) -> tuple[Weight, ...]:
        """Those of `weights` that nobody with this address has claimed before; the same tuple where that is all."""
        names = self._names.get(address)
        if names is None:
            self._names[address] = {weight.name for weight in weights}
            return weights
        fresh = tuple(weight for weight in weights if weight.name not in names)
        names.update(weight.name for weight in fresh)
        return fresh


def _facts(layer: Layer, inputs: tuple[TensorType, ...], output: TensorType) -> _Facts:
    if not inputs:  # A tensor that is given, not computed.
        return _Facts((), 0, 0, 0, Cost())
    owned = layer.weights(*inputs)
    return _Facts(owned, *_count(owned), layer.cost(inputs, output))


def _count(owned: Iterable[Weight]) -> tuple[int, int, int]:
    """Parameters, trainable parameters (both in numbers) and buffers (in tensors)."""
    parameters = trainable = buffers = 0
    for weight in owned:
        if weight.role == "buffer":
            buffers += 1
            continue
        parameters += weight.size
        if weight.trainable:
            trainable += weight.size
    return parameters, trainable, buffers


def _main_rows(rows: list[Row]) -> list[Row]:
    """The rows of the main part.

    Weights that an auxiliary head shares with the main part and applies first belong to the main part: what was
    counted with the head moves to the first main node that applies them.
    """
    owned = _Owned()
    chosen: list[Row] = []
    for row in rows:
        if row.auxiliary:
            continue
        if row.weights:
            counts = _count(owned.claim(row.address, row.weights))
            if counts != (row.parameters, row.trainable_parameters, row.buffers):
                row = row._replace(parameters=counts[0], trainable_parameters=counts[1], buffers=counts[2])
        chosen.append(row)
    return chosen


def _sum(terms: list[int | None]) -> int | None:
    known = [term for term in terms if term is not None]
    return sum(known) if len(known) == len(terms) else None
