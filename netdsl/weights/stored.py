"""What a file of weights offers, before anything large has been read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.errors import WeightError

MAX_BYTES = 16 * 2**30
"""Largest total size of the arrays in one file, uncompressed."""

MAX_TENSORS = 1_000_000
"""Most arrays in one file."""

MAX_HEADER_BYTES = 100_000_000
"""Longest header of a safetensors file, in bytes (the format's own bound)."""

MAX_PICKLE_BYTES = 64 * 2**20
"""Longest pickle of a PyTorch file, in bytes; the values lie outside of it. ResNet-152 has 70,000."""

MAX_PICKLE_STEPS = 5_000_000
"""Most steps of that pickle. ResNet-152 has 36,000."""

MAX_NAME = 4_096
"""Longest name of an array, in characters."""

MAX_SHOWN = 200
"""Longest name that a message prints in full, in characters."""


@dataclass(frozen=True)
class Limits:
    """How much a file of weights may claim. Pass larger ones to read what is larger."""

    bytes: int = MAX_BYTES
    tensors: int = MAX_TENSORS
    header_bytes: int = MAX_HEADER_BYTES
    pickle_bytes: int = MAX_PICKLE_BYTES
    pickle_steps: int = MAX_PICKLE_STEPS


class Stored(NamedTuple):
    """One array in a file: what it claims to be, and how to read it."""

    shape: tuple[int, ...]
    dtype: str
    """NumPy's name of the type, e.g. `float32`; `bfloat16`, which NumPy lacks, is read as float32."""
    read: Callable[[], NDArray[Any]]
    """The values. They may be a view of the mapped file: read-only, and read from the disk when they are used."""

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def bytes(self) -> int | None:
        """Bytes of its values as they are stored; None where the type is one that NumPy does not have."""
        width = item_bytes(self.dtype)
        return None if width is None else self.size * width


class Archive(NamedTuple):
    """A file of weights."""

    format: str
    """In words: `safetensors`, `NumPy archive`, `PyTorch`."""
    arrays: Mapping[str, Stored]
    """By name, in the order of the file."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read, e.g. under which key the weights lay."""


def shown(name: str) -> str:
    """A name from a file as it may be printed: without control characters, and not endless."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name[:MAX_SHOWN])
    return text + "..." if len(name) > MAX_SHOWN else text


def item_bytes(dtype: str) -> int | None:
    """Bytes of one number of a type; None where NumPy does not have it (bfloat16, which is read, has 2)."""
    if dtype == "bfloat16":
        return 2
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return None


def widened(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 as float32, whose upper half it is."""
    wide: NDArray[np.float32] = (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide


def in_memory(name: str, array: object) -> Stored:
    """An array (or what NumPy can make one of) that is there already; reading it copies. Raises WeightError."""
    try:
        values = np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightError("E0705", f"`{name}` is not an array: {error}", "pass NumPy arrays, name -> array") from None
    return Stored(values.shape, str(values.dtype), values.copy)


def too_large(what: str, found: int, limit: int, name: str, unit: str = "bytes") -> WeightError:
    """The error for a claim beyond a limit; `name` is the field of Limits that raises it."""
    return WeightError(
        "E0704",
        f"{what}: {found:_} {unit}, and the limit is {limit:_}",
        f"if you trust the file, raise the limit: load(..., limits=Limits({name}={found}))",
    )
