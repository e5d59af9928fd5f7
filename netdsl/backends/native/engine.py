"""Steps that run: their code, the table that the worker goes through, and the threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from threading import Lock
from typing import Any

from netdsl.backends.locks import give_lock
from netdsl.backends.native import library
from netdsl.backends.native.crew import Crew, words
from netdsl.backends.native.kernels.interpreter import COUNTER_BYTES, STEP_BYTES, Interpreter
from netdsl.backends.native.kernels.kernel import Kernel
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.target import Target

WORK_WORTH_SHARING = 200_000
"""Operations below which waking another thread costs more than it saves: one or two microseconds."""
SHARES = 4
"""Shares for each thread of a step that is worth it: who is done early takes another."""


class Engine:
    """Runs steps in order, any number of times, on up to `threads` threads."""

    lock: Lock

    def __init__(self, steps: Sequence[NativeStep], target: Target, threads: int) -> None:
        self.steps = tuple(steps)
        give_lock(self)
        kernels: dict[Kernel, None] = dict.fromkeys(step.kernel for step in self.steps)
        worker, *codes = library.load([Interpreter(), *kernels], target)
        addresses = {kernel: code.address("kernel") for kernel, code in zip(kernels, codes, strict=True)}
        rows = [step.row() for step in self.steps]
        self.arguments = words(max(1, sum(len(row) for row in rows)))
        self._table = words(max(1, len(rows) * STEP_BYTES // 8))
        self._counters = words(max(1, len(rows) * COUNTER_BYTES // 8))
        shared = False
        self._places: list[int] = []
        at = 0
        for number, (step, row) in enumerate(zip(self.steps, rows, strict=True)):
            self.arguments[at : at + len(row)] = row
            shares = 1
            if threads > 1 and step.work >= WORK_WORTH_SHARING:
                wanted = threads if step.work < 8 * WORK_WORTH_SHARING else SHARES * threads
                shares = max(1, min(step.units, wanted))
            shared = shared or shares > 1
            place = number * STEP_BYTES // 8
            self._table[place : place + 4] = (
                addresses[step.kernel], self.arguments.ctypes.data + 8 * at, step.units, shares,
            )  # fmt: skip
            self._places.append(at)
            at += len(row)
        help = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(worker.address("help"))
        self._lead = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(worker.address("lead"))
        scratch = max((step.scratch for step in self.steps), default=0)
        keep = (worker, codes, self.arguments, self._table, self._counters, self.steps, help)
        self.threads = threads if shared else 1
        self._crew = Crew(self.threads, help, scratch, keep)
        self._crew.set("table", int(self._table.ctypes.data))
        self._crew.set("steps", len(rows))
        self._crew.set("counters", int(self._counters.ctypes.data))
        self._fixed: tuple[Any, ...] = (self._crew.address, int(self._crew.scratches[0].ctypes.data))

    def place(self, step: int, name: str) -> int:
        """Where an argument of a step lies among `arguments`, which may be changed while nothing runs."""
        return self._places[step] + self.steps[step].kernel.fields.index(name)

    def run(self, first: int = 0, end: int | None = None) -> None:
        """Runs the steps `first` to `end`; one caller at a time."""
        with self.lock:
            if self.threads > 1:
                self._crew.call()
            self._lead(*self._fixed, first, len(self.steps) if end is None else end)
