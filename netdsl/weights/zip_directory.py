"""The directory of a zip file, and its members as bytes of the mapped file.

`.npz` and PyTorch's files are zip files. Nothing is unpacked on the word of a header: what the directory claims is
added up first, unpacking stops at the claimed size, and check sums are compared.
"""

from __future__ import annotations

import io
import mmap
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.mapping import view
from netdsl.weights.stored import Limits, too_large

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OverflowError)
"""What reading a damaged zip file raises, here and in `zipfile`."""

_LOCAL_HEADER = 30
_BYTE = np.dtype(np.uint8)


class Member(NamedTuple):
    """One file in a zip file."""

    name: str
    size: int
    """Bytes, unpacked."""
    content: Callable[[], NDArray[np.uint8]]
    """The bytes: a view of the mapped file where they are stored as they are. Raises one of DAMAGED."""
    start: Callable[[int], bytes]
    """At most so many bytes of its beginning, whose check sum is not looked at. Raises one of DAMAGED."""


class _Mapped(io.RawIOBase):
    """A mapping as a file, for `zipfile`; closing it leaves the mapping open."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data = data
        self._place = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        place = offset + (0, self._place, len(self._data))[whence]
        if place < 0:
            raise OSError(22, "a place before the beginning of the file")
        self._place = place
        return place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._place : self._place + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)


def members(data: mmap.mmap | bytes, what: str, limits: Limits, zero_is_unchecked: bool = False) -> dict[str, Member]:
    """The files in a zip file, by name, in its order.

    `what` is the file's name in an error. `zero_is_unchecked`: a check sum of zero stands for none (PyTorch can leave
    them out). Raises one of DAMAGED; WeightError for what is beyond a limit.
    """
    try:
        with zipfile.ZipFile(io.BufferedReader(_Mapped(data))) as archive:
            found = archive.infolist()
    except OSError as error:
        raise ValueError(str(error)) from None
    if len(found) > limits.tensors:
        raise too_large(f"{what} holds too many arrays", len(found), limits.tensors, "tensors", "arrays")
    total = sum(info.file_size for info in found)
    if total > limits.bytes:
        raise too_large(f"{what} unpacks to too much", total, limits.bytes, "bytes")
    result: dict[str, Member] = {}
    for info in found:
        if info.filename in result:
            raise ValueError(f"it holds `{info.filename}` twice")
        if info.flag_bits & 1:
            raise ValueError(f"`{info.filename}` is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"`{info.filename}` is packed by a method that no writer of weights uses")
        result[info.filename] = Member(
            info.filename, info.file_size, partial(_content, data, info, zero_is_unchecked), partial(_head, data, info)
        )
    return result


def _content(data: mmap.mmap | bytes, info: zipfile.ZipInfo, zero_is_unchecked: bool) -> NDArray[np.uint8]:
    packed = _packed(data, info)
    values = packed if info.compress_type == zipfile.ZIP_STORED else _unpacked(packed, info)
    if not (zero_is_unchecked and info.CRC == 0) and zlib.crc32(values.data) != info.CRC:
        raise ValueError(f"the check sum (CRC-32) of `{info.filename}` is wrong")
    return values


def _head(data: mmap.mmap | bytes, info: zipfile.ZipInfo, count: int) -> bytes:
    count = min(count, info.file_size)
    packed = _packed(data, info)
    if info.compress_type == zipfile.ZIP_STORED:
        return packed[:count].tobytes()
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed.data, count) if count else b""


def _packed(data: mmap.mmap | bytes, info: zipfile.ZipInfo) -> NDArray[np.uint8]:
    """The bytes of a member as they stand in the file."""
    start = _start(data, info)
    if start + info.compress_size > len(data):
        raise EOFError(f"`{info.filename}` ends behind the end of the file")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise ValueError(f"`{info.filename}` is not packed and has two sizes")
    return view(data, _BYTE, start, info.compress_size)


def _start(data: mmap.mmap | bytes, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin: behind its local header, which repeats the directory's."""
    head = data[info.header_offset : info.header_offset + _LOCAL_HEADER] if info.header_offset >= 0 else b""
    if len(head) < _LOCAL_HEADER or head[:4] != b"PK\x03\x04":
        raise ValueError(f"there is no `{info.filename}` where the directory says")
    return (
        info.header_offset
        + _LOCAL_HEADER
        + int.from_bytes(head[26:28], "little")
        + int.from_bytes(head[28:30], "little")
    )


def _unpacked(packed: NDArray[np.uint8], info: zipfile.ZipInfo) -> NDArray[np.uint8]:
    """Inflates into exactly as many bytes as the directory claims, and stops there."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    values = np.frombuffer(inflate.decompress(packed.data, max(1, info.file_size)), np.uint8)
    if len(values) != info.file_size or (not inflate.eof and inflate.decompress(inflate.unconsumed_tail, 1)):
        raise ValueError(f"`{info.filename}` does not unpack to the {info.file_size:_} bytes that it claims")
    return values
