"""Where the numbers of a tensor lie along all of its axes, however many there are, and tensors beside the arena."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from netdsl.backends.native.lower.context import Context
from netdsl.backends.native.steps.view import Array, aligned
from netdsl.ir.types import BYTES_PER_ELEMENT, TensorType
from netdsl.program.ir import Tensor, dense_strides, in_memory


class Axis(NamedTuple):
    """Positions along an axis, and bytes from one to the next."""

    extent: int
    step: int


@dataclass(frozen=True)
class Place:
    """The axes of a tensor, channels first, as its type has them."""

    address: int
    images: Axis
    channels: Axis
    spatial: tuple[Axis, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """(C, *spatial)"""
        return (self.channels, *self.spatial)

    def rows(self) -> list[int]:
        """Bytes from the start of an image to each row along the last spatial axis."""
        steps = [[axis.step * index for index in range(axis.extent)] for axis in self.spatial[:-1]]
        return [sum(choice) for choice in product(*steps)]


def place(tensor: Tensor, context: Context) -> Place:
    """Where a tensor lies."""
    address = context.arena + context.offsets[tensor.buffer] + BYTES_PER_ELEMENT * tensor.offset
    images, *spatial, channels = (
        Axis(extent, BYTES_PER_ELEMENT * stride) for extent, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    return Place(address, images, channels, tuple(spatial))


def beside(name: str, type_: TensorType, batch: int, context: Context) -> tuple[Tensor, Context, Array]:
    """A tensor without gaps in memory of its own, the context that knows it, and the memory, which has to be kept."""
    shape = in_memory(type_, batch)
    size = 1
    for extent in shape:
        size *= extent
    memory = aligned(size)
    buffer = min(0, *context.offsets) - 1
    offsets = {**context.offsets, buffer: int(memory.ctypes.data) - context.arena}
    tensor = Tensor(name, type_, shape, buffer, 0, dense_strides(shape))
    return tensor, replace(context, offsets=offsets), memory


def collapsed(tensor: Tensor) -> Tensor | None:
    """A tensor of three or more spatial axes as one of two: all but the last are one. None where there are gaps."""
    images, *spatial, channels = tensor.shape
    if len(spatial) < 3:
        return tensor
    strides = tensor.strides[1:-1]
    for axis in range(len(spatial) - 2):
        if strides[axis] != spatial[axis + 1] * strides[axis + 1]:
            return None
    rows = 1
    for extent in spatial[:-1]:
        rows *= extent
    return replace(
        tensor,
        type=TensorType((channels, rows, spatial[-1])),
        shape=(images, rows, spatial[-1], channels),
        strides=(tensor.strides[0], *strides[-2:], tensor.strides[-1]),
    )
