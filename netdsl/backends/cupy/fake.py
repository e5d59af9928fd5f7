"""A device that is played on the CPU: for tests of everything that is not a kernel itself."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from netdsl.backends.cupy.device import DeviceInfo, Event, Function, Graph, Task
from netdsl.backends.cupy.errors import CannotCaptureError, DeviceLostError, DeviceMemoryError
from netdsl.backends.cupy.fake_array import DeviceArray, Library, Recorder, plain

HOPPER = DeviceInfo(0, "Played H200", (9, 0), 139 * 2**30, 132, 227 * 2**10, 50 * 2**20, (13, 0), (13, 0), "numpy")


@dataclass
class FakeGraph:
    """Launches with the arrays they work on, as they were when they were captured."""

    recorder: FakeDevice
    calls: list[tuple[str, Callable[[], None]]]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def launch(self) -> None:
        self.recorder.check()
        self.recorder.graphs += 1
        with np.errstate(all="ignore"):
            for _, call in self.calls:
                call()


@dataclass
class FakeEvent:
    """Everything has been done as soon as it is queued."""

    recorder: FakeDevice

    def wait(self) -> None:
        self.recorder.wait()


@dataclass
class FakeFunction:
    """A kernel whose launches are noted. `host`, where there is one, is what it does."""

    recorder: FakeDevice
    name: str
    host: Callable[..., None] | None = None

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        if self.host is None:
            raise NotImplementedError(f"the kernel {self.name} has no form on the CPU")
        host, launch = self.host, (tuple(grid), tuple(block), tuple(map(plain, arguments)))
        self.recorder.note(f"{self.name}", lambda: host(*launch))


@dataclass(eq=False)
class FakeDevice(Recorder):
    """A device of NumPy arrays with as much memory as it is told.

    `launches` are the names of everything that was launched one by one, `graphs` how many graphs were launched.
    `lose()` makes it stop, `hosts` gives kernels a form on the CPU by name, `refuses` are names of launches that cannot
    be captured.
    """

    info: DeviceInfo = HOPPER
    limit: int | None = None
    hosts: dict[str, Callable[..., None]] = field(default_factory=dict)
    refuses: frozenset[str] = frozenset()
    failing_allocations: int = 0
    """How many of the next allocations fail as if memory had run out."""

    def __post_init__(self) -> None:
        super().__init__(self.info.number)
        self.xp: Any = Library(self)
        self.graphs = 0
        self.compiled: list[str] = []
        """Names of kernels that were asked for."""
        self.copies: list[tuple[str, int]] = []
        """("up" or "down", bytes) of copies between host and device."""
        self.order: list[str] = []
        """Waits between the two streams, copies and synchronisations, in order."""
        self._lost = ""

    def lose(self, reason: str = "an illegal memory access was encountered") -> None:
        self._lost = reason

    def check(self) -> None:
        if self._lost:
            raise DeviceLostError(self.info.name, self._lost)

    def charge(self, size: int) -> None:
        if self.failing_allocations:
            self.failing_allocations -= 1
            raise DeviceMemoryError(size, 0, self.total)
        if self.used + size > self.total:
            raise DeviceMemoryError(size, self.free_bytes(), self.total)
        super().charge(size)

    @property
    def total(self) -> int:
        return self.info.memory if self.limit is None else self.limit

    @contextmanager
    def use(self) -> Iterator[None]:
        self.check()
        # As on a GPU: numbers that are too large become infinite without a word.
        with np.errstate(all="ignore"):
            yield

    def follow(self) -> None:
        self.check()
        self.order.append("follow")

    def allocate(self, size: int) -> Any:
        self.check()
        # Before the host is asked: a test may well want a device that is larger, or smaller, than it.
        self.charge(size)
        raw = np.zeros(size + 256, np.uint8)
        weakref.finalize(raw, self._release, size)
        start = -raw.ctypes.data % 256
        return self.view_of(raw[start : start + size])

    def free_bytes(self) -> int:
        self.check()
        return self.total - self.used

    def pinned(self, shape: Sequence[int], dtype: Any) -> Any:
        return np.empty(tuple(shape), dtype)

    def upload(self, target: Any, source: Any) -> None:
        self._copy("up", source.nbytes)
        if not target.flags.c_contiguous or not source.flags.c_contiguous or target.dtype != source.dtype:
            raise ValueError("copies are of arrays without gaps, of one type")
        np.copyto(plain(target), source)

    def download(self, target: Any, source: Any) -> None:
        self._copy("down", source.nbytes)
        if not target.flags.c_contiguous or not source.flags.c_contiguous or target.dtype != source.dtype:
            raise ValueError("copies are of arrays without gaps, of one type")
        np.copyto(target, plain(source))

    def _copy(self, direction: str, size: int) -> None:
        self.check()
        if self.capturing is not None:
            raise CannotCaptureError("a copy from or to the host is not captured")
        self.copies.append((direction, size))
        self.order.append(direction)

    def await_copies(self) -> None:
        self.check()
        self.order.append("await copies")

    def hold_copies(self, after: Event) -> None:
        self.check()
        self.order.append("hold copies")

    def mark(self, copies: bool = False) -> Event:
        self.check()
        return FakeEvent(self)

    def address(self, array: Any) -> int:
        return int(plain(array).ctypes.data)

    def matmul(self, a: Any, b: Any, out: Any, tf32: bool = False) -> None:
        """In float32, whatever the operands are; with `tf32` their fractions are cut to 10 bits, ties to even."""
        for each in (a, b, out):
            if not isinstance(each, DeviceArray):
                raise TypeError("an array of the host in a product on the device")
        if a.dtype != b.dtype or (out.dtype != a.dtype and out.dtype != np.float32):
            raise TypeError(f"{a.dtype} @ {b.dtype} -> {out.dtype}")
        left, right, target = plain(a), plain(b), plain(out)

        def run() -> None:
            x, y = (_rounded(each) if tf32 else each.astype(np.float32) for each in (left, right))
            np.copyto(target, np.matmul(x, y).astype(target.dtype))

        self.note("matmul", run)

    def note(self, name: str, run: Task) -> None:
        """Launches, or captures, something that is no function of `xp`."""
        self.check()
        if self.capturing is not None:
            if name in self.refuses:
                raise CannotCaptureError(f"{name} cannot be captured")
            self.capturing.append((name, run))
            return
        self.launches.append(name)
        with np.errstate(all="ignore"):
            run()

    def function(self, source: str, name: str, options: tuple[str, ...] = ()) -> Function:
        self.check()
        self.compiled.append(name)
        return FakeFunction(self, name, self.hosts.get(name))

    def capture(self, run: Task) -> Graph:
        self.check()
        if self.capturing is not None:
            raise CannotCaptureError("a capture within a capture")
        self.capturing = []
        try:
            run()
            return FakeGraph(self, self.capturing)
        except (NotImplementedError, CannotCaptureError) as error:
            raise CannotCaptureError(str(error)) from None
        finally:
            self.capturing = None

    def synchronize(self) -> None:
        self.order.append("synchronize")
        self.wait()

    def time(self, run: Task, repeats: int = 1) -> float:
        start = perf_counter()
        for _ in range(repeats):
            run()
        return (perf_counter() - start) * 1e3


def _rounded(array: Any) -> Any:
    """float32 with the 13 last bits of the fraction rounded away, ties to even: TensorFloat-32."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    cut = (bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(array), cut.view(np.float32), array)
