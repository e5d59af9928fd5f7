"""A module `cupy` that is played on the CPU, as far as `netdsl/backends/cupy/cuda.py` asks for it.

Its names and arguments are those of CuPy 14: streams and events that keep an order, pools that count, a capture during
which nothing happens, errors with a status. And a library of matrix products that counts columns first, on addresses.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

TYPES = {0: np.dtype(np.float32), 2: np.dtype(np.float16), 14: np.dtype(ml_dtypes.bfloat16)}


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__(f"cudaError{status}: something happened\n  and more about it")
        self.status = status


class CompileException(Exception):  # noqa: N818
    pass


class CUDADriverError(CUDARuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    def __init__(self, size: int, total: int) -> None:
        super().__init__(f"Out of memory allocating {size} bytes")
        self._size = size


class Pointer:
    def __init__(self, world: World, array: Any) -> None:
        self.world, self.ptr = world, array.ctypes.data

    def copy_from_host_async(self, mem: int, size: int, stream: Any) -> None:
        stream.queue("up", lambda: ctypes.memmove(self.ptr, mem, size))

    def copy_to_host_async(self, mem: int, size: int, stream: Any) -> None:
        stream.queue("down", lambda: ctypes.memmove(mem, self.ptr, size))


class Array(np.ndarray[Any, Any]):
    world: World

    def __array_finalize__(self, other: Any) -> None:
        if isinstance(other, Array):
            self.world = other.world

    @property
    def data(self) -> Any:  # type: ignore[override]
        return Pointer(self.world, self.view(np.ndarray))

    def get(self) -> Any:
        return np.array(self.view(np.ndarray))


class Stream:
    """Work is done as it is queued, but for what is captured."""

    def __init__(self, world: World, non_blocking: bool = False) -> None:
        assert non_blocking, "the stream of everybody else is not waited for"
        self.world, self.ptr = world, 1000 + len(world.streams)
        self.captured: list[Callable[[], Any]] | None = None
        world.streams.append(self)

    def __enter__(self) -> Stream:
        assert self.world.device is not None, "a stream belongs to a device, which must be the current one"
        self.world.current.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        self.world.current.pop()

    def queue(self, name: str, work: Callable[[], Any]) -> None:
        self.world.check()
        self.world.log.append((self.ptr, name))
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> Any:
        work, self.captured = self.captured, None
        if self.world.invalid:
            self.world.invalid = False
            raise CUDARuntimeError(901)
        assert work is not None

        def launch(stream: Stream) -> None:
            stream.queue("graph", lambda: [each() for each in work])

        return SimpleNamespace(launch=launch)

    def wait_event(self, event: Any) -> None:
        self.queue(f"wait {event.on}", lambda: None)

    def synchronize(self) -> None:
        self.world.check()
        self.world.log.append((self.ptr, "synchronize"))


class Device:
    """Current inside `with`, any number of times."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.before: list[int | None] = []

    def __enter__(self) -> Device:
        self.before.append(self.world.device)
        self.world.device = self.number
        return self

    def __exit__(self, *error: Any) -> None:
        self.world.device = self.before.pop()


class World:
    """What there is on the machine."""

    def __init__(self, memory: int = 2**30) -> None:
        self.memory, self.used = memory, 0
        self.streams: list[Stream] = []
        self.current: list[Stream] = []
        self.log: list[tuple[int, str]] = []
        self.pools: list[Any] = []
        self.device: int | None = None
        self.status = 0
        """What every call answers from now on, if it is not 0."""
        self.invalid = False
        self.compiles = True
        """Kernels compile, and do nothing."""
        self.products = Products(self)

    def check(self) -> None:
        if self.status:
            raise CUDARuntimeError(self.status)

    def array(self, array: Any) -> Array:
        found: Array = array.view(Array)
        found.world = self
        return found

    def zeros(self, size: int, dtype: Any) -> Array:
        self.check()
        assert self.pools and self.current, "memory comes from a pool of ours, on a stream of ours"
        if self.used + size > self.memory:
            raise OutOfMemoryError(size, self.memory)
        self.used += size
        return self.array(np.zeros(size, dtype))


class Products:
    """cuBLAS: matrices column by column at addresses, computed in float32. Answers with a status."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: list[str] = []
        self.tf32: list[bool] = []
        self.answer = 0

    def cublasCreate_v2(self, handle: Any) -> int:  # noqa: N802
        handle._obj.value = 77
        return self.answer

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:  # noqa: N802
        self.calls.append("stream")
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, address: Any, size: Any) -> int:  # noqa: N802
        assert self.calls[-1] == "stream" and address.value and size.value >= 2**22
        self.calls.append("workspace")
        return 0

    def cublasSetMathMode(self, handle: Any, mode: int) -> int:  # noqa: N802
        assert mode == 16
        return 0

    def cublasDestroy_v2(self, handle: Any) -> int:  # noqa: N802
        self.calls.append("destroy")
        return 0

    def cublasGemmStridedBatchedEx(  # noqa: N802
        self, handle: Any, transa: int, transb: int, m: int, n: int, k: int, alpha: Any, a: Any, a_type: int, lda: int,
        stride_a: Any, b: Any, b_type: int, ldb: int, stride_b: Any, beta: Any, c: Any, c_type: int, ldc: int,
        stride_c: Any, count: int, compute: int, algorithm: int,
    ) -> int:  # fmt: skip
        if self.answer:
            return self.answer
        assert handle.value == 77 and compute in (68, 77) and algorithm == -1 and a_type == b_type
        assert lda >= (k if transa else m) and ldb >= (n if transb else k) and ldc >= m
        self.tf32.append(compute == 77)

        def run() -> None:
            for index in range(count):
                left = _columns(a, a_type, lda, stride_a, index, *((k, m) if transa else (m, k)))
                right = _columns(b, b_type, ldb, stride_b, index, *((n, k) if transb else (k, n)))
                made = (left.T if transa else left) @ (right.T if transb else right)
                target = _view(c, c_type, ldc, stride_c, index, m, n)
                target[...] = (alpha._obj.value * made).astype(target.dtype)

        self.world.streams[0].queue("gemm", run)
        return 0


def _view(pointer: Any, kind: int, leading: int, stride: Any, index: int, rows: int, columns: int) -> Any:
    """A matrix (rows, columns), column by column."""
    dtype = TYPES[kind]
    start = pointer.value + index * stride.value * dtype.itemsize
    raw = (ctypes.c_uint8 * ((leading * (columns - 1) + rows) * dtype.itemsize)).from_address(start)
    flat = np.frombuffer(raw, dtype)
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (dtype.itemsize, leading * dtype.itemsize))


def _columns(*arguments: Any) -> Any:
    return _view(*arguments).astype(np.float32)


def install(monkeypatch: Any, world: World) -> None:
    """The modules, in the place of CuPy's."""

    class Event:
        def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
            self.on, self.timed = "", not disable_timing

        def record(self, stream: Stream) -> None:
            self.on = str(stream.ptr)
            self.when = len(world.log)

        def synchronize(self) -> None:
            world.check()
            world.log.append((0, f"wait for {self.on}"))

    class MemoryPool:
        def malloc(self, size: int) -> None: ...
        def free_bytes(self) -> int:
            return 0

        def free_all_blocks(self) -> None:
            world.log.append((0, "free"))

    @contextmanager
    def using_allocator(malloc: Any) -> Iterator[None]:
        world.pools.append(malloc)
        try:
            yield
        finally:
            world.pools.pop()

    class RawModule:
        def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
            assert isinstance(options, tuple)
            self.code = code

        def get_function(self, name: str) -> Any:
            if "#error" in self.code or not world.compiles:
                raise CompileException("k.cu(2): warning: unused\nk.cu(3): error: expected a `;`\n1 error detected")
            return Kernel(name)

    class Kernel:
        max_dynamic_shared_size_bytes = 48 * 1024

        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
            assert shared_mem <= self.max_dynamic_shared_size_bytes
            world.current[-1].queue(f"{self.name} {grid} {block}", lambda: None)

    properties = {
        "name": b"Played GPU", "totalGlobalMem": world.memory, "multiProcessorCount": 4, "major": 9, "minor": 0,
        "sharedMemPerBlockOptin": 232448, "l2CacheSize": 2**20,
    }  # fmt: skip
    runtime = SimpleNamespace(
        getDeviceCount=lambda: 1, getDeviceProperties=lambda number: properties, driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000, memGetInfo=lambda: (world.memory - world.used, world.memory),
        CUDARuntimeError=CUDARuntimeError,
    )  # fmt: skip
    default = SimpleNamespace(ptr=0)
    cuda = SimpleNamespace(
        get_current_stream=lambda: world.current[-1] if world.current else default,
        Device=lambda number: Device(world, number), Stream=lambda non_blocking=False: Stream(world, non_blocking), Event=Event,
        MemoryPool=MemoryPool, using_allocator=using_allocator, runtime=runtime,
        compiler=SimpleNamespace(CompileException=CompileException),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError), get_elapsed_time=lambda a, b: b.when - a.when,
    )  # fmt: skip
    module: Any = ModuleType("cupy")
    module.__version__, module.cuda, module.RawModule, module.zeros = "14.2.0", cuda, RawModule, world.zeros
    module.get_default_memory_pool = MemoryPool

    def function(name: str) -> Any:
        """One of NumPy's, which computes at once, on arrays of the device."""
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type):
            return found

        def call(*inputs: Any, **options: Any) -> Any:
            made = found(*inputs, **options)
            return world.array(np.asarray(made)) if isinstance(made, np.ndarray | np.generic) else made

        return call

    def as_strided(x: Any, shape: Any, strides: Any) -> Any:
        return np.lib.stride_tricks.as_strided(x, shape, strides, subok=True)

    module.lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided))
    module.__getattr__ = function
    module.matmul = lambda a, b: np.matmul(a.view(np.ndarray), b.view(np.ndarray))
    extra: Any = ModuleType("cupyx")
    extra.empty_pinned = lambda shape, dtype: np.empty(shape, dtype)
    named: dict[str, Any] = {"cupy": module, "cupyx": extra}
    for name in ("cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.api", "cupy_backends.cuda.libs"):
        named[name] = ModuleType(name)
    for name, error in (("driver", CUDADriverError), ("runtime", CUDARuntimeError)):
        found: Any = ModuleType(f"cupy_backends.cuda.api.{name}")
        setattr(found, error.__name__, error)
        named[found.__name__] = found
    named["cupy_backends.cuda.libs"].cublas = ModuleType("cublas")
    for name, each in named.items():
        monkeypatch.setitem(sys.modules, name, each)
    for name in ("cuda", "cuda_errors", "cuda_info"):
        monkeypatch.delitem(sys.modules, f"netdsl.backends.cupy.{name}", raising=False)
