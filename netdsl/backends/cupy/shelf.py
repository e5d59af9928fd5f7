"""What was found out about a device, on disk: compiled plans, and which kernel was the fastest.

Entries lie on a shelf (see netdsl/backends/shelf.py) under the hash of their key, which may be any text.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from netdsl import __version__
from netdsl.backends import shelf
from netdsl.backends.cupy.device import DeviceInfo
from netdsl.backends.shelf import DEFAULT_LIMIT, MOST_ENTRY_BYTES

MAGIC = b"netdsl cupy 1\n"
SUFFIX = ".entry"


def identity(info: DeviceInfo, *libraries: str) -> str:
    """A device and what computes on it, as far as its results and their times depend on them."""
    driver = ".".join(map(str, info.driver))
    return "\n".join(
        (info.name, info.architecture, str(info.processors), driver, info.library, *libraries, __version__)
    )


@dataclass(frozen=True)
class Shelf:
    """Entries in one folder; None keeps nothing."""

    place: Path | None
    most: int = DEFAULT_LIMIT

    @classmethod
    def default(cls) -> Shelf:
        return cls(shelf.folder("cupy"), shelf.limit())

    @cached_property
    def _files(self) -> shelf.Shelf:
        return shelf.Shelf(self.place, self.most, MAGIC, SUFFIX)

    def read(self, key: str) -> bytes | None:
        """What is kept under `key`; None where there is nothing that can be trusted."""
        return self._files.read(_name(key))

    def write(self, key: str, body: bytes) -> None:
        """Keeps an entry. What cannot be written is not kept; nothing is raised."""
        self._files.write(_name(key), body)

    def read_json(self, key: str) -> dict[str, Any] | None:
        """An entry that is a JSON object."""
        body = self.read(key)
        if body is None:
            return None
        try:
            found = json.loads(body)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def write_json(self, key: str, value: dict[str, Any]) -> None:
        self.write(key, json.dumps(value, sort_keys=True).encode())

    def records(self) -> list[dict[str, Any]]:
        """All entries that are JSON objects and hold their own `key`: to take them elsewhere."""
        found = []
        for _, size, path in self._files.entries():
            if path.suffix != SUFFIX or size > MOST_ENTRY_BYTES:
                continue
            with contextlib.suppress(OSError, ValueError, UnicodeDecodeError):
                body = self._files.body_of(path)
                value = json.loads(body)
                if isinstance(value, dict) and isinstance(value.get("key"), str) and self.read(value["key"]) == body:
                    found.append(value)
        return sorted(found, key=lambda value: str(value["key"]))

    def put_back(self, record: object) -> None:
        """Keeps what `records` gave, unless there is an entry of that key already; anything else is left alone."""
        if isinstance(record, dict) and isinstance(record.get("key"), str) and self.read(record["key"]) is None:
            self.write_json(record["key"], record)

    def sweep(self) -> None:
        """Removes what was used longest ago until the rest is within the limit."""
        self._files.sweep()

    def clear(self) -> int:
        """Removes everything; how many entries there were."""
        entries = len(self._files.entries())
        self._files.clear()
        return entries

    @property
    def bytes(self) -> int:
        return sum(size for _, size, _ in self._files.entries())


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
