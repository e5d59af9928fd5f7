"""A folder of entries on disk: what took long to make and may be made anew at any time.

An entry is a file of its own: a header, the hash of its name and contents, the contents. It is written under another
name and renamed, so that no reader sees half of it; one that is damaged, foreign, or that someone else could have
written, is as good as none: what lies there will be executed. Entries that were used longest ago go first when the
folder outgrows its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path

FOLDER_VARIABLE = "NETDSL_CACHE_DIR"
"""Environment variable: where the folders of entries lie; empty or `off` for none."""
LIMIT_VARIABLE = "NETDSL_CACHE_LIMIT"
"""Environment variable: bytes that each folder may take."""
DEFAULT_LIMIT = 256 * 1024 * 1024
MOST_ENTRY_BYTES = 64 * 1024 * 1024
"""A larger file is no entry of ours."""
_HASH_BYTES = 32
_PART = ".part"
_SWEEP_EVERY = 64
"""Entries written between two looks at the size of the folder."""

_written = count()


def folder(name: str) -> Path | None:
    """Where the entries called `name` lie; None where nothing is to be kept."""
    wanted = os.environ.get(FOLDER_VARIABLE)
    if wanted is None:
        import platformdirs

        return Path(platformdirs.user_cache_dir("netdsl", appauthor=False)) / name
    return None if wanted in ("", "off") else Path(wanted) / name


def limit() -> int:
    """Bytes that a folder of entries may take."""
    try:
        return max(0, int(os.environ.get(LIMIT_VARIABLE, DEFAULT_LIMIT)))
    except ValueError:
        return DEFAULT_LIMIT


@dataclass(frozen=True)
class Shelf:
    """Entries in one folder. A name is what a file may be called; `magic` begins every file."""

    place: Path | None
    """None keeps nothing."""
    most: int
    """Bytes that all entries may take together."""
    magic: bytes
    suffix: str

    def read(self, name: str) -> bytes | None:
        """What is kept as `name`; None where there is none that can be trusted."""
        if self.place is None or not _ours(self.place):
            return None
        path = self.place / (name + self.suffix)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or not _private(status) or status.st_size > MOST_ENTRY_BYTES:
                    return None
                data = file.read(MOST_ENTRY_BYTES)
        except OSError:
            return None
        head = len(self.magic) + _HASH_BYTES
        body = data[head:]
        if data[: len(self.magic)] != self.magic or data[len(self.magic) : head] != _digest(name, body):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # what was used last is evicted last
        return body

    def write(self, name: str, body: bytes) -> None:
        """Keeps an entry. What cannot be written is not kept; nothing is raised."""
        data = self.magic + _digest(name, body) + body
        if self.place is None or min(self.most, MOST_ENTRY_BYTES) < len(data):
            return
        try:
            self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _ours(self.place):
                return
            descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=_PART, dir=self.place)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                Path(temporary).replace(self.place / (name + self.suffix))
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                return
        except OSError:
            return
        if next(_written) % _SWEEP_EVERY == 0:
            self.sweep()

    def sweep(self) -> None:
        """Removes the entries that were used longest ago until the rest is within the limit."""
        entries = self.entries()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.most:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size

    def clear(self) -> None:
        """Removes all entries."""
        for _, _, path in self.entries():
            with contextlib.suppress(OSError):
                path.unlink()

    def entries(self) -> list[tuple[float, int, Path]]:
        """(last used, bytes, path) of each entry, and of what a writer that was stopped has left; oldest first."""
        found = []
        if self.place is not None:
            with contextlib.suppress(OSError):
                for path in self.place.iterdir():
                    if path.suffix in (self.suffix, _PART):
                        with contextlib.suppress(OSError):
                            status = path.lstat()
                            found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def body_of(self, path: Path) -> bytes:
        """What an entry's file holds, unchecked. Raises OSError."""
        return path.read_bytes()[len(self.magic) + _HASH_BYTES :]


def _digest(name: str, body: bytes) -> bytes:
    """Binds an entry to its name: one that was renamed is foreign."""
    return hashlib.sha256(name.encode() + b"\0" + body).digest()


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
