"""A device as the rest of this package sees it: a GPU through CuPy (`cuda.py`), or one that is played (`fake.py`).

Everything that touches a device goes through here, so that all else runs, and is tested, without one. Work is queued on
one stream, in order, and nobody waits for it but who reads results; copies from and to the host go by two others, one
for each way, so that the next batch comes while one is computed and the one before leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

Task = Callable[[], None]
"""Queues work on the device's stream, and does not wait for it."""


@dataclass(frozen=True)
class DeviceInfo:
    """What does not change while a process runs."""

    number: int
    """Which of the machine's devices, counted from 0."""
    name: str
    """As NVIDIA calls it: `NVIDIA H200`."""
    capability: tuple[int, int]
    """Compute capability: (9, 0) is Hopper, sm_90."""
    memory: int
    """Bytes of its memory, taken or not."""
    processors: int
    """Streaming multiprocessors."""
    shared_memory: int
    """Bytes that one block may ask for at most (opt-in)."""
    l2: int
    """Bytes of the second-level cache."""
    driver: tuple[int, int]
    """The CUDA version that the driver knows: (13, 0)."""
    runtime: tuple[int, int]
    """The CUDA version of the runtime that computes."""
    library: str
    """`cupy 14.2.0`"""

    @property
    def architecture(self) -> str:
        """`sm_90`"""
        return f"sm_{self.capability[0]}{self.capability[1]}"

    @property
    def bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 and TF32 (Ampere and later)."""
        return self.capability >= (8, 0)

    def __str__(self) -> str:
        return (
            f"{self.name} ({self.architecture}, {self.memory / 2**30:.0f} GiB, CUDA {'.'.join(map(str, self.driver))})"
        )


class Function(Protocol):
    """A CUDA kernel that has been compiled."""

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        """Queues a launch. Arguments are device arrays, NumPy scalars of the exact type, or addresses as np.uint64."""
        ...


class Graph(Protocol):
    """Launches that were captured, in order."""

    def launch(self) -> None:
        """Queues all of them."""
        ...


class Event(Protocol):
    """A mark in a stream."""

    def wait(self) -> None:
        """Returns when everything before the mark has been done."""
        ...


class Device(Protocol):
    """One device, one stream of work. Methods raise DeviceMemoryError, DeviceLostError (E0718)."""

    @property
    def info(self) -> DeviceInfo: ...

    @property
    def xp(self) -> Any:
        """The array library: cupy, or what stands for it."""
        ...

    def use(self) -> AbstractContextManager[None]:
        """Inside, arrays are made on this device and work goes to its stream; temporaries come from memory that belongs
        to this object alone, so that captured launches may use it. Errors of CUDA come out as ours. Reentrant."""
        ...

    def follow(self) -> None:
        """Work that is queued from now on waits for what the caller has queued on the stream that is current outside of
        `use`: arrays of the library may still be written there."""
        ...

    def allocate(self, size: int) -> Any:
        """`size` bytes of zeros, as an array of uint8 of the device that begins at a multiple of 256."""
        ...

    def free_bytes(self) -> int:
        """How much could be allocated now."""
        ...

    def pinned(self, shape: Sequence[int], dtype: Any) -> Any:
        """An array in memory of the host that the device reads by itself."""
        ...

    def upload(self, target: Any, source: Any) -> None:
        """Copies `source` of the host (made by `pinned` if it is to overlap) to `target` without gaps, on the stream
        of copies to the device."""
        ...

    def download(self, target: Any, source: Any) -> None:
        """Copies an array of the device without gaps to one of the host, on the stream of copies from
        it."""
        ...

    def await_copies(self) -> None:
        """Work that is queued from now on waits for the copies to the device that have been queued."""
        ...

    def hold_copies(self, after: Event) -> None:
        """Copies from the device that are queued from now on wait for the work in front of a mark."""
        ...

    def mark(self, copies: bool = False) -> Event:
        """A mark behind all work (or all copies, both ways) that has been queued."""
        ...

    def address(self, array: Any) -> int:
        """Where the first number of an array lies."""
        ...

    def matmul(self, a: Any, b: Any, out: Any, tf32: bool = False) -> None:
        """out = a @ b, queued: (M, K) @ (K, N), or with one batch axis in front of each; may be captured.

        a and b have one type (float32, float16, bfloat16), out that type or float32; sums are float32. The last axis of
        each follows itself in memory, the others may have gaps; `b` may also be the transposed view of such an array.
        """
        ...

    def function(self, source: str, name: str, options: tuple[str, ...] = ()) -> Function:
        """A kernel of a piece of CUDA C++, compiled once (NVRTC) and kept on disk by CuPy."""
        ...

    def capture(self, run: Task) -> Graph:
        """What `run` queues, as a graph, without doing it. Raises CannotCaptureError where it is not possible; then
        nothing has been queued, and the device is as it was before."""
        ...

    def synchronize(self) -> None:
        """Returns when everything that was queued has been done."""
        ...

    def time(self, run: Task, repeats: int = 1) -> float:
        """Milliseconds that `repeats` runs together take on the device."""
        ...
