"""From a `Work` to something that can be queued: functions compiled, addresses bound, scratch found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.device import Device, Function
from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, argument
from netdsl.backends.cupy.memory import Workspace

OPTIONS = ("--std=c++17",)
ALIGNMENT = 256
"""Every piece of scratch begins at a multiple of this many bytes."""


def compiled(kernel: Kernel, device: Device) -> Function:
    """The function of a kernel. Raises ValueError where the compiler, or a device that is played, does not have it."""
    try:
        function = device.function(kernel.text, kernel.entry, OPTIONS)
    except Exception as error:
        if type(error).__name__ not in ("CompileException", "NVRTCError"):
            raise
        raise ValueError(f"{kernel.name} cannot be compiled: {str(error).strip().splitlines()[0]}") from None
    if getattr(function, "host", function) is None:
        raise ValueError("a device that is played has no form of this kernel")
    return function


class _Bound:
    """One kernel with its arguments: numbers that stand, and places in the workspace."""

    def __init__(
        self, kernel: Kernel, function: Function, addresses: Mapping[str, int], rooms: Mapping[str, int]
    ) -> None:
        self._kernel, self._function = kernel, function
        self._places: list[tuple[bool, int]] = []
        for text in kernel.arguments:
            name, offset = argument(text)
            if name in rooms:
                self._places.append((True, rooms[name] + offset))
            else:
                self._places.append((False, 0 if name == NONE else addresses[name] + offset))
        self._values = [np.int64(value) for value in kernel.values]
        self._made: tuple[int, list[Any]] = (-1, [])

    def __call__(self, base: int) -> None:
        if self._made[0] != base:
            pointers = [np.uint64(place + base if scratch else place) for scratch, place in self._places]
            self._made = (base, [*pointers, *self._values])
        self._function((self._kernel.grid,), self._kernel.block, self._made[1])


def launch(
    name: str,
    work: Work,
    device: Device,
    workspace: Workspace,
    addresses: Mapping[str, int],
    keeps: Sequence[object] = (),
) -> Launch:
    """What queues the kernels of `work` in order. `addresses` are those of all arguments but scratch, which is taken
    from the workspace. Raises ValueError where a kernel cannot be compiled."""
    functions = [compiled(kernel, device) for kernel in work.kernels]
    rooms, used = {}, 0
    for room, size in work.rooms.items():
        rooms[room] = used
        used += -(-size // ALIGNMENT) * ALIGNMENT
    workspace.need(used)
    bound = [
        _Bound(kernel, function, addresses, rooms) for kernel, function in zip(work.kernels, functions, strict=True)
    ]

    def run() -> None:
        base = workspace.address if used else 0
        for each in bound:
            each(base)

    return Launch(name, run, keeps=(*keeps, *functions))
