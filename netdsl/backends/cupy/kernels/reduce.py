"""Sums over memory in two stages, without atomics: `fold` is the second."""

from __future__ import annotations

from netdsl.backends.cupy.kernels.functions import literal
from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, blocks, power_of_two, specialised

THREADS = 256


def fold(
    sets: int,
    rows: int,
    columns: int,
    *,
    factor: float = 1.0,
    maximum: bool = False,
    add: bool = False,
    dtype: str = "float32",
    taps: int = 0,
    channels: int = 0,
    add_rest: bool = False,
    names: tuple[str, str, str] = ("parts", "out", NONE),
) -> Kernel:
    """out (sets, columns) = factor * the sum (or largest) of parts (sets, rows, columns) over the rows.

    With `taps` the columns are (taps, channels), and are written as (channels, taps), those of a further row into
    the third argument. `add` adds to what is there, `add_rest` to that further row.
    """
    wide = min(32, max(8, power_of_two(columns)))
    lane = max(1, min(THREADS // wide, power_of_two(rows)))
    each = blocks(columns, wide)
    return Kernel(
        "fold",
        specialised(
            "fold.cu",
            {"ROWS": rows, "COLUMNS": columns, "WIDE": wide, "LANES": lane, "WIDE_BLOCKS": each, "TAPS": taps}
            | {"C": max(1, channels), "ADD": add, "ADD_REST": add_rest, "MAXIMUM": maximum},
            {"O": dtype},
            [f"constexpr float FACTOR = {literal(factor)};"],
        ),
        names,
        sets * each,
        (wide, lane, 1),
        writes=names[1:],
    )  # fmt: skip
