"""The log of a run: one JSON object a line, each with the `event` that it tells of.

| event                | with                                                                     |
|----------------------|--------------------------------------------------------------------------|
| start, resume, end   | the step                                                                 |
| phase                | its name, number of trainable parameters, steps                          |
| step                 | loss, lr and norm of the gradients of one step; every few steps          |
| epoch                | loss and accuracy of training and validation, lr, images a second, and   |
|                      | how many of its seconds it waited for images                             |
| diverged             | the step, and the message                                                |
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from netdsl.train.errors import TrainError

MAX_LINE = 1_000_000
"""Longest line of a log that is read, in characters."""


class Log:
    """Appends to the log of a run. What a stopped run has written behind its checkpoint is cut off first."""

    def __init__(self, path: Path, length: int = 0) -> None:
        try:
            self._file: IO[str] = path.open("a", encoding="utf-8")
            length = min(length, path.stat().st_size)
            self._file.truncate(length)
        except OSError as error:
            raise TrainError("E0972", f"cannot write {path}: {error.strerror or error}") from None
        self._path = path
        self._length = length

    def write(self, event: str, **facts: Any) -> None:
        """Adds a line. Raises TrainError."""
        line = json.dumps({"event": event, **facts}, allow_nan=True) + "\n"
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise TrainError("E0972", f"cannot write {self._path}: {error.strerror or error}") from None
        self._length += len(line.encode())

    def settle(self) -> int:
        """Waits until the log is on the disk, and returns its length in bytes."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TrainError("E0972", f"cannot write {self._path}: {error.strerror or error}") from None
        return self._length

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; a last one that was cut off while it was written is left out. Raises TrainError."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), ""), start=1):
                if not line.endswith("\n"):
                    return
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    record = None
                if not isinstance(record, dict):
                    raise TrainError("E0979", f"line {number} of {path} is no record of a log")
                yield record
    except FileNotFoundError:
        raise TrainError("E0979", f"there is no log {path}", "a run is the folder that `netdsl train` made") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TrainError("E0979", f"cannot read {path}: {error}") from None
