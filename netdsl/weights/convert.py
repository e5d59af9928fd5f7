"""From the numbers that a file holds to the numbers that a network computes with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.errors import WeightError
from netdsl.weights.stored import Stored


def converted(name: str, stored: Stored, wanted: str, source: str) -> NDArray[Any]:
    """The values of one weight as `wanted` (`float32`, `float64` or `int64`), all of them finite.

    Floats of other widths are converted. Integers are refused for a float weight (quantized weights would need their
    scale), fractions for an integer one. Raises WeightError with the name of the weight.
    """
    floating = wanted.startswith("float")
    kind = _kind(stored.dtype)
    if kind != "f" and (floating or kind not in "iu"):
        raise WeightError(
            "E0705",
            f"{source}: `{name}` holds {stored.dtype}, the network computes it as {wanted}",
            f"if its values are what is meant, store array.astype('{wanted}')",
        )
    values = stored.read()
    if not floating:
        whole = np.rint(values) if kind == "f" else values
        if not np.array_equal(whole, values):
            raise WeightError("E0705", f"{source}: `{name}` holds fractions, the network wants whole numbers")
        return np.asarray(whole, dtype=wanted, order="C")
    _require_finite(name, values, source)
    with np.errstate(over="ignore"):
        result = np.asarray(values, dtype=wanted, order="C")
    if result.dtype.itemsize < values.dtype.itemsize and not np.isfinite(result).all():
        largest = float(np.abs(values).max())
        raise WeightError("E0707", f"{source}: `{name}` holds {largest:g}, which is beyond the range of {wanted}")
    return result


def _kind(dtype: str) -> str:
    """NumPy's letter for a kind of numbers: `f` for floats, `i` or `u` for integers, `O` for what it cannot read."""
    if dtype == "bfloat16":
        return "f"
    try:
        return np.dtype(dtype).kind
    except TypeError:
        return "O"


def _require_finite(name: str, values: NDArray[Any], source: str) -> None:
    finite = np.isfinite(values)
    if finite.all():
        return
    bad = int(finite.size - np.count_nonzero(finite))
    kinds = "NaN" if np.isnan(values).any() else "infinity"
    first = tuple(int(index) for index in np.argwhere(~finite)[0])
    raise WeightError(
        "E0707",
        f"{source}: `{name}` holds {kinds}: {bad} of {finite.size} values are not finite, the first at {first}",
        "weights like these come from a training run that diverged, or from a damaged file",
    )
