"""How many threads NumPy's matrix products use.

The back-end shares steps out among threads of its own, each of which computes small products; threads inside a product
would fight over the same cores. NumPy has no call for that, the OpenBLAS in its wheels does; where there is another
library, nothing is changed.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import numpy as np

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "_64", "")


@cache
def _calls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The calls that get and set the number of threads."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs", package / ".libs"):
        for path in sorted(folder.glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for prefix in _PREFIXES:
                for suffix in _SUFFIXES:
                    get = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                    put = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                    if get is not None and put is not None:
                        get.restype, put.argtypes, put.restype = ctypes.c_int, [ctypes.c_int], None
                        return get, put
    return None


class _Users:
    """Who wants products in a number of threads now: the first changes it, the last changes it back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.before = 1


_USERS = _Users()


@contextmanager
def product_threads(number: int) -> Iterator[None]:
    """Products are computed by this many threads, until the block is left; of several at a time the last one says."""
    calls = _calls()
    if calls is None:
        yield
        return
    get, put = calls
    with _USERS.lock:
        if not _USERS.count:
            _USERS.before = get()
        put(number)
        _USERS.count += 1
    try:
        yield
    finally:
        with _USERS.lock:
            _USERS.count -= 1
            if not _USERS.count:
                put(_USERS.before)


def one_thread() -> AbstractContextManager[None]:
    """Products are computed in the thread that asks for them, until the block is left."""
    return product_threads(1)
