"""The operations of one batch in order, each with the tensors that it reads and writes: no memory yet.

Gradients are made in the reverse of the order in which the network runs. The gradient of a tensor with several readers
is the first contribution, with each other one added; a gradient that is another one number for number (through `add`,
`flatten`) is that one, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from netdsl.ir.network import Network, Node
from netdsl.ir.types import BYTES_PER_ELEMENT, TensorType
from netdsl.program.ir import in_memory
from netdsl.program.training import rules
from netdsl.program.training.split import owned

NOTHING = rules.Reads(False, False)


@dataclass
class Value:
    """A tensor, or numbers that a step saves. `base` is the value whose memory it is another shape of."""

    name: str
    bytes: int
    type: TensorType | None
    base: str | None = None


@dataclass
class Operation:
    """One step. `over` pairs a result with the operands that it may lie over, the best first."""

    node: Node | None
    kind: str
    """forward, loss, backward, sum."""
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    over: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    saved: dict[str, str] = field(default_factory=dict)
    dy: str = ""
    dz: str | None = None
    dx: list[str | None] = field(default_factory=list)
    plus: list[str | None] = field(default_factory=list)
    wanted: frozenset[str] = frozenset()
    add_to: frozenset[str] = frozenset()
    needs: rules.Reads = NOTHING


@dataclass
class Trace:
    """What `trace` makes of a network."""

    operations: list[Operation] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    """Head -> its gradient."""
    trained: set[str] = field(default_factory=set)
    """Full names of the parameters that have got a gradient."""


def trace(
    network: Network,
    learning: Collection[str],
    trainable: Collection[str],
    heads: Collection[str],
    types: Mapping[str, TensorType],
    batch: int,
) -> Trace:
    """The operations of a body (see `split`) whose outputs in `heads` have a loss."""
    tracer = _Tracer(network, frozenset(learning), frozenset(trainable), types, batch)
    tracer.forward()
    tracer.loss(heads)
    tracer.backward()
    return tracer.found


class _Tracer:
    def __init__(
        self, network: Network, learning: frozenset[str], trainable: frozenset[str], types: Mapping[str, TensorType],
        batch: int,
    ) -> None:  # fmt: skip
        self.network, self.learning, self.trainable = network, learning, trainable
        self.types, self.batch = types, batch
        self.found = Trace()
        self.gradients: dict[str, str] = {}
        self.saved: dict[str, dict[str, str]] = {}

    def value(self, name: str, type_: TensorType, base: str | None = None) -> str:
        """A new value; a number behind the name tells several apart."""
        unique, number = name, 1
        while unique in self.found.values:
            number += 1
            unique = f"{name} #{number}"
        self.found.values[unique] = Value(unique, self.batch * (type_.elements or 0) * BYTES_PER_ELEMENT, type_, base)
        return unique

    def root(self, name: str) -> str:
        """The value whose memory another is a shape of."""
        base = self.found.values[name].base
        while base is not None:
            name, base = base, self.found.values[base].base
        return name

    def moves_nothing(self, node: Node) -> bool:
        """Whether a layer's output is its input in memory: all numbers of an image are channels of one position."""
        if not rules.is_view(node.layer):
            return False
        before, after = (in_memory(self.types[name], self.batch) for name in (node.inputs[0], node.name))
        return before[-1] == after[-1]

    def forward(self) -> None:
        for node in self.network.nodes():
            type_ = self.types[node.name]
            if not node.inputs:
                self.value(node.name, type_)
                continue
            if self.moves_nothing(node):
                self.value(node.name, type_, node.inputs[0])
                continue
            self.value(node.name, type_)
            rules.check_batch(node.layer, self.types[node.inputs[0]], self.batch)
            made = Operation(node, "forward", list(dict.fromkeys(node.inputs)), [node.name])
            if rules.by_element(node.layer):
                # A third lane is read when the first two have been written.
                early = dict.fromkeys(name for name in node.inputs[:2] if name not in node.inputs[2:])
                alike = tuple(name for name in early if self.types[name] == type_)
                made.over.append((node.name, alike))
            if node.name in self.learning:
                inputs = [self.types[name] for name in node.inputs]
                for key, (count, item) in rules.saved(node.layer, inputs, type_, self.batch).items():
                    name = f"{node.name} {key}"
                    self.found.values[name] = Value(name, count * item, None)
                    made.saved[key] = name
                    made.writes.append(name)
                self.saved[node.name] = made.saved
            self.found.operations.append(made)

    def loss(self, heads: Collection[str]) -> None:
        outputs = self.network.outputs
        made = Operation(None, "loss", list(dict.fromkeys(outputs.values())))
        for head in heads:
            node = outputs[head]
            if node not in self.learning:
                continue
            gradient = self.found.heads[head] = self.value(f"d {node}", self.types[node])
            made.writes.append(gradient)
        self.found.operations.append(made)
        for head, gradient in self.found.heads.items():
            self.contribute(outputs[head], gradient)

    def contribute(self, node: str, gradient: str) -> None:
        """Another part of the gradient of a tensor."""
        before = self.gradients.get(node)
        if before is None:
            self.gradients[node] = gradient
            return
        total = self.value(f"d {node}", self.types[node])
        self.found.operations.append(
            Operation(self.network.node(node), "sum", [before, gradient], [total], [(total, (before, gradient))])
        )
        self.gradients[node] = total

    def backward(self) -> None:
        for node in reversed(list(self.network.nodes())):
            dy = self.gradients.get(node.name)
            if dy is None or node.name not in self.learning or not node.inputs:
                continue
            if self.moves_nothing(node):
                source = node.inputs[0]
                self.contribute(source, self.value(f"d {source}", self.types[source], dy))
            elif rules.shares_gradient(node.layer, [self.types[name] for name in node.inputs], self.types[node.name]):
                for source in node.inputs:
                    if source in self.learning:
                        self.contribute(source, dy)
            else:
                self.step(node, dy)

    def step(self, node: Node, dy: str) -> None:
        core, residual, activation = rules.parts(node.layer)
        inputs = [self.types[name] for name in node.inputs]
        own = owned(self.network, node)
        wanted = frozenset(name for name, full in own.items() if full in self.trainable)
        needs = rules.reads(node.layer, wanted, inputs)
        made = Operation(node, "backward", [dy], dy=dy, wanted=wanted, needs=needs, saved=self.saved[node.name])
        made.add_to = frozenset(name for name in wanted if own[name] in self.found.trained)
        self.found.trained.update(own[name] for name in wanted)
        sources = node.inputs[:-1] if residual else node.inputs
        if needs.inputs:
            made.reads += sources
        if needs.output:
            made.reads.append(node.name)
        made.reads += self.saved[node.name].values()
        later: list[tuple[str, str]] = []
        if activation is not None and (residual or not rules.twice(core)):
            made.dz = self.value(f"d {node.name} before", self.types[node.name])
            made.writes.append(made.dz)
            made.over.append((made.dz, (dy, node.name) if needs.output else (dy,)))
        same = rules.shares_gradient(core, inputs[: len(sources)], self.types[node.name])
        for place, source in enumerate(sources):
            if same:
                made.dx.append(None)
                if source in self.learning:
                    later.append((source, made.dz or dy))
                made.plus.append(None)
                continue
            numbers = core.read is None or place < core.read
            made.dx.append(self.toward(made, node, place, source, later) if numbers else None)
            made.plus += [None] * (len(made.dx) - len(made.plus))
        if residual:
            made.dx.append(None)
            made.plus.append(None)
            if node.inputs[-1] in self.learning:
                later.append((node.inputs[-1], made.dz or dy))
                made.dx[-1] = made.dz
        made.reads = list(dict.fromkeys(made.reads))
        self.found.operations.append(made)
        for source, gradient in later:
            self.contribute(source, gradient)

    def toward(self, made: Operation, node: Node, place: int, source: str, later: list[tuple[str, str]]) -> str | None:
        """The gradient of one input; adds what there is of it already where that costs nothing."""
        if source not in self.learning:
            return None
        gradient = self.value(f"d {source}", self.types[source])
        made.writes.append(gradient)
        before = self.gradients.get(source)
        same = before is not None and self.root(before) == self.root(made.dy)
        if before is not None and rules.adds(node.layer) and not (same and made.dz):
            made.plus.append(before)
            made.reads.append(before)
            # Where it is what came in, number for number, all of it is read while the result is written.
            made.over.append((gradient, () if same else (before,)))
            self.gradients[source] = gradient
            return gradient
        if rules.by_element(node.layer) and self.types[source] == self.types[node.name] and place == 0:
            over = [made.dy] if made.dz is None else []
            if made.needs.inputs and rules.twice(rules.parts(node.layer)[0]):
                over.append(source)
            if len(node.inputs) == 1 or rules.twice(rules.parts(node.layer)[0]):
                made.over.append((gradient, tuple(over)))
        later.append((source, gradient))
        return gradient
