"""What a file of weights offers, before anything large has been read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Limits:
    """How much a file of weights may claim. Pass larger ones to read what is larger."""

    bytes: int = MAX_BYTES
    tensors: int = MAX_TENSORS
    header_bytes: int = MAX_HEADER_BYTES


class Stored(NamedTuple):
    """One array in a file: what it claims to be, and how to read it."""

    shape: tuple[int, ...]
    dtype: str
    """NumPy's name of the type, e.g. `float32`; `bfloat16`, which NumPy lacks, is read as float32."""
    read: Callable[[], NDArray[Any]]


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
