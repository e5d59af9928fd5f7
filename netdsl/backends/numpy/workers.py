"""Threads that take part in every step. They run side by side, because NumPy lets go of the interpreter to compute."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

Work = Callable[[], None]


class Job:
    """A piece of work that some thread does once."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._busy = threading.Lock()
        self._busy.acquire()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # handed to whoever waits
            self._error = error
        self._busy.release()

    def wait(self) -> BaseException | None:
        """Until the work is done, however often this thread is interrupted; what it raised, or else an interruption."""
        interruption: BaseException | None = None
        while True:
            try:
                self._busy.acquire()
            except BaseException as error:
                interruption = error
            else:
                return self._error or interruption


class Crew:
    """Workers beside the thread that asks. A child process after a fork has none of its parent's threads: it gets its
    own."""

    def __init__(self) -> None:
        self._queues: list[SimpleQueue[Job]] = []
        self._process = os.getpid()
        self._lock = threading.Lock()

    def run(self, pieces: Sequence[Work]) -> None:
        """Does all pieces at the same time, the first in this thread; raises what the first of them raised."""
        if len(pieces) == 1:
            pieces[0]()
            return
        if self._process != os.getpid():
            self._queues, self._process, self._lock = [], os.getpid(), threading.Lock()
        with self._lock:
            while len(self._queues) < len(pieces) - 1:
                self._queues.append(_worker())
            jobs = [Job(piece) for piece in pieces[1:]]
            for queue, job in zip(self._queues, jobs, strict=False):
                queue.put(job)
            errors: list[BaseException] = []
            try:
                pieces[0]()
            finally:
                # Also when this thread is interrupted: nobody is left computing in the arena.
                errors += [error for job in jobs if (error := job.wait()) is not None]
            if errors:
                raise errors[0]


def _worker() -> SimpleQueue[Job]:
    """Starts a thread that does the jobs of a queue, one after the other."""
    jobs: SimpleQueue[Job] = SimpleQueue()

    def loop() -> None:
        while True:
            jobs.get().run()

    threading.Thread(target=loop, name="netdsl-numpy", daemon=True).start()
    return jobs


CREW = Crew()
