"""In which numbers a network is stored, multiplied and added on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netdsl.backends.errors import RunError
from netdsl.language.diagnostics import did_you_mean


@dataclass(frozen=True)
class Precision:
    """Tensors and weights lie in memory as `storage`; products are added up, and everything that is done to a sum on
    its way (bias, residual, activation) is computed, as `accumulate`. With `tf32` the factors of float32 products are
    rounded to TensorFloat-32 (8 bits of exponent, 10 of fraction) where the device has units for that."""

    name: str
    storage: str
    accumulate: str = "float32"
    tf32: bool = False
    digits: int = 24
    """Bits of the significand of a factor, the hidden one included: what a bound on errors is made of."""

    @property
    def itemsize(self) -> int:
        """Bytes of a number in memory."""
        return 4 if self.storage == "float32" else 2

    @property
    def half(self) -> bool:
        """Whether numbers in memory have two bytes."""
        return self.itemsize == 2

    @property
    def epsilon(self) -> float:
        """The distance from 1 to the next factor."""
        return 2.0 ** (1 - self.digits)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of the numbers in memory. Raises RunError (E0716) where bfloat16 is not there."""
        return dtype_of(self.storage)


PRECISIONS: dict[str, Precision] = {
    "float32": Precision("float32", "float32"),
    "tf32": Precision("tf32", "float32", tf32=True, digits=11),
    "float16": Precision("float16", "float16", digits=11),
    "bfloat16": Precision("bfloat16", "bfloat16", digits=8),
}
"""By name. float16 (IEEE 754 binary16) reaches 65504; bfloat16 has the exponents of float32."""


def precision(name: str | None) -> Precision:
    """The precision called `name`, float32 if none is. Raises RunError (E0716)."""
    if name is None:
        return PRECISIONS["float32"]
    if name not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise RunError(
            "E0716", f"there is no precision `{name}`", did_you_mean(name, PRECISIONS) or f"there are {known}"
        )
    return PRECISIONS[name]


def dtype_of(name: str) -> np.dtype[Any]:
    """NumPy's dtype by name; `bfloat16` is that of ml_dtypes, which CuPy takes as well. Raises RunError (E0716)."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise RunError(
            "E0716", "bfloat16 needs the package ml_dtypes", "pip install ml_dtypes; or --precision float16"
        ) from None
    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found
