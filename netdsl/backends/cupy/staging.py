"""How arrays get to a device and back: memory of the host that the device reads by itself, and copies beside the work.

Between a caller's array (N, C, *spatial) in float32 and the arena (N, *spatial, C) in the stored type lies an array on
the device of the caller's kind, so that what crosses the bus has no gaps and the device turns it around.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netdsl.backends.cupy.axes import channels_first, channels_last
from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.device import Event
from netdsl.backends.cupy.kernels.turning import turning
from netdsl.ir.layer import Array
from netdsl.program.ir import Program, Tensor

FLOAT = np.dtype(np.float32)


class Slot:
    """One batch on its way in and out. Two of them let a batch travel while another is computed."""

    def __init__(self, program: Program, context: Context) -> None:
        device = context.device
        self.device = device
        self._context = context
        self._program = program
        self._in = {name: _room(context, tensor) for name, tensor in program.inputs.items()}
        self._out = {name: _room(context, tensor) for name, tensor in program.outputs.items()}
        self._pinned_in = {name: device.pinned(array.shape, FLOAT) for name, array in self._in.items()}
        self._pinned_out = {name: device.pinned(array.shape, FLOAT) for name, array in self._out.items()}
        self._there: Event | None = None
        self._turns: dict[str, Launch] = {}

    @property
    def bytes(self) -> int:
        """On the device."""
        return sum(int(array.nbytes) for array in (*self._in.values(), *self._out.values()))

    def send(self, inputs: Mapping[str, Array]) -> None:
        """Starts the copies of a batch to the device; the work queued from now on waits for them."""
        for name, target in self._in.items():
            np.copyto(self._pinned_in[name], inputs[name])
            self.device.upload(target, self._pinned_in[name])
        self.device.await_copies()

    def take(self) -> Launch:
        """What turns the inputs around into the arena."""
        return self._turned("inputs", self._program.inputs, self._in, out=False)

    def give(self) -> Launch:
        """What turns the outputs around into arrays without gaps."""
        return self._turned("outputs", self._program.outputs, self._out, out=True)

    def _turned(self, name: str, tensors: Mapping[str, Tensor], arrays: Mapping[str, Any], out: bool) -> Launch:
        """By kernels, or by the array library what has none; made once."""
        if name in self._turns:
            return self._turns[name]
        kernels, pairs = [], []
        for key, array in arrays.items():
            try:
                kernels.append(turning(self._context, tensors[key], array, out=out))
            except ValueError:
                inside = self._context.view(tensors[key])
                pairs.append((array, channels_first(inside)) if out else (inside, channels_last(array)))

        def run() -> None:
            for kernel in kernels:
                kernel.run()
            for target, source in pairs:
                target[...] = source

        self._turns[name] = Launch(name, run, keeps=tuple(kernels))
        return self._turns[name]

    def fetch(self) -> None:
        """Starts the copies of the outputs to the host, behind the work that has been queued."""
        self.device.hold_copies(self.device.mark())
        for name, source in self._out.items():
            self.device.download(self._pinned_out[name], source)
        self._there = self.device.mark(copies=True)

    def results(self) -> dict[str, Array]:
        """Waits for them; what comes out is the caller's."""
        assert self._there is not None
        self._there.wait()
        return {name: array.copy() for name, array in self._pinned_out.items()}

    def on_device(self) -> dict[str, Any]:
        """The outputs as new arrays of the device, queued."""
        return {name: array.copy() for name, array in self._out.items()}


def _room(context: Context, tensor: Tensor) -> Any:
    """An array (N, C, *spatial) of float32 on the device."""
    shape = (tensor.batch, *(extent or 0 for extent in tensor.type.shape))
    with context.device.use():
        return context.xp.empty(shape, FLOAT)


def taken_from(context: Context, program: Program, arrays: Mapping[str, Any]) -> None:
    """Queues the copy of arrays (N, C, *spatial) that lie on the device, of any type of floats, into the arena."""
    for name, tensor in program.inputs.items():
        context.view(tensor)[...] = channels_last(arrays[name])
