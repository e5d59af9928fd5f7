"""Threads that take part in every step. They run side by side, because NumPy lets go of the interpreter to compute."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

Work = Callable[[], None]


class Worker:
    """A thread that does one piece of work at a time."""

    def __init__(self) -> None:
        self._go = threading.Semaphore(0)
        self._done = threading.Semaphore(0)
        self._work: Work | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._loop, name="netdsl-numpy", daemon=True).start()

    def start(self, work: Work) -> None:
        self._work = work
        self._go.release()

    def wait(self) -> BaseException | None:
        """Until the work is done; what it raised, if anything."""
        self._done.acquire()
        error, self._error, self._work = self._error, None, None
        return error

    def _loop(self) -> None:
        while True:
            self._go.acquire()
            assert self._work is not None
            try:
                self._work()
            except BaseException as error:  # handed to whoever waits
                self._error = error
            self._done.release()


class Crew:
    """Workers beside the thread that asks. A child process after a fork has none of its parent's threads: it gets its
    own."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []
        self._process = os.getpid()
        self._lock = threading.Lock()

    def run(self, pieces: Sequence[Work]) -> None:
        """Does all pieces at the same time, the first in this thread; raises what the first of them raised."""
        if len(pieces) == 1:
            pieces[0]()
            return
        if self._process != os.getpid():
            self._workers, self._process, self._lock = [], os.getpid(), threading.Lock()
        with self._lock:
            while len(self._workers) < len(pieces) - 1:
                self._workers.append(Worker())
            helpers = self._workers[: len(pieces) - 1]
            for worker, piece in zip(helpers, pieces[1:], strict=True):
                worker.start(piece)
            errors: list[BaseException] = []
            try:
                pieces[0]()
            finally:
                # Also when this thread is interrupted: nobody is left computing in the arena.
                errors += [error for worker in helpers if (error := worker.wait()) is not None]
            if errors:
                raise errors[0]


CREW = Crew()
