"""From one file of weights to another: other format, other names, other width of floats."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from numpy.typing import NDArray

from netdsl.weights.convert import converted
from netdsl.weights.files import open_archive, write
from netdsl.weights.rules import Rules
from netdsl.weights.stored import Limits, Stored

WIDTHS = ("float16", "float32", "float64")


class Rewritten(NamedTuple):
    """What was written."""

    format: str
    """Of the file that was read."""
    arrays: int
    numbers: int
    bytes: int
    renamed: int
    dropped: int
    unused: tuple[str, ...]
    """Patterns of rules that no name fitted."""
    notes: tuple[str, ...]


def rewrite(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    rules: Rules | None = None,
    dtype: str | None = None,
    limits: Limits | None = None,
) -> Rewritten:
    """Reads a file and writes another; the suffixes say the formats. `dtype` (of WIDTHS) is for floats only.

    bfloat16, which NumPy lacks, becomes float32 where nothing else is asked for. Raises WeightError, also for NaN and
    for numbers beyond the range of `dtype`; nothing is written then.
    """
    archive = open_archive(source, limits)
    shown = os.fspath(source)
    renamed = (rules or Rules()).apply(archive.arrays, shown)
    values = {name: _values(name, array, dtype, shown) for name, array in renamed.arrays.items()}
    write(target, values)
    return Rewritten(
        archive.format,
        len(values),
        sum(array.size for array in values.values()),
        sum(array.nbytes for array in values.values()),
        sum(name != old for name, old in renamed.origin.items()),
        len(archive.arrays) - len(values),
        renamed.unused,
        archive.notes,
    )


def _values(name: str, array: Stored, dtype: str | None, source: str) -> NDArray[Any]:
    """Floats as `dtype`, and all of them finite; anything else as it is."""
    if array.dtype == "bfloat16":
        return converted(name, array, dtype or "float32", source)
    if array.dtype in WIDTHS:
        return converted(name, array, dtype or array.dtype, source)
    return array.read()
