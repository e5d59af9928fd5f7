"""What the device does at most: copies in memory, matrix products, launches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netdsl.backends.cupy.precision import PRECISIONS as KNOWN
from on_gpu.book import Item, Record
from on_gpu.setup import PRECISIONS, Setup

COPY_BYTES, EXTENT = 2**30, 8192
PLAYED_BYTES, PLAYED_EXTENT = 2**16, 32
LAUNCHES = 100


def items(setup: Setup) -> Iterator[Item]:
    yield "copy", lambda: _copy(setup)
    for precision in PRECISIONS:
        yield f"matmul {precision}", lambda precision=precision: _matmul(setup, precision)  # type: ignore[misc]
    yield "launches", lambda: _launches(setup)


def _copy(setup: Setup) -> Record:
    size = PLAYED_BYTES if setup.played else COPY_BYTES
    source, target = setup.device.allocate(size), setup.device.allocate(size)

    def run() -> None:
        target[...] = source

    with setup.device.use():
        milliseconds = setup.milliseconds(run)
    return {"ms": milliseconds, "bytes_per_second": 2 * size / milliseconds * 1e3}


def _matmul(setup: Setup, precision: str) -> Record:
    device, kind, n = setup.device, KNOWN[precision], PLAYED_EXTENT if setup.played else EXTENT
    with device.use():
        a, b = (device.xp.full((n, n), 0.5, KNOWN["float32"].dtype).astype(kind.dtype) for _ in range(2))
        out: Any = device.xp.empty((n, n), kind.dtype)
        milliseconds = setup.milliseconds(lambda: device.matmul(a, b, out, kind.tf32))
    return {"ms": milliseconds, "flops_per_second": 2 * n**3 / milliseconds * 1e3}


def _launches(setup: Setup) -> Record:
    """Microseconds of a small launch, by itself and in a graph."""
    device = setup.device
    with device.use():
        x = device.xp.zeros((256,), KNOWN["float32"].dtype)

        def many() -> None:
            for _ in range(LAUNCHES):
                device.xp.add(x, x, out=x)

        alone = setup.milliseconds(many)
        graph = device.capture(many)
        together = setup.milliseconds(graph.launch)
    return {"alone_us": 1e3 * alone / LAUNCHES, "graph_us": 1e3 * together / LAUNCHES}
