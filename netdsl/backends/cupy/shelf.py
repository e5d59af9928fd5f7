"""What was found out about a device, on disk: compiled plans, and which kernel was the fastest.

An entry is a file: a header, the hash of its key and contents, the contents. It is written under another name and
renamed; one that is damaged, or that someone else could have written, is as good as none: plans hold machine code.
Entries that were used longest ago go first when the folder outgrows its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netdsl import __version__
from netdsl.backends.cupy.device import DeviceInfo

FOLDER_VARIABLE = "NETDSL_CACHE_DIR"
"""Environment variable: where the caches lie; empty or `off` for none."""
LIMIT_VARIABLE = "NETDSL_CACHE_LIMIT"
"""Environment variable: bytes that the folder may take."""
DEFAULT_LIMIT = 256 * 1024 * 1024
MOST_ENTRY_BYTES = 64 * 1024 * 1024
"""A larger file is no entry of ours."""
MAGIC = b"netdsl cupy 1\n"
SUFFIX = ".entry"
_HASH_BYTES = 32
_SWEEP_EVERY = 64
"""Entries written between two looks at the size of the folder."""

_written = 0


def folder() -> Path | None:
    """Where entries lie; None where there is no cache."""
    wanted = os.environ.get(FOLDER_VARIABLE)
    if wanted is None:
        import platformdirs

        return Path(platformdirs.user_cache_dir("netdsl", appauthor=False)) / "cupy"
    return None if wanted in ("", "off") else Path(wanted) / "cupy"


def limit() -> int:
    """Bytes that entries may take."""
    try:
        return max(0, int(os.environ.get(LIMIT_VARIABLE, DEFAULT_LIMIT)))
    except ValueError:
        return DEFAULT_LIMIT


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
        return cls(folder(), limit())

    def read(self, key: str) -> bytes | None:
        """What is kept under `key`; None where there is nothing that can be trusted."""
        if self.place is None or not _ours(self.place):
            return None
        path = self.place / _file(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or not _private(status) or status.st_size > MOST_ENTRY_BYTES:
                    return None
                data = file.read(MOST_ENTRY_BYTES + 1)
        except OSError:
            return None
        head = len(MAGIC) + _HASH_BYTES
        body = data[head:]
        if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : head] != _digest(key, body):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return body

    def write(self, key: str, body: bytes) -> None:
        """Keeps an entry. What cannot be written is not kept; nothing is raised."""
        global _written
        if self.place is None or min(self.most, MOST_ENTRY_BYTES) < len(body) + len(MAGIC) + _HASH_BYTES:
            return
        try:
            self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _ours(self.place):
                return
            descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.place)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(MAGIC + _digest(key, body) + body)
                Path(temporary).replace(self.place / _file(key))
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                return
        except OSError:
            return
        _written += 1
        if _written % _SWEEP_EVERY == 1:
            self.sweep()

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
        for _, size, path in self._entries():
            if path.suffix != SUFFIX or size > MOST_ENTRY_BYTES:
                continue
            with contextlib.suppress(OSError, ValueError, UnicodeDecodeError):
                body = path.read_bytes()[len(MAGIC) + _HASH_BYTES :]
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
        entries = self._entries()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.most:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size

    def clear(self) -> int:
        """Removes everything; how many entries there were."""
        entries = self._entries()
        for _, _, path in entries:
            with contextlib.suppress(OSError):
                path.unlink()
        return len(entries)

    @property
    def bytes(self) -> int:
        return sum(size for _, size, _ in self._entries())

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(last used, bytes, path), the oldest first."""
        found = []
        if self.place is not None:
            with contextlib.suppress(OSError):
                for path in self.place.iterdir():
                    if path.suffix in (SUFFIX, ".part"):
                        with contextlib.suppress(OSError):
                            status = path.lstat()
                            found.append((status.st_mtime, status.st_size, path))
        return sorted(found)


def _file(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest() + SUFFIX


def _digest(key: str, body: bytes) -> bytes:
    """Binds an entry to its key: one that was renamed is foreign."""
    return hashlib.sha256(key.encode() + b"\0" + body).digest()


def _private(status: os.stat_result) -> bool:
    """Whether only this user can have written it."""
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _ours(place: Path) -> bool:
    try:
        status = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _private(status)
