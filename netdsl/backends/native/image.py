"""Machine code that can lie anywhere: as the bytes of an entry of the cache, and in memory.

Memory is written first and made executable then; it is never both.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
from collections.abc import Mapping, Sequence

from netdsl.backends.native.elf import ALIGNMENT, Block

MAGIC = b"block 1\n"
_HEADER = struct.Struct("<8sII")
"""The magic, functions, bytes of code."""
_NAME_BYTES = 24
_ENTRY = struct.Struct(f"<{_NAME_BYTES}sQ")
"""The name of a function, and where it begins."""


def packed(block: Block) -> bytes | None:
    """The bytes of an entry; None where a name is too long."""
    names = {name.encode(): place for name, place in block.entries.items()}
    if any(len(name) > _NAME_BYTES for name in names):
        return None
    entries = b"".join(_ENTRY.pack(name, place) for name, place in names.items())
    return _HEADER.pack(MAGIC, len(names), len(block.data)) + entries + block.data


def unpacked(data: bytes) -> Block | None:
    """The block that the bytes are; None where they are none."""
    if len(data) < _HEADER.size:
        return None
    magic, count, size = _HEADER.unpack_from(data)
    start = _HEADER.size + count * _ENTRY.size
    if magic != MAGIC or len(data) != start + size:
        return None
    entries = {}
    for name, place in _ENTRY.iter_unpack(data[_HEADER.size : start]):
        if place >= size:
            return None
        entries[name.rstrip(b"\0").decode("ascii", "replace")] = place
    return Block(entries, data[start:])


class PlacedCode:
    """The functions of a block in memory; they stay as long as this does."""

    def __init__(self, entries: Mapping[str, int], memory: object) -> None:
        """`entries`: the addresses of the functions in `memory`, which is kept."""
        self._entries = dict(entries)
        self._memory = memory

    def address(self, name: str) -> int:
        """Where the function `name` begins. Raises KeyError."""
        return self._entries[name]


def loadable() -> bool:
    """Whether object files are ELF here, and memory can be made executable as POSIX has it."""
    return os.name == "posix" and sys.platform not in ("darwin", "cygwin")


def placed(blocks: Sequence[Block]) -> list[PlacedCode]:
    """Puts blocks into memory, in one piece. Raises OSError where the system does not let that be executed."""
    data = bytearray()
    starts = []
    for block in blocks:
        data += bytes(-len(data) % ALIGNMENT)
        starts.append(len(data))
        data += block.data
    memory = mmap.mmap(-1, max(1, len(data)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[: len(data)] = bytes(data)
    first = ctypes.c_char.from_buffer(memory)  # which keeps the memory where it is
    address = ctypes.addressof(first)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(address, len(memory), mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "memory cannot be made executable")
    return [
        PlacedCode({name: address + start + place for name, place in block.entries.items()}, first)
        for block, start in zip(blocks, starts, strict=True)
    ]
