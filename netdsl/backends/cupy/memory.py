"""The arena of a Program on a device: one allocation, planned for the size of the numbers in it."""

from __future__ import annotations

from math import prod
from typing import Any

from netdsl.backends.cupy.device import Device
from netdsl.program.ir import Planned, Tensor
from netdsl.program.layout import DEVICE_ALIGNMENT, Layout, device_aligned, layout


class Memory:
    """The arena of one Program on a device. Raises DeviceMemoryError."""

    def __init__(self, program: Planned, device: Device, dtype: Any, plan: Layout | None = None) -> None:
        self.program = program
        self.device = device
        self.dtype = dtype
        self.layout = plan or layout(program, dtype.itemsize)
        self.arena = device.allocate(max(DEVICE_ALIGNMENT, self.layout.bytes))

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
        self._captured: list[Any] = []
        self.sealed = False
        """Whether graphs may know where the memory is: it then stays, also when more is needed elsewhere."""
        self.bytes = 0

    def need(self, size: int) -> None:
        """Says, while a step is built, how much it will take. Raises DeviceMemoryError."""
        if size > self.bytes:
            if self.sealed and self._memory is not None:
                self._captured.append(self._memory)
            self.bytes = device_aligned(size)
            self._memory = None

    @property
    def memory(self) -> Any:
        """The memory, as uint8; the same from the first launch to the last, unless a step is built between."""
        if self._memory is None:
            self._memory = self._device.allocate(max(DEVICE_ALIGNMENT, self.bytes))
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
            used += device_aligned(size)
        return found


def workspace_bytes(itemsize: int, *shapes: tuple[int, ...]) -> int:
    """What `Workspace.take` needs."""
    return sum(device_aligned(prod(shape) * itemsize) for shape in shapes)


__all__ = ["DEVICE_ALIGNMENT", "Layout", "Memory", "Workspace", "layout", "workspace_bytes"]
