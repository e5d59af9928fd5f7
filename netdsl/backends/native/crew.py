"""Threads that help with the runs of one engine.

They are Python threads that spend their time in native code, without the interpreter's lock. One that has seen no run
for a while goes to sleep on a lock, and is woken by the next. A run never waits for a helper to come.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any

import numpy as np

from netdsl.backends.native.kernels.interpreter import CONTROL, HELPER, LINE
from netdsl.backends.native.steps.view import Array, aligned

SPIN = 1000
"""Turns that a thread waits for the others of a step before it offers the processor to anyone else."""
IDLE = 3000
"""Turns that a helper waits for the next run before it sleeps."""
MOST_THREADS = 256

Entry = Callable[..., None]
Helper = tuple[Array, int, Lock]
"""The array of its flags, their address, and the lock on which it sleeps."""


def give_way() -> int:
    """The address of the system's function that lets another thread run; 0 where there is none."""
    try:
        if sys.platform == "win32":
            function = ctypes.WinDLL("kernel32").SwitchToThread
        else:
            function = ctypes.CDLL(None).sched_yield
    except (AttributeError, OSError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def words(count: int) -> Array:
    """`count` 64-bit zeros that begin at a line of the cache."""
    found: Array = aligned(2 * count).view(np.int64)
    return found


class Crew:
    """`threads - 1` helpers, started when they are first called."""

    def __init__(self, threads: int, help: Entry, scratch: int, keep: Any) -> None:
        """`scratch` bytes for each thread; `keep` is what the native code uses, which stays while a helper lives."""
        self.threads = threads
        self.control = words((HELPER + LINE * threads) // 8)
        self.scratches = [aligned(scratch // 4 + LINE) for _ in range(threads)]
        self._help = help
        self._keep = keep
        self._helpers: list[Helper] = []
        self._process = 0
        self.set("yield", give_way())
        self.set("spin", SPIN)
        self.set("idle", IDLE)

    def set(self, name: str, value: int) -> None:
        """Sets a word of the control block."""
        self.control[CONTROL.index(name) * LINE // 8] = value

    @property
    def address(self) -> int:
        return int(self.control.ctypes.data)

    def call(self) -> None:
        """Wakes the helpers that sleep, and starts them where there are none (a fork leaves them behind)."""
        if self._process != os.getpid():
            self._start()
        for flags, _, lock in self._helpers:
            if flags[0]:
                flags[0] = 0
                lock.release()

    def _start(self) -> None:
        self._helpers = []
        self._process = os.getpid()
        for number in range(1, self.threads):
            at = (HELPER + LINE * number) // 8
            flags = self.control[at : at + LINE // 8]
            flags[:] = 0
            flags[1] = self.control[0]
            lock = Lock()
            lock.acquire()
            helper = (flags, int(flags.ctypes.data), lock)
            thread = Thread(
                target=_serve,
                args=(self._help, self.address, self.scratches[number], helper, self.control, self._keep),
                name=f"netdsl-{number}",
                daemon=True,
            )
            thread.start()
            self._helpers.append(helper)
        weakref.finalize(self, _dismiss, self.control, tuple(self._helpers), self._process)


def _serve(help: Entry, control: int, scratch: Array, helper: Helper, words: Array, keep: Any) -> None:
    """What a helper does all its life; `keep` lives as long."""
    _, address, lock = helper
    stop = CONTROL.index("stop") * LINE // 8
    while True:
        help(control, int(scratch.ctypes.data), address)
        if words[stop]:
            return
        lock.acquire()


def _dismiss(control: Array, helpers: tuple[Helper, ...], process: int) -> None:
    """Sends the helpers home."""
    if process != os.getpid():
        return
    control[CONTROL.index("stop") * LINE // 8] = 1
    for flags, _, lock in helpers:
        if flags[0]:
            flags[0] = 0
            lock.release()
