"""Machine code on disk, by the hash of what it was made from (see netdsl/backends/shelf.py)."""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from netdsl import __version__
from netdsl.backends import shelf
from netdsl.backends.native import toolchain
from netdsl.backends.native.target import Target
from netdsl.backends.shelf import DEFAULT_LIMIT, FOLDER_VARIABLE, LIMIT_VARIABLE, Shelf, limit

__all__ = [
    "DEFAULT_LIMIT", "FOLDER_VARIABLE", "LIMIT_VARIABLE", "MAGIC", "SUFFIX", "Contents", "clear", "contents", "folder",
    "key", "limit", "read", "sweep", "write",
]  # fmt: skip

MAGIC = b"netdsl native 2\n"
SUFFIX = ".code"


@dataclass(frozen=True)
class Contents:
    """What lies in the cache."""

    folder: Path | None
    entries: int
    bytes: int
    limit: int


def folder() -> Path | None:
    """Where entries lie; None where the cache is off."""
    return shelf.folder("native")


def key(text: str, target: Target) -> str:
    """The name of an entry: a hash of what it is made from, the processor it is for and the versions that made it."""
    parts = (_context(target), text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def _context(target: Target) -> str:
    machine = (sys.platform, platform.machine(), str(sys.maxsize), sys.byteorder)
    return "\0".join((__version__, toolchain.version(), *machine, target.cpu, target.features))


def _shelf() -> Shelf:
    return Shelf(folder(), limit(), MAGIC, SUFFIX)


def read(name: str) -> bytes | None:
    """What is kept as `name`; None where there is none that can be trusted."""
    return _shelf().read(name)


def write(name: str, body: bytes) -> None:
    """Keeps code. What cannot be written is not kept; nothing is raised."""
    _shelf().write(name, body)


def sweep() -> None:
    """Removes the entries that were used longest ago until the rest is within the limit."""
    _shelf().sweep()


def contents() -> Contents:
    """What the cache holds."""
    kept = _shelf()
    entries = kept.entries()
    return Contents(kept.place, len(entries), sum(size for _, size, _ in entries), kept.most)


def clear() -> Contents:
    """Empties the cache and returns what it held."""
    before = contents()
    _shelf().clear()
    return before
