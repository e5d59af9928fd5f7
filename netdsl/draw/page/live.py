"""What `netdsl view` shows: the last good picture, and what is wrong with the text as it is now."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from netdsl.draw.page.document import as_json, document

Stamp = tuple[int, int, int]


class State(NamedTuple):
    version: int
    """Counts up with every change."""
    message: str
    """What a page that shows another version has to hear, as JSON."""


class Live:
    """The network as it was saved last, for many readers in threads of their own."""

    def __init__(self, options: Mapping[str, object], empty: Mapping[str, object]) -> None:
        """`options` are those of the page; `empty` is the data of a picture without layers, until there is one."""
        self._options = options
        self._data = empty
        self._good = 0
        self._condition = threading.Condition()
        self._state = State(0, as_json({"version": 0}))
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    def show(self, data: Mapping[str, object]) -> None:
        """A new picture; nothing is wrong."""
        with self._condition:
            version = self._state.version + 1
            self._data, self._good = data, version
            self._change(State(version, as_json({"version": version, "data": data})))

    def fail(self, diagnostics: Sequence[Mapping[str, object]], files: Sequence[Mapping[str, str]]) -> None:
        """Diagnostics as plain data, and the texts that they speak of. The picture stays."""
        with self._condition:
            version = self._state.version + 1
            news = {"version": version, "diagnostics": list(diagnostics), "files": list(files)}
            self._change(State(version, as_json(news)))

    def end(self) -> None:
        """Nobody has to wait any longer."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def _change(self, state: State) -> None:
        self._state = state
        self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> State:
        """The state, as soon as it is another than `seen`; after so many seconds whatever it is."""
        with self._condition:
            self._condition.wait_for(lambda: self._ended or self._state.version != seen, seconds)
            return self._state

    def page(self) -> str:
        """The page with the last good picture. It hears of what is wrong as soon as it listens."""
        with self._condition:
            data, version = self._data, self._good
        return document(data, {**self._options, "live": version})


def stamps(paths: Iterable[Path]) -> dict[Path, Stamp | None]:
    """What tells one state of each file from another; None for a file that is not there.

    A handful of files is looked at a few times a second: that takes no library, and works on every file system.
    """
    found: dict[Path, Stamp | None] = {}
    for path in paths:
        try:
            status = path.stat()
            found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            found[path] = None
    return found
