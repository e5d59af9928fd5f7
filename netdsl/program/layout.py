"""The arena of a Program for numbers of another size: how much memory a device needs, without one.

A Program's own plan is made for four bytes a number and the lines of a CPU's cache. On a GPU buffers begin at multiples
of 256 bytes, so that every row of a warp's loads may be whole transactions, and half precisions take half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.program.arena import Demand, plan
from netdsl.program.ir import Planned

DEVICE_ALIGNMENT = 256
"""Every buffer begins at a multiple of this many bytes, as what CUDA allocates does."""


@dataclass(frozen=True)
class Layout:
    """Where the buffers of a Program lie when a number takes `itemsize` bytes."""

    offsets: tuple[int, ...]
    """Bytes from the start of the arena, by number of the buffer."""
    bytes: int
    itemsize: int


def device_aligned(size: int) -> int:
    """`size` rounded up to a multiple of DEVICE_ALIGNMENT."""
    return -(-size // DEVICE_ALIGNMENT) * DEVICE_ALIGNMENT


def layout(program: Planned, itemsize: int, sizes: Sequence[int] | None = None) -> Layout:
    """The arena of a Program for numbers of `itemsize` bytes. `sizes`: bytes of each buffer, where they hold something
    else than numbers of one size."""
    if sizes is None:
        sizes = [buffer.bytes // BYTES_PER_ELEMENT * itemsize for buffer in program.buffers]
    demands = [
        Demand(device_aligned(size), buffer.first, buffer.last)
        for size, buffer in zip(sizes, program.buffers, strict=True)
    ]
    offsets = plan(demands)
    end = max((offset + demand.bytes for offset, demand in zip(offsets, demands, strict=True)), default=0)
    return Layout(tuple(offsets), end, itemsize)
