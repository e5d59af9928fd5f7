"""A Program that runs on a device: chosen kernels over one arena, queued as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from netdsl.backends.cupy.capture import Replay
from netdsl.backends.cupy.choice import CANDIDATES, PLAIN, Choice, Chooser, Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.device import Device, Task
from netdsl.backends.cupy.errors import DeviceMemoryError
from netdsl.backends.cupy.memory import Memory
from netdsl.backends.cupy.precision import Precision
from netdsl.backends.cupy.select import choose, first
from netdsl.backends.cupy.staging import Slot, taken_from
from netdsl.ir.layer import Array
from netdsl.program.ir import Program

Report = Callable[[str], None]
"""Takes a line that the user should see: something was done in another way than was hoped for."""


class CupyExecutable:
    """A Program on a device.

    The first run queues each launch by itself, captures them all, replays what was captured on the same inputs, and
    compares: a graph that does not give the same bits is not used, and that is reported.
    """

    def __init__(
        self,
        program: Program,
        device: Device,
        precision: Precision,
        packs: dict[Any, Any],
        *,
        chooser: Chooser | None = None,
        candidates: Sequence[str] | None = None,
        deterministic: bool = True,
        graphs: bool = True,
        report: Report | None = None,
    ) -> None:
        """Raises DeviceMemoryError, DeviceLostError. `candidates`: those that may be taken, all of them if it is not
        said."""
        self.program = program
        self.device = device
        self.precision = precision
        self._report: Report = report or (lambda line: None)
        with device.use():
            memory = Memory(program, device, precision.dtype)
            self.context = Context(device, precision, memory, packs, deterministic)
            names = tuple(CANDIDATES) if candidates is None else tuple(candidates)
            self.choices = tuple(choose(program, self.context, chooser or first, names))
            self._slots = [Slot(program, self.context)]
            self._idle: list[int] = []
            # Both are there before anything is captured, and an error of memory is found now.
            _ = self.context.workspace.memory
            self.context.workspace.sealed = True
        self._graphs = graphs
        self._replays: dict[int | None, Replay | None] = {}
        self._sequences: dict[int | None, list[Launch]] = {}
        self.kernels = tuple(_names(self.choices))
        self.notes: tuple[str, ...] = ()
        """What is not as it was hoped for: kernels that failed or are in no graph, and why."""
        self._note(*_failures(self.choices))

    @property
    def launches(self) -> list[Launch]:
        return [choice.launch for choice in self.choices]

    @property
    def slot(self) -> Slot:
        """That of plain calls."""
        return self._slots[0]

    @property
    def bytes(self) -> int:
        """What the arena, the workspace and the batches on their way take on the device."""
        return self.context.memory.layout.bytes + self.context.workspace.bytes + sum(slot.bytes for slot in self._slots)

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """float32 arrays (N, C, *spatial) of the host by name in, new ones out."""
        with self.device.use():
            self._send(0, inputs)
            return self._slots[0].results()

    def on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays of the device (N, C, *spatial), of any type of floats, in; new arrays of the device in float32 out.
        They are there when this returns."""
        with self.device.use():
            self._run(None, lambda: taken_from(self.context, self.program, inputs))
            made = self._slots[0].on_device()
            self.device.synchronize()
            return made

    def acquire(self) -> int:
        """The number of a slot for `submit` that nobody uses; `release` it."""
        with self.device.use():
            if not self._idle:
                self._slots.append(Slot(self.program, self.context))
                self._idle.append(len(self._slots) - 1)
            return self._idle.pop()

    def release(self, index: int) -> None:
        self._idle.append(index)

    def submit(self, index: int, inputs: Mapping[str, Array]) -> None:
        """Queues a batch, from the host and back: the copies of one go on beside the work for another."""
        with self.device.use():
            self._send(index, inputs)

    def collect(self, index: int) -> dict[str, Array]:
        """Waits for what was submitted to a slot."""
        with self.device.use():
            return self._slots[index].results()

    def _send(self, index: int, inputs: Mapping[str, Array]) -> None:
        slot = self._slots[index]
        slot.send(inputs)
        self._run(index, lambda: None)
        slot.fetch()

    def parts(self, inputs: Mapping[str, Array]) -> list[tuple[str, Task]]:
        """What a run consists of, in order, by the name of the step: to time each by itself."""

        def alone(launch: Launch) -> Task:
            def run() -> None:
                with self.device.use():
                    launch.run()
                    self.device.synchronize()

            return run

        def send() -> None:
            with self.device.use():
                self._slots[0].send(inputs)
                self._slots[0].take().run()
                self.device.synchronize()

        # Of several that are computed together the first stands for all.
        steps = [(choice.option.steps[0].name, alone(choice.launch)) for choice in self.choices]
        return [(", ".join(self.program.inputs), send), *steps]

    def _sequence(self, index: int | None) -> list[Launch]:
        """The launches of a run whose inputs lie in a slot, or in the arena already."""
        if index not in self._sequences:
            slot = self._slots[index or 0]
            self._sequences[index] = [*([] if index is None else [slot.take()]), *self.launches, slot.give()]
        return self._sequences[index]

    def _run_each(self, index: int | None) -> None:
        for launch in self._sequence(index):
            launch.run()

    def _run(self, index: int | None, fill: Task) -> None:
        """Queues a run. `fill` puts the inputs into the arena, unless the launches do it: what a run leaves there is
        no input any more."""
        fill()
        if index not in self._replays:
            self._replays[index] = self._captured(index, fill) if self._graphs else None
            fill()
        replay = self._replays[index]
        if replay is None:
            self._run_each(index)
        else:
            replay.run()

    def _captured(self, index: int | None, fill: Task) -> Replay | None:
        """The launches as graphs, if these give the same bits."""
        self._run_each(index)
        slot = self._slots[index or 0]
        slot.fetch()
        expected = slot.results()
        try:
            replay = Replay(self.device, self._sequence(index))
        except DeviceMemoryError:
            # A graph has memory of its own for what its launches make on their way.
            self._note("there is no memory for a CUDA graph: each kernel is launched by itself")
            return None
        fill()
        replay.run()
        slot.fetch()
        found = slot.results()
        if all(_same_bits(expected[name], found[name]) for name in expected):
            self._note(*(f"{name} is in no CUDA graph: {reason}" for name, reason in replay.refused.items()))
            return replay
        self._note("what was captured as a CUDA graph gives other numbers: each kernel is launched by itself")
        return None

    def _note(self, *lines: str) -> None:
        for line in lines:
            if line not in self.notes:
                self.notes += (line,)
                self._report(line)


def _same_bits(a: Array, b: Array) -> bool:
    return bool((a.view(np.uint32) == b.view(np.uint32)).all())


def _failures(choices: Sequence[Choice]) -> Iterator[str]:
    """For each candidate that should have computed steps and could not, a line; where another one than the plain form
    took its place nothing is amiss."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for choice in choices:
        if choice.option.candidate == PLAIN:
            for label, reason in choice.failed:
                found.setdefault((label.partition(":")[0], reason), {})[choice.option.steps[0].name] = None
    for (name, reason), several in found.items():
        steps = list(several)
        count = f"`{steps[0]}`" if len(steps) == 1 else f"{len(steps)} steps (`{steps[0]}`, ...)"
        yield f"{name} cannot compute {count}: {reason}; a plain kernel does"


def _names(choices: Sequence[Choice]) -> Iterator[str]:
    """What computes each step: of several that are computed together, the first has the name."""
    for choice in choices:
        yield choice.launch.name
        for _ in choice.option.steps[1:]:
            yield f"with {choice.option.steps[0].name}"
