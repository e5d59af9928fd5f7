"""The arena of a Program on a device: one allocation, planned for the size of the numbers in it.

A Program's own plan is made for four bytes a number and lines of a CPU's cache. Here buffers begin at multiples of 256
bytes, so that every row of a warp's loads may be a whole transaction, and half precisions take half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from netdsl.backends.cupy.device import Device
from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.program.arena import Demand, plan
from netdsl.program.ir import Planned, Tensor

ALIGNMENT = 256
"""Every buffer begins at a multiple of this many bytes, as what CUDA allocates does."""


@dataclass(frozen=True)
class Layout:
    """Where the buffers of a Program lie when a number takes `itemsize` bytes."""

    offsets: tuple[int, ...]
    """Bytes from the start of the arena, by number of the buffer."""
    bytes: int
    itemsize: int


def layout(program: Planned, itemsize: int, sizes: Sequence[int] | None = None) -> Layout:
    """The arena of a Program for numbers of `itemsize` bytes. `sizes`: bytes of each buffer, where they hold something
    else than numbers of one size."""
    if sizes is None:
        sizes = [buffer.bytes // BYTES_PER_ELEMENT * itemsize for buffer in program.buffers]
    demands = [
        Demand(-(-size // ALIGNMENT) * ALIGNMENT, buffer.first, buffer.last)
        for size, buffer in zip(sizes, program.buffers, strict=True)
    ]
    offsets = plan(demands)
    end = max((offset + demand.bytes for offset, demand in zip(offsets, demands, strict=True)), default=0)
    return Layout(tuple(offsets), end, itemsize)


class Memory:
    """The arena of one Program on a device. Raises DeviceMemoryError."""

    def __init__(self, program: Planned, device: Device, dtype: Any, plan: Layout | None = None) -> None:
        self.program = program
        self.device = device
        self.dtype = dtype
        self.layout = plan or layout(program, dtype.itemsize)
        self.arena = device.allocate(max(ALIGNMENT, self.layout.bytes))

    def view(self, tensor: Tensor) -> Any:
        """A tensor as an array of shape (N, *spatial, C)."""
        numbers = self.arena.view(self.dtype)
        size = self.layout.itemsize
        start = self.layout.offsets[tensor.buffer] // size + tensor.offset
        strides = tuple(size * stride for stride in tensor.strides)
        xp = self.device.xp
        return xp.lib.stride_tricks.as_strided(numbers[start:], tensor.shape, strides)

    def maps(self, tensor: Tensor) -> Any:
        """The same as (N, H, W, C): a vector has one position, a sequence one row. Raises ValueError for more axes."""
        view = self.view(tensor)
        if view.ndim > 4:
            raise ValueError("more than two spatial axes")
        while view.ndim < 4:
            view = view[:, None]
        return view

    def address(self, tensor: Tensor) -> int:
        """Where the first number of a tensor lies on the device."""
        size = self.layout.itemsize
        return self.device.address(self.arena) + self.layout.offsets[tensor.buffer] + size * tensor.offset


class Workspace:
    """Memory that every step uses anew: as large as what the most demanding one asks for while steps are built, and
    there once all have been."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._memory: Any = None
        self.bytes = 0

    def need(self, size: int) -> None:
        """Says, while a step is built, how much it will take. Raises DeviceMemoryError."""
        if size > self.bytes:
            # What was taken before has been given away by nobody: launches ask for it each time they are queued.
            self.bytes = -(-size // ALIGNMENT) * ALIGNMENT
            self._memory = None

    @property
    def memory(self) -> Any:
        """The memory, as uint8; the same from the first launch to the last, unless a step is built between."""
        if self._memory is None:
            self._memory = self._device.allocate(max(ALIGNMENT, self.bytes))
        return self._memory

    @property
    def address(self) -> int:
        return self._device.address(self.memory)

    def take(self, dtype: Any, *shapes: tuple[int, ...]) -> list[Any]:
        """Arrays without gaps, one behind the other, each from a multiple of 256 bytes on."""
        found, used = [], 0
        for shape in shapes:
            size = prod(shape) * dtype.itemsize
            found.append(self.memory[used : used + size].view(dtype).reshape(shape))
            used += -(-size // ALIGNMENT) * ALIGNMENT
        return found


def workspace_bytes(itemsize: int, *shapes: tuple[int, ...]) -> int:
    """What `Workspace.take` needs."""
    return sum(-(-prod(shape) * itemsize // ALIGNMENT) * ALIGNMENT for shape in shapes)
