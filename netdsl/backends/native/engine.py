"""Steps that run: their code, the table that the worker goes through, and the threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import numpy as np

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
CALL_WORK = 4_000_000_000
"""Operations of one native call, about: between two calls Python looks whether it was interrupted. Half a second of one
thread at its slowest, a few hundredths on a good machine."""


def worker(target: Target) -> library.Code:
    """The code that goes through the table."""
    return library.load([Interpreter()], target)[0]


class Engine:
    """Runs steps in order, any number of times, on up to `threads` threads."""

    lock: Lock

    def __init__(self, steps: Sequence[NativeStep], target: Target, threads: int) -> None:
        self.steps = tuple(steps)
        give_lock(self)
        kernels: dict[Kernel, None] = dict.fromkeys(step.kernel for step in self.steps)
        worker, *codes = library.load([Interpreter(), *kernels], target)
        addresses = {kernel: code.address("kernel") for kernel, code in zip(kernels, codes, strict=True)}
        arguments = [step.row() for step in self.steps]
        self.arguments = words(max(1, sum(len(row) for row in arguments)))
        self._places: list[int] = []
        self._rows = [0]
        """The first row of the table of each step, and the end of the last."""
        self._pauses: list[int] = []
        """Rows before which a native call ends."""
        rows: list[tuple[int, ...]] = []
        at, since = 0, 0
        for step, row in zip(self.steps, arguments, strict=True):
            self.arguments[at : at + len(row)] = row
            parts = max(1, min(step.units, step.work // CALL_WORK))
            for part in range(parts):
                begin, end = step.units * part // parts, step.units * (part + 1) // parts
                if since + step.work // parts > CALL_WORK and since:
                    self._pauses.append(len(rows))
                    since = 0
                since += step.work // parts
                shares = _shares(step.work // parts, end - begin, threads)
                address = int(self.arguments.ctypes.data) + 8 * at
                rows.append((addresses[step.kernel], address, end - begin, shares, begin))
            self._rows.append(len(rows))
            self._places.append(at)
            at += len(row)
        shared = any(row[3] > 1 for row in rows)
        self._table = words(max(1, len(rows) * STEP_BYTES // 8))
        if rows:
            self._table[: len(rows) * STEP_BYTES // 8] = np.array(rows, np.int64).reshape(-1)
        self._counters = words(max(1, len(rows) * COUNTER_BYTES // 8))
        help = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(worker.address("help"))
        self._lead = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(worker.address("lead"))
        scratch = max((step.scratch for step in self.steps), default=0)
        keep = (worker, codes, self.arguments, self._table, self._counters, self.steps, help)
        self.threads = threads if shared else 1
        self._crew = Crew(self.threads, help, scratch, keep)
        self._crew.set("table", int(self._table.ctypes.data))
        self._crew.set("steps", len(rows))
        self._crew.set("counters", int(self._counters.ctypes.data))
        self._fixed = _words(self._crew.address, int(self._crew.scratches[0].ctypes.data))

    def place(self, step: int, name: str) -> int:
        """Where an argument of a step lies among `arguments`, which may be changed while nothing runs."""
        return self._places[step] + self.steps[step].kernel.fields.index(name)

    def run(self, first: int = 0, end: int | None = None) -> None:
        """Runs the steps `first` to `end`; one caller at a time.

        After an interrupt (KeyboardInterrupt, or what a handler of a signal raises) it can be run again.
        """
        at, last = self._rows[first], self._rows[len(self.steps) if end is None else end]
        with self.lock:
            for pause in self._pauses:
                if at < pause < last:
                    self._call(at, pause)
                    at = pause
            self._call(at, last)

    def _call(self, first: int, end: int) -> None:
        if self.threads > 1:
            self._crew.call()
        self._lead(*self._fixed, *_words(first, end))


@lru_cache(256)
def _words(first: int, second: int) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    """Arguments as ctypes passes them: making them takes longer than the call."""
    return ctypes.c_int64(first), ctypes.c_int64(second)


def _shares(work: int, units: int, threads: int) -> int:
    """Into how many shares a row of the table is cut."""
    if threads == 1 or work < WORK_WORTH_SHARING:
        return 1
    return max(1, min(units, threads if work < 8 * WORK_WORTH_SHARING else SHARES * threads))
