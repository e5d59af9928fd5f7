"""Rows and stretches of a copy: see `kernels/gather.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.gather import GatherKernel
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, aligned

Stretch = tuple[int, int | None, int]
"""Where it begins in the output row, in the input row (None: it is filled), in bytes, and how many numbers it has."""


def stretches(
    columns: Sequence[int | None], x_pixel: int, out_pixel: int, lane: Sequence[tuple[int | None, int]]
) -> list[Stretch]:
    """The stretches of a row whose pixel i is a copy of pixel `columns[i]` (None: filled).

    Each pixel is made of pieces: `lane` says for each the byte of the input's pixel where it begins (None: filled) and
    how many numbers it has. Pieces that follow each other on both sides are one.
    """
    found: list[Stretch] = []
    for column, source in enumerate(columns):
        to = column * out_pixel
        for start, numbers in lane:
            from_ = None if source is None or start is None else source * x_pixel + start
            if found:
                last_to, last_from, count = found[-1]
                follows = (last_from is not None and from_ == last_from + 4 * count) or last_from is from_ is None
                if to == last_to + 4 * count and follows:
                    found[-1] = (last_to, last_from, count + numbers)
                    to += 4 * numbers
                    continue
            found.append((to, from_, numbers))
            to += 4 * numbers
    return found


def gather_step(
    name: str,
    x: tuple[int, int],
    out: tuple[int, int],
    images: int,
    rows: Sequence[int | None],
    out_rows: Sequence[int],
    columns: Sequence[Stretch],
    *,
    value: float = 0.0,
    activation: Activation = (),
    keep: tuple[Any, ...] = (),
) -> NativeStep:
    """Row i of each image of `out` is made of the row at `rows[i]` bytes of the image of `x` (None: filled).

    `x` and `out` are an address and the bytes from one image to the next.
    """
    sources = _table([-1 if row is None else row for row in rows])
    places = _table(list(out_rows))
    table = _table([part for to, source, count in columns for part in (to, -1 if source is None else source, count)])
    filling = aligned(1)
    filling[0] = value
    values = {
        "x": x[0], "x_image": x[1], "rows": sources.ctypes.data, "out": out[0], "out_image": out[1],
        "out_rows": places.ctypes.data, "height": len(rows), "stretches": table.ctypes.data, "count": len(columns),
        "value": filling.ctypes.data,
    }  # fmt: skip
    numbers = sum(count for _, _, count in columns) * images * len(rows)
    return NativeStep(
        name, GatherKernel(activation), values, images * len(rows), numbers, 0, (sources, places, table, filling, *keep)
    )


def _table(numbers: Sequence[int]) -> Array:
    return np.asarray(numbers, dtype=np.int64)
