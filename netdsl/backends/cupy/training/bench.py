"""What the steps of a training Program are built with: the arena on the device, weights and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.memory import Layout, Memory, Workspace, layout
from netdsl.backends.cupy.precision import Precision
from netdsl.ir.layer import Draw
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Forward, Saved, TrainingProgram

FLOAT = np.dtype(np.float32)


class Work(list[Launch]):
    """The launches of one step, in order."""

    def then(self, name: str, run: Callable[[], None], **facts: Any) -> None:
        self.append(Launch(name, run, **facts))


def arena(program: TrainingProgram, itemsize: int) -> Layout:
    """Where buffers lie when activations and their gradients take `itemsize` bytes a number. What is saved beside
    them (moments, places of maxima) is as large as ever."""
    sizes = [0] * len(program.buffers)
    for tensor in program.tensors.values():
        sizes[tensor.buffer] = max(sizes[tensor.buffer], itemsize * tensor.size)
    for step in program.forward:
        for saved in step.saved.values():
            sizes[saved.buffer] = max(sizes[saved.buffer], saved.bytes)
    return layout(program, itemsize, sizes)


@dataclass
class Bench:
    """`weights` and `gradients` are arrays of the device by full name, in float32 and laid out as PyTorch does; they
    stay the same arrays while the Program lives. Raises DeviceMemoryError."""

    program: TrainingProgram
    device: Device
    precision: Precision
    weights: Mapping[str, Any]
    gradients: Mapping[str, Any]
    deterministic: bool = True
    autotune: str = "off"
    """Whether plans of cuDNN are timed: see `netdsl/backends/cupy/autotune.py`."""
    context: Context = field(init=False)
    refresh: list[Launch] = field(default_factory=list)
    """What is made of the weights at the start of a step: the same numbers in the stored type, in another order."""
    extras: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """By the name of a step: what its layer keeps for its backward outside of the arena."""
    draws: list[Callable[[], None]] = field(default_factory=list)
    """What draws random numbers on the host and sends them, before a step begins."""
    draw: Callable[[str], Draw] | None = None

    def __post_init__(self) -> None:
        memory = Memory(self.program, self.device, self.precision.dtype, arena(self.program, self.precision.itemsize))
        self.context = Context(self.device, self.precision, memory, {}, self.deterministic)
        self._stored: dict[tuple[str, str], Any] = {}

    @property
    def xp(self) -> Any:
        return self.device.xp

    @property
    def dtype(self) -> Any:
        """Of activations and their gradients."""
        return self.context.dtype

    @property
    def workspace(self) -> Workspace:
        return self.context.workspace

    def view(self, tensor: Tensor) -> Any:
        """(N, *spatial, C)"""
        return self.context.view(tensor)

    def rows(self, tensor: Tensor) -> Any:
        """(N positions, C): tensors of a training Program have no gaps."""
        return self.view(tensor).reshape(-1, tensor.shape[-1])

    def address(self, tensor: Tensor) -> int:
        return self.context.address(tensor)

    def saved(self, saved: Saved) -> Any:
        """Saved numbers, as a vector of float32 or of bytes."""
        memory = self.context.memory
        start = memory.layout.offsets[saved.buffer]
        stretch = memory.arena[start : start + saved.bytes]
        return stretch.view(FLOAT) if saved.item == FLOAT.itemsize else stretch

    def weight(self, step: Forward, name: str) -> Any:
        """A weight in float32."""
        return self.weights[step.weights[name]]

    def own(self, step: Forward) -> dict[str, Any]:
        """The weights of a step by their own names."""
        return {name: self.weights[full] for name, full in step.weights.items()}

    def gradient(self, step: Forward, name: str) -> Any:
        return self.gradients[step.weights[name]]

    def stored(self, step: Forward, name: str, form: str, turned: Callable[[Any], Any], dtype: Any = None) -> Any:
        """A weight as `turned` (a view of the one in float32) lays it out, in the stored type; made anew at the start
        of each step. Weights that are shared are made once."""
        wanted = self.dtype if dtype is None else dtype
        key = (step.weights[name], f"{form} {wanted}")
        if key not in self._stored:
            source = turned(self.weight(step, name))
            with self.device.use():
                made = self._stored[key] = self.xp.empty(source.shape, wanted)

            def run() -> None:
                made[...] = source

            self.refresh.append(Launch(f"{form} weight", run))
        return self._stored[key]


def put(target: Any, value: Any, add: bool) -> None:
    """Writes or adds a gradient."""
    if add:
        target += value
    else:
        target[...] = value


def single(x: Any) -> Any:
    """The numbers in float32: the array itself where they are."""
    return x.astype(np.float32, copy=False)
