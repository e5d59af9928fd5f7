"""From the numbers that a file holds to the numbers that a network computes with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.errors import WeightError
from netdsl.weights.stored import Stored

PART = 1 << 16
"""How many numbers are looked at at a time: they stay in the cache."""


def converted(name: str, stored: Stored, wanted: str, source: str) -> NDArray[Any]:
    """The values of one weight as `wanted` (`float32`, `float64` or `int64`), all of them finite.

    Floats of other widths are converted. Integers are refused for a float weight (quantized weights would need their
    scale), fractions for an integer one. Raises WeightError with the name of the weight.
    """
    require_kind(name, stored, wanted, source)
    floating = wanted.startswith("float")
    values = stored.read()
    if not floating:
        whole = np.rint(values) if values.dtype.kind == "f" else values
        if not np.array_equal(whole, values):
            raise WeightError("E0705", f"{source}: `{name}` holds fractions, the network wants whole numbers")
        return _owned(whole, wanted)
    require_finite(name, values, source)
    with np.errstate(over="ignore"):
        result = _owned(values, wanted)
    if result.dtype.itemsize < values.dtype.itemsize and not np.isfinite(result).all():
        largest = float(np.abs(values).max())
        raise WeightError("E0707", f"{source}: `{name}` holds {largest:g}, which is beyond the range of {wanted}")
    return result


def _owned(values: NDArray[Any], wanted: str) -> NDArray[Any]:
    """The values as `wanted`, in rows and aligned: a copy where they are not so already."""
    return np.require(values, np.dtype(wanted), ["C", "A"])


def require_kind(name: str, stored: Stored, wanted: str, source: str) -> None:
    """Raises WeightError where the numbers of an array are not of a kind that becomes `wanted`."""
    kind = _kind(stored.dtype)
    if kind != "f" and (wanted.startswith("float") or kind not in "iu"):
        raise WeightError(
            "E0705",
            f"{source}: `{name}` holds {stored.dtype}, the network computes it as {wanted}",
            f"if its values are what is meant, store array.astype('{wanted}')",
        )


def _kind(dtype: str) -> str:
    """NumPy's letter for a kind of numbers: `f` for floats, `i` or `u` for integers, `O` for what it cannot read."""
    if dtype == "bfloat16":
        return "f"
    try:
        return np.dtype(dtype).kind
    except TypeError:
        return "O"


def parts_of(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The values in parts of a bounded size, in their order, so that what is made of a part stays small."""
    flat = values.reshape(-1) if values.flags.c_contiguous else values.flat
    for start in range(0, values.size, PART):
        yield np.asarray(flat[start : start + PART])


def require_finite(name: str, values: NDArray[Any], source: str) -> None:
    """Raises WeightError where a number is NaN or infinite."""
    bad, first, nan = 0, -1, False
    for number, part in enumerate(parts_of(values)):
        finite = np.isfinite(part)
        if finite.all():
            continue
        bad += int(finite.size - np.count_nonzero(finite))
        nan = nan or bool(np.isnan(part).any())
        if first < 0:
            first = number * PART + int(np.argmin(finite))
    if not bad:
        return
    place = tuple(int(index) for index in np.unravel_index(first, values.shape))
    raise WeightError(
        "E0707",
        f"{source}: `{name}` holds {'NaN' if nan else 'infinity'}: {bad} of {values.size} values are not finite, "
        f"the first at {place}",
        "weights like these come from a training run that diverged, or from a damaged file",
    )
