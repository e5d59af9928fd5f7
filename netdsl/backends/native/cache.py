"""Machine code on disk, by the hash of what it was made from.

An entry is a file of its own: a header, the hash of the rest, and the code. It is written under another name and
renamed, so that no reader sees half of it; one that is damaged, foreign or not ours is as good as none. The folder is
for its owner alone: what lies there will be executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from netdsl import __version__
from netdsl.backends.native import toolchain
from netdsl.backends.native.target import Target

FOLDER_VARIABLE = "NETDSL_CACHE_DIR"
"""Environment variable: where the cache lies; empty or `off` for none."""
LIMIT_VARIABLE = "NETDSL_CACHE_LIMIT"
"""Environment variable: bytes that the cache may take."""
DEFAULT_LIMIT = 256 * 1024 * 1024
MAGIC = b"netdsl native 2\n"
SUFFIX = ".code"
_HASH_BYTES = 32
_SWEEP_EVERY = 64
"""Entries written between two looks at the size."""

_written = 0


@dataclass(frozen=True)
class Contents:
    """What lies in the cache."""

    folder: Path | None
    entries: int
    bytes: int
    limit: int


def folder() -> Path | None:
    """Where entries lie; None where the cache is off."""
    wanted = os.environ.get(FOLDER_VARIABLE)
    if wanted is None:
        import platformdirs

        return Path(platformdirs.user_cache_dir("netdsl", appauthor=False)) / "native"
    return None if wanted in ("", "off") else Path(wanted) / "native"


def limit() -> int:
    """Bytes that the cache may take."""
    try:
        return max(0, int(os.environ.get(LIMIT_VARIABLE, DEFAULT_LIMIT)))
    except ValueError:
        return DEFAULT_LIMIT


def key(text: str, target: Target) -> str:
    """The name of an entry: a hash of what it is made from, the processor it is for and the versions that made it."""
    parts = (_context(target), text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def _context(target: Target) -> str:
    machine = (sys.platform, platform.machine(), str(sys.maxsize), sys.byteorder)
    return "\0".join((__version__, toolchain.version(), *machine, target.cpu, target.features))


def read(name: str) -> bytes | None:
    """What is kept as `name`; None where there is none that can be trusted."""
    place = folder()
    if place is None or not _ours(place):
        return None
    path = place / (name + SUFFIX)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not _private(status):
                return None
            data = file.read()
    except OSError:
        return None
    head = len(MAGIC) + _HASH_BYTES
    body = data[head:]
    if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : head] != _digest(name, body):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # what was used last is evicted last
    return body


def write(name: str, body: bytes) -> None:
    """Keeps code. What cannot be written is not kept; nothing is raised."""
    global _written
    place = folder()
    if place is None or limit() < len(body):
        return
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours(place):
            return
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=place)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(MAGIC + _digest(name, body) + body)
            Path(temporary).replace(place / (name + SUFFIX))
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            return
    except OSError:
        return
    _written += 1
    if _written % _SWEEP_EVERY == 1:
        sweep()


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


def _entries(place: Path) -> list[tuple[float, int, Path]]:
    """(last used, bytes, path) of each entry, oldest first."""
    found = []
    with contextlib.suppress(OSError):
        for path in place.iterdir():
            if path.suffix not in (SUFFIX, ".part"):
                continue
            with contextlib.suppress(OSError):
                status = path.lstat()
                found.append((status.st_mtime, status.st_size, path))
    return sorted(found)


def sweep() -> None:
    """Removes the entries that were used longest ago until the rest is within the limit."""
    place = folder()
    if place is None:
        return
    entries = _entries(place)
    total = sum(size for _, size, _ in entries)
    most = limit()
    for _, size, path in entries:
        if total <= most:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size


def contents() -> Contents:
    """What the cache holds."""
    place = folder()
    entries = [] if place is None else _entries(place)
    return Contents(place, len(entries), sum(size for _, size, _ in entries), limit())


def clear() -> Contents:
    """Empties the cache and returns what it held."""
    before = contents()
    if before.folder is not None:
        for _, _, path in _entries(before.folder):
            with contextlib.suppress(OSError):
                path.unlink()
    return before
