"""A Program: the steps that compute a network, and where every tensor lies while they run.

A Program is made for one shape of each input, batch included. It knows nothing of a processor: a back-end takes it,
packs the weights, chooses a kernel for each step, and runs the steps in order over one arena of memory.

Layout. Inside a Program channels come last: a tensor of type (C, *spatial) lies in memory as (N, *spatial, C), a vector
(C) as (N, C). Whoever runs a Program turns the inputs around on their way in and the outputs on their way out.

Legend: N images of the batch, C channels. All numbers are float32; offsets and strides of a tensor are counted in
numbers, those of a buffer in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from netdsl.ir.layer import Array, Layer
from netdsl.ir.network import Node
from netdsl.ir.types import BYTES_PER_ELEMENT, TensorType
from netdsl.layers.axes import axis_index
from netdsl.layers.join import Concat

ALIGNMENT = 64
"""Every buffer begins at a multiple of this many bytes: a line of the cache, and the widest vector."""


@dataclass(frozen=True)
class Buffer:
    """A stretch of the arena, which holds one tensor or several (slices of a concatenation, results in place).

    It is live from step `first` to step `last`, both included; no two buffers that are live at the same step overlap.
    What holds an input is live from step 0, what holds an output until the last step.
    """

    number: int
    bytes: int
    offset: int
    """Bytes from the start of the arena; a multiple of ALIGNMENT."""
    first: int
    last: int

    @property
    def end(self) -> int:
        return self.offset + self.bytes


@dataclass(frozen=True)
class Tensor:
    """Where the result of one node lies: number (n, *position, c) at `offset` + the sum of index times stride.

    The last stride (of the channels) is always 1, so that the numbers of one position follow each other. The others are
    those of an array without gaps, unless the tensor is a slice of a larger one.
    """

    name: str
    """The node that makes it."""
    type: TensorType
    """Without the batch, channels first: (C, *spatial)."""
    shape: tuple[int, ...]
    """In memory: (N, *spatial, C)."""
    buffer: int
    """Number of the buffer that it lies in."""
    offset: int
    """Numbers from the start of the buffer."""
    strides: tuple[int, ...]
    """Numbers from one index to the next along each axis of `shape`."""

    @property
    def batch(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * BYTES_PER_ELEMENT

    @property
    def dense(self) -> bool:
        """Whether there are no gaps between its numbers."""
        return self.strides == dense_strides(self.shape)


@dataclass(frozen=True)
class Step:
    """One kernel call: output = activation(layer(inputs) + residual), where there are such.

    The layer is one of the vocabulary, and says everything about the arithmetic: for a convolution
    `layer.slides(inputs[0].type)` is how its window slides along each axis. `activation` is a layer of one element
    without weights (relu, relu6, silu, ...). The output may lie in the memory of an input (`in_place`) only where the
    layer works on each element by itself, and over one of the first two inputs; otherwise it overlaps none of what the
    step reads, but for a `concat`, some lanes of which may lie in its output already (`lanes_to_copy`).

    After the passes convolutions have no flipped kernels, no table of connections and no other padding mode than zeros
    (unless extents were not known), and a convolution with as many groups as channels is a `depthwise_conv`. A dense
    layer behind `flatten` of a map is a convolution whose kernel covers the map.
    """

    number: int
    node: Node
    """The node of the network after the passes; has the place in the spec."""
    kernel: str
    """Which family of kernels computes it: the kind of the layer."""
    layer: Layer
    inputs: tuple[Tensor, ...]
    """What the layer takes."""
    output: Tensor
    weights: Mapping[str, Array] = field(repr=False)
    """The layer's weights by their own names, laid out as PyTorch does, float32. Read only. Those of a lowered network
    are computed when they are first asked for, and kept until `netdsl.passes.values.forget`."""
    activation: Layer | None = None
    residual: Tensor | None = None
    """Added to the output of the layer, before the activation; has the shape of the output."""
    in_place: bool = False

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def reads(self) -> tuple[Tensor, ...]:
        """Everything it reads: the inputs and the residual."""
        return self.inputs if self.residual is None else (*self.inputs, self.residual)


def lanes_to_copy(step: Step) -> list[tuple[Tensor, Tensor]]:
    """For a `concat`: each lane that lies elsewhere, and the part of the output that it belongs into."""
    y = step.output
    assert isinstance(step.layer, Concat)
    index = axis_index(step.layer.kind, step.layer.axis, y.type)
    along = len(y.shape) - 1 if index == 0 else index
    offset = y.offset
    found = []
    for lane in step.inputs:
        if (lane.buffer, lane.offset, lane.strides) != (y.buffer, offset, y.strides):
            found.append((lane, Tensor(y.name, lane.type, lane.shape, y.buffer, offset, y.strides)))
        offset += lane.shape[along] * y.strides[along]
    return found


class Planned:
    """What steps need of an arena: the base of Programs."""

    steps: tuple[Any, ...]
    buffers: tuple[Buffer, ...]

    @cached_property
    def arena_bytes(self) -> int:
        """How large the arena is: the peak."""
        return max((buffer.end for buffer in self.buffers), default=0)

    @cached_property
    def live_bytes(self) -> int:
        """The largest sum of buffers that are live at one step: no plan can do with less."""
        steps = range(max(1, len(self.steps)))
        return max(sum(b.bytes for b in self.buffers if b.first <= step <= b.last) for step in steps)


@dataclass(frozen=True)
class Program(Planned):
    """The steps in order, and the plan of the arena."""

    name: str
    inputs: Mapping[str, Tensor]
    """By name, in the network's order; filled before step 0."""
    outputs: Mapping[str, Tensor]
    """By name; read after the last step. Two outputs may be the same tensor, and an output may be an input."""
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    """By number."""
    tensors: Mapping[str, Tensor]
    """By name of the node; those without a step of their own are views of another."""
    network_bytes: int
    """What all tensors would take side by side, as an executor that frees nothing keeps them."""

    @property
    def batch(self) -> int:
        return next(iter(self.inputs.values())).batch


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array of this shape without gaps, in numbers."""
    strides = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def in_memory(type: TensorType, batch: int) -> tuple[int, ...]:
    """(N, *spatial, C) of a type whose extents are all known."""
    extents = [extent or 0 for extent in type.shape]
    return (batch, *extents[1:], *extents[:1])
