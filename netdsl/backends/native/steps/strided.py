"""A copy along several axes: merged where they follow each other, the longest runs inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netdsl.backends.native.kernels.strided import AXES, StridedKernel
from netdsl.backends.native.steps.step import NativeStep

Move = tuple[int, int, int]
"""An axis: its extent, and the bytes from one position to the next in the input and in the output."""


def merged(axes: Sequence[Move]) -> list[Move]:
    """The same copy with as few axes as can be, those with the largest steps of the output first."""
    found: list[Move] = []
    for extent, source, to in sorted((axis for axis in axes if axis[0] != 1), key=lambda axis: (-axis[2], -axis[1])):
        if found:
            above, above_source, above_to = found[-1]
            if above_source == extent * source and above_to == extent * to:
                found[-1] = (above * extent, source, to)
                continue
        found.append((extent, source, to))
    return found


def strided_step(name: str, x: int, out: int, axes: Sequence[Move], *, keep: tuple[Any, ...] = ()) -> NativeStep:
    """Number (i, j, ...) of `out` is number (i, j, ...) of `x`. Raises ValueError for too many axes."""
    found = merged(axes)
    if len(found) > AXES:
        raise ValueError(f"{len(found)} axes")
    run = bool(found) and found[-1][1:] == (4, 4)
    # Units are made of the first two axes, and the last one is the innermost.
    outer, inner = (found[:-1], found[-1:]) if found else ([], [])
    filled = [*outer, *[(1, 0, 0)] * (AXES - 1 - len(outer)), *(inner or [(1, 0, 0)])]
    values = {"x": x, "out": out}
    count = 1
    for axis, (extent, source, to) in enumerate(filled):
        values |= {f"extent{axis}": extent, f"from{axis}": source, f"to{axis}": to}
        count *= extent
    return NativeStep(name, StridedKernel(run), values, filled[0][0] * filled[1][0], 2 * count, 0, keep)
