"""From a network to a training Program: a place for every tensor of the trace.

A result lies over an operand where the step allows it and nothing reads that operand, or another tensor in its memory,
behind the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netdsl.analysis.training import TrainingPlan
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.program.arena import Demand, plan
from netdsl.program.ir import Buffer, Tensor, dense_strides, in_memory
from netdsl.program.specialise import types_for
from netdsl.program.training import rules
from netdsl.program.training.fuse import fused
from netdsl.program.training.ir import Backward, Forward, Loss, Saved, Step, Sum, TrainingProgram
from netdsl.program.training.passes import prepared
from netdsl.program.training.split import body, learning_nodes, owned, prefix
from netdsl.program.training.trace import Operation, Trace, trace


@dataclass(frozen=True)
class Prepared:
    """A network that is ready for training, for inputs of any size."""

    plan: TrainingPlan
    prefix: Network
    """What is the same at every step: its outputs are inputs of the body. Without outputs where there is no such."""
    body: Network
    """What is computed at every step, after the passes."""
    learning: frozenset[str]
    """Nodes of the body whose output depends on what is trained."""


def prepare(plan: TrainingPlan, values: Mapping[str, Any]) -> Prepared:
    """Prefix and body of a network. `values` are those of the weights, by full name: only their shapes matter."""
    learned = fused(prepared(body(plan), values).network)
    return Prepared(plan, prefix(plan), learned, learning_nodes(learned, plan.trainable))


def lower_training(ready: Prepared, inputs: Mapping[str, TensorType], batch: int) -> TrainingProgram:
    """The training Program for a batch of inputs of the network of the given types, all extents known.

    Raises SpecError where a layer does not accept extents that were open, LayerError E0953 where a batch norm would
    have a single value for each channel.
    """
    plan, body = ready.plan, ready.body
    whole = types_for(plan.network, [role.node for role in plan.roles.values()], inputs)
    types = types_for(body, body.nodes(), {name: whole[name] for name in body.inputs})
    found = trace(body, ready.learning, plan.trainable, plan.heads, types, batch)
    return _Placement(body, found, batch).program()


class _Placement:
    """Which values share a buffer, and where buffers lie."""

    def __init__(self, body: Network, found: Trace, batch: int) -> None:
        self.body, self.found, self.batch = body, found, batch
        self.owner: dict[str, str] = {}
        """Value -> the value whose buffer it lies in."""
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        """Steps at which a value is written first and read last; views count for what they are views of."""
        self.laid_over: dict[tuple[int, str], str] = {}
        self._lives()
        self._share()

    def _root(self, name: str) -> str:
        base = self.found.values[name].base
        while base is not None:
            name = base
            base = self.found.values[name].base
        return name

    def _lives(self) -> None:
        for name in self.body.inputs:
            self.first[name] = self.last[name] = 0
        for step, operation in enumerate(self.found.operations):
            for name in (*operation.writes, *operation.reads):
                root = self._root(name)
                self.first.setdefault(root, step)
                self.last[root] = max(self.last.get(root, step), step)

    def _share(self) -> None:
        """Results lie over operands that end; a buffer then lives as long as the last of its values."""
        end: dict[str, int] = {}
        for name in self.body.inputs:
            self.owner[name] = name
        for step, operation in enumerate(self.found.operations):
            candidates = dict(operation.over)
            taken: set[str] = set()
            for name in operation.writes:
                root = self._root(name)
                if root in self.owner:
                    continue
                self.owner[root] = root
                for operand in candidates.get(name, ()):
                    base = self._root(operand)
                    owner = self.owner[base]
                    same = self.found.values[base].bytes == self.found.values[root].bytes
                    others = [
                        other for other in operation.reads
                        if self._root(other) != base and self.owner[self._root(other)] == owner
                    ]  # fmt: skip
                    if same and owner not in taken and not others and max(self.last[base], end.get(owner, -1)) == step:
                        self.owner[root] = owner
                        self.laid_over[step, name] = operand
                        taken.add(owner)
                        break
                owner = self.owner[root]
                end[owner] = max(end.get(owner, -1), self.last[root])
        for name in self.found.values:
            root = self._root(name)
            self.owner[name] = self.owner.get(root, root)

    def program(self) -> TrainingProgram:
        found, body = self.found, self.body
        roots = [name for name in found.values if found.values[name].base is None and name in self.first]
        owners = list(dict.fromkeys(self.owner[name] for name in roots))
        spans = {owner: [len(found.operations), 0] for owner in owners}
        for name in roots:
            span = spans[self.owner[name]]
            span[0], span[1] = min(span[0], self.first[name]), max(span[1], self.last[name])
        demands = [Demand(found.values[owner].bytes, *spans[owner]) for owner in owners]
        offsets = plan(demands)
        buffers = tuple(
            Buffer(index, demand.bytes, offset, demand.first, demand.last)
            for index, (demand, offset) in enumerate(zip(demands, offsets, strict=True))
        )
        self.index = {owner: index for index, owner in enumerate(owners)}
        self.tensors = {
            name: self._tensor(name) for name, value in found.values.items()
            if value.type is not None and self.owner[name] in self.index
        }  # fmt: skip
        self.forwards: dict[str, Forward] = {}
        steps = tuple(self._step(number, operation) for number, operation in enumerate(found.operations))
        return TrainingProgram(
            body.name,
            {name: self.tensors[name] for name in body.inputs},
            {name: self.tensors[node] for name, node in body.outputs.items()},
            steps,
            buffers,
            self.tensors,
            sum(found.values[name].bytes for name in roots),
            frozenset(found.trained),
            self.batch,
        )

    def _tensor(self, name: str) -> Tensor:
        type_ = self.found.values[name].type
        assert type_ is not None
        shape = in_memory(type_, self.batch)
        return Tensor(name, type_, shape, self.index[self.owner[name]], 0, dense_strides(shape))

    def _step(self, number: int, operation: Operation) -> Step:
        found, tensors = self.found, self.tensors
        if operation.kind == "loss":
            outputs = self.body.outputs
            return Loss(
                number,
                {head: tensors[outputs[head]] for head in found.heads},
                {head: tensors[gradient] for head, gradient in found.heads.items()},
            )
        over = {name: found_over for (step, name), found_over in self.laid_over.items() if step == number}
        node = operation.node
        assert node is not None
        if operation.kind == "sum":
            (total,) = operation.writes
            first, second = operation.reads if len(operation.reads) == 2 else operation.reads * 2
            return Sum(number, node.name, tensors[first], tensors[second], tensors[total], over.get(total, ""))
        if operation.kind == "forward":
            return self._forward(number, operation, over)
        dx = [None if name is None else tensors[name] for name in operation.dx]
        plus = [None if name is None else tensors[name] for name in operation.plus]
        return Backward(
            number, self.forwards[node.name], tensors[operation.dy], tuple(dx), tuple(plus), operation.wanted,
            operation.add_to, operation.needs.inputs, operation.needs.output,
            None if operation.dz is None else tensors[operation.dz], over,
        )  # fmt: skip

    def _forward(self, number: int, operation: Operation, over: Mapping[str, str]) -> Forward:
        node = operation.node
        assert node is not None
        core, residual, activation = rules.parts(node.layer)
        saved = {}
        for key, name in operation.saved.items():
            item = 1 if key == "places" else 4
            saved[key] = Saved(name, self.found.values[name].bytes // item, item, self.index[self.owner[name]])
        made = Forward(
            number, node, core, tuple(self.tensors[source] for source in node.inputs), self.tensors[node.name],
            activation, residual, owned(self.body, node), saved, over.get(node.name, ""),
        )  # fmt: skip
        self.forwards[node.name] = made
        return made
