"""A training Program: the steps of one batch, and where every tensor lies while they run.

    forward steps in training mode -> loss -> backward steps in reverse

Each tensor is written once: a gradient that gets another contribution is a new tensor (`plus` of a step, or a `Sum`),
which may lie in the memory of the one before. Layout, buffers and strides are those of an inference Program (see
netdsl/program/ir.py): channels last, float32. What a step saves for its backward (statistics, places of maxima) lies in
the arena too.

Legend: N images of the batch, C channels, d(t) the gradient of the loss by the tensor t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netdsl.ir.layer import Layer
from netdsl.ir.network import Node
from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.program.ir import Buffer, Planned, Tensor


@dataclass(frozen=True)
class Saved:
    """What a forward step leaves for its backward, beside tensors: `count` items of `item` bytes at the start of a
    buffer."""

    name: str
    count: int
    item: int
    buffer: int

    @property
    def bytes(self) -> int:
        return self.count * self.item


@dataclass(frozen=True)
class Forward:
    """output = activation(layer(inputs) + residual), where there are such; the residual is the last of `inputs`.

    A layer none of whose weights learns is in the form that it has then (`Layer.frozen`).
    """

    number: int
    node: Node
    layer: Layer
    inputs: tuple[Tensor, ...]
    output: Tensor
    activation: Layer | None = None
    residual: bool = False
    weights: Mapping[str, str] = field(default_factory=dict)
    """Its weights: own name -> full name."""
    saved: Mapping[str, Saved] = field(default_factory=dict)
    in_place: str = ""
    """The tensor that the output lies over."""

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def core(self) -> tuple[Tensor, ...]:
        """What the layer itself takes."""
        return self.inputs[:-1] if self.residual else self.inputs


@dataclass(frozen=True)
class Loss:
    """The loss of the heads, outside of the Program, and its gradients by them."""

    number: int
    heads: Mapping[str, Tensor]
    """By the name of the output."""
    gradients: Mapping[str, Tensor]
    name: str = "loss"


@dataclass(frozen=True)
class Backward:
    """From d(output) to d(inputs) and the gradients of the weights in `wanted`.

    `dx[i]` = d(inputs[i]) + `plus[i]`, where that is; None where nobody wants it. Numbers of `forward.inputs` and
    `forward.output` are there only where `reads_inputs` and `reads_output` say so. A weight in `add_to` has got a
    gradient before in this pass (it is shared): this one is added.
    """

    number: int
    forward: Forward
    dy: Tensor
    dx: tuple[Tensor | None, ...]
    plus: tuple[Tensor | None, ...]
    wanted: frozenset[str]
    add_to: frozenset[str]
    reads_inputs: bool
    reads_output: bool
    dz: Tensor | None = None
    """d(what the activation takes), where the step needs room for it: with an activation, unless the layer is a batch
    norm without a residual, which computes it twice instead. The gradient of the residual is the same tensor."""
    in_place: Mapping[str, str] = field(default_factory=dict)
    """A result -> the tensor that it lies over."""

    @property
    def name(self) -> str:
        return self.forward.name


@dataclass(frozen=True)
class Sum:
    """output = first + second: a gradient with another contribution."""

    number: int
    name: str
    first: Tensor
    second: Tensor
    output: Tensor
    in_place: str = ""


Step = Forward | Loss | Backward | Sum


@dataclass(frozen=True)
class TrainingProgram(Planned):
    """All steps in order, and the plan of the arena."""

    name: str
    inputs: Mapping[str, Tensor]
    """By node: inputs of the network and what the frozen prefix makes; filled before step 0."""
    outputs: Mapping[str, Tensor]
    """By name; read at the loss."""
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    tensors: Mapping[str, Tensor]
    network_bytes: int
    """What all tensors, gradients and saved numbers would take side by side."""
    trained: frozenset[str]
    """Full names of the parameters that get a gradient."""
    batch: int

    @property
    def loss(self) -> Loss:
        return next(step for step in self.steps if isinstance(step, Loss))

    @property
    def forward(self) -> tuple[Forward, ...]:
        return tuple(step for step in self.steps if isinstance(step, Forward))


def bytes_of(tensor: Tensor) -> int:
    return tensor.size * BYTES_PER_ELEMENT
