"""Clipping of gradients, and their norm."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.train import recipe_parts as parts

_BLOCK = 1 << 15
_EPS = 1e-6
"""As PyTorch's: keeps the quotient finite where all gradients are 0."""


def norm(gradients: NDArray[Any]) -> float:
    """The Euclidean norm of a vector; NaN or infinity where an element is not finite.

    Blocks are added up in double precision, where no square of a float32 overflows, and by NumPy's own loop: the
    threads of BLAS would make the last bits depend on how many there are.
    """
    wide = np.empty(min(_BLOCK, len(gradients)), np.float64)
    total = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(gradients), _BLOCK):
            block = gradients[start : start + _BLOCK]
            part = wide[: len(block)]
            part[...] = block
            total += float(np.einsum("i,i->", part, part))
    return sqrt(total)


def clip(limit: parts.Part, gradients: NDArray[Any], length: float) -> None:
    """Bounds `gradients` in place; `length` is their norm."""
    if isinstance(limit, parts.ClipNorm):
        factor = limit.most / (length + _EPS)
        if factor < 1:
            np.multiply(gradients, factor, out=gradients)
    elif isinstance(limit, parts.ClipValue):
        np.clip(gradients, -limit.most, limit.most, out=gradients)
