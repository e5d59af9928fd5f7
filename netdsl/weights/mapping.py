"""Files mapped into memory: their values are there without having been read or copied.

The operating system reads a page of the file when it is looked at, and may drop it again. The mapping lives as long as
an array that looks into it. A file that is replaced by another (as netdsl and every careful program writes) keeps its
old content in the mapping; one that is cut short in place takes the ground away from under the arrays, so do not.
"""

from __future__ import annotations

import mmap
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.errors import WeightError


def mapped(path: Path) -> mmap.mmap | bytes:
    """The bytes of a file. Raises WeightError for what is no regular file, OSError where it cannot be opened."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise WeightError("E0701", f"{path} is {kind}; weights are one file")
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return b""  # which cannot be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def view(data: mmap.mmap | bytes, dtype: np.dtype[Any], start: int, count: int) -> NDArray[Any]:
    """`count` numbers from the byte `start` on, not copied. They have to lie in the file."""
    if count == 0:
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, count, start)


def release(values: NDArray[Any]) -> bool:
    """Tells the system that the pages of an array's mapped file need not stay in memory; they are read again on use.

    For whoever has looked at all the values, or has made something else of them. Whether it was such an array; of any
    other, and where the system knows no such advice, nothing happens.
    """
    owner: Any = values
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if not isinstance(owner, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED") or not values.flags.c_contiguous:
        return False
    first = _address(values) - _address(np.frombuffer(owner, np.uint8))
    begin = first // mmap.PAGESIZE * mmap.PAGESIZE
    owner.madvise(mmap.MADV_DONTNEED, begin, min(first + values.nbytes, len(owner)) - begin)
    return True


def _address(values: NDArray[Any]) -> int:
    """Where the numbers of an array begin (`values.ctypes` takes ten times as long)."""
    address: int = values.__array_interface__["data"][0]
    return address
