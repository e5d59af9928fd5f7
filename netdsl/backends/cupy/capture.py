"""Launches as CUDA graphs: a network of a hundred kernels becomes one call.

Everything that can be captured becomes part of a graph, in as few graphs as possible; what cannot is queued between
them, one by one. Where the library says no to a stretch of launches, each of them is captured by itself once, to find
out which ones it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.device import Device, Task
from netdsl.backends.cupy.errors import CannotCaptureError


class Replay:
    """What a run queues: graphs, and between them what is in none."""

    def __init__(self, device: Device, launches: Sequence[Launch]) -> None:
        """Each of `launches` must have been run once before: what is made the first time (a compiled kernel, memory) is
        not to be captured. Raises DeviceMemoryError."""
        self.device = device
        self.refused: dict[str, str] = {}
        """The launches that are in no graph, and why."""
        self.graphs = 0
        self._queue: list[Task] = []
        for capturable, found in groupby(launches, key=lambda launch: launch.capturable):
            stretch = list(found)
            if not capturable:
                self._one_by_one(stretch, "it says so itself")
                continue
            self._capture(stretch)

    def _capture(self, launches: Sequence[Launch]) -> None:
        try:
            graph = self.device.capture(lambda: _all(launches))
        except CannotCaptureError as error:
            if len(launches) == 1:
                self._one_by_one(launches, str(error))
                return
        else:
            self._queue.append(graph.launch)
            self.graphs += 1
            return
        for fine, stretch in groupby(launches, key=self._can):
            if fine:
                self._capture(list(stretch))
            else:
                self._queue += [launch.run for launch in stretch]

    def _can(self, launch: Launch) -> bool:
        try:
            self.device.capture(launch.run)
        except CannotCaptureError as error:
            self.refused[launch.name] = str(error)
            return False
        return True

    def _one_by_one(self, launches: Sequence[Launch], reason: str) -> None:
        self.refused |= dict.fromkeys([launch.name for launch in launches], reason)
        self._queue += [launch.run for launch in launches]

    def run(self) -> None:
        """Queues everything, in order."""
        for task in self._queue:
            task()


def _all(launches: Sequence[Launch]) -> None:
    for launch in launches:
        launch.run()
