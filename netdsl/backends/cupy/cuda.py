"""A GPU through CuPy: the only module that imports it."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import cupy
import numpy as np
from cupy_backends.cuda.api.driver import CUDADriverError
from cupy_backends.cuda.api.runtime import CUDARuntimeError

from netdsl.backends.cupy.cublas import WORKSPACE_BYTES, Cublas, CublasError, load
from netdsl.backends.cupy.device import DeviceInfo, Event, Function, Graph, Task
from netdsl.backends.cupy.errors import CannotCaptureError, DeviceLostError, DeviceMemoryError, KernelError
from netdsl.backends.errors import RunError

NO_MEMORY = frozenset({2})
"""cudaErrorMemoryAllocation, CUDA_ERROR_OUT_OF_MEMORY"""
LOST = frozenset({46, 214, 700, 702, 708, 709, 710, 714, 715, 716, 717, 718, 719, 999})
"""Errors after which a context is of no use: uncorrectable memory, addresses outside of it, kernels that failed or took
too long (CUDA runtime documentation, cudaError_t)."""
CAPTURE = frozenset(range(900, 911))
"""cudaErrorStreamCaptureUnsupported to cudaErrorGraphExecUpdateFailure"""
STATIC_SHARED_MEMORY = 48 * 2**10
"""What a block may have without asking for more."""


class CudaEvent:
    """A mark in a stream."""

    def __init__(self, device: CudaDevice, stream: Any) -> None:
        self._device = device
        self.event = cupy.cuda.Event(disable_timing=True)
        self.event.record(stream)

    def wait(self) -> None:
        with self._device.translated():
            self.event.synchronize()


class CudaFunction:
    """A kernel that NVRTC has compiled."""

    def __init__(self, device: CudaDevice, kernel: Any) -> None:
        self._device = device
        self._kernel = kernel

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        if shared_mem > STATIC_SHARED_MEMORY and self._kernel.max_dynamic_shared_size_bytes < shared_mem:
            self._kernel.max_dynamic_shared_size_bytes = shared_mem
        self._kernel(tuple(grid), tuple(block), tuple(arguments), shared_mem=shared_mem)


class CudaGraph:
    """A graph, and the memory that belongs to what it does."""

    def __init__(self, device: CudaDevice, graph: Any, pool: Any) -> None:
        self._device = device
        self._graph = graph
        self._pool = pool
        """Temporaries of the launches: what another array were given here would be written over."""

    def launch(self) -> None:
        self._graph.launch(self._device.work)


class CudaDevice:
    """One device, one stream of work and one of copies, one pool of memory."""

    def __init__(self, number: int) -> None:
        """Raises RunError (E0718), DeviceMemoryError."""
        self.xp: Any = cupy
        self.info = describe(number)
        self._device = cupy.cuda.Device(number)
        self._pool = cupy.cuda.MemoryPool()
        self._inside = threading.local()
        self._taken = threading.Lock()
        self._process = os.getpid()
        with self._device, self.translated():
            self.work = cupy.cuda.Stream(non_blocking=True)
            self.copies = cupy.cuda.Stream(non_blocking=True)
        self._products: Cublas | None = None
        self._no_products = ""
        self._functions: dict[tuple[str, str, tuple[str, ...]], CudaFunction] = {}
        self._scratch: Any = None

    @contextmanager
    def use(self) -> Iterator[None]:
        if getattr(self._inside, "depth", 0):
            # What is set belongs to the thread: the outermost block has done it.
            with self.translated():
                yield
            return
        if os.getpid() != self._process:
            # CUDA would wait for ever, or fail in ways of its own.
            raise RunError(
                "E0716", "a GPU cannot be used in a process that was forked after it had been used",
                "start the process with `spawn` (multiprocessing.set_start_method)",
            )  # fmt: skip
        # One thread at a time: launches of another would become part of what is being captured.
        with self._taken, ExitStack() as stack:
            self._inside.depth = 1
            stack.callback(setattr, self._inside, "depth", 0)
            stack.enter_context(self.translated())
            stack.enter_context(self._device)
            stack.enter_context(self.work)
            stack.enter_context(cupy.cuda.using_allocator(self._pool.malloc))
            yield

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of CUDA come out as ours."""
        try:
            yield
        except cupy.cuda.memory.OutOfMemoryError as error:
            raise self._no_memory(_asked(error)) from None
        except (CUDARuntimeError, CUDADriverError) as error:
            status = int(getattr(error, "status", 0) or 0)
            if status in NO_MEMORY:
                raise self._no_memory(0) from None
            if status in LOST:
                raise DeviceLostError(str(self.info), _first_line(error)) from None
            raise
        except CublasError as error:
            if error.status == 3:
                raise self._no_memory(WORKSPACE_BYTES) from None
            if error.status in (11, 13, 14):
                raise DeviceLostError(str(self.info), str(error)) from None
            raise

    def _no_memory(self, wanted: int) -> DeviceMemoryError:
        free = None
        with contextlib.suppress(Exception):
            free = self.free_bytes()
        return DeviceMemoryError(wanted, free, self.info.memory)

    def allocate(self, size: int) -> Any:
        with self.use():
            try:
                return cupy.zeros(size, np.uint8)
            except cupy.cuda.memory.OutOfMemoryError:
                # Other pools of the process may hold memory that nobody uses.
                self._pool.free_all_blocks()
                cupy.get_default_memory_pool().free_all_blocks()
                return cupy.zeros(size, np.uint8)

    def free_bytes(self) -> int:
        with self._device:
            free, _ = cupy.cuda.runtime.memGetInfo()
        return int(free) + int(self._pool.free_bytes())

    def pinned(self, shape: Sequence[int], dtype: Any) -> Any:
        import cupyx

        try:
            with self._device:
                return cupyx.empty_pinned(tuple(shape), dtype)
        except (CUDARuntimeError, MemoryError):
            # The system lets a process pin only so much; copies from other memory do not overlap, and are right.
            return np.empty(tuple(shape), dtype)

    def upload(self, target: Any, source: Any) -> None:
        _same(target, source)
        with self.use():
            target.data.copy_from_host_async(source.ctypes.data, source.nbytes, self.copies)

    def download(self, target: Any, source: Any) -> None:
        _same(target, source)
        with self.use():
            source.data.copy_to_host_async(target.ctypes.data, source.nbytes, self.copies)

    def await_copies(self) -> None:
        with self.use():
            self.work.wait_event(CudaEvent(self, self.copies).event)

    def hold_copies(self, after: Event) -> None:
        assert isinstance(after, CudaEvent)
        with self.use():
            self.copies.wait_event(after.event)

    def mark(self, copies: bool = False) -> Event:
        with self.use():
            return CudaEvent(self, self.copies if copies else self.work)

    def address(self, array: Any) -> int:
        return int(array.data.ptr)

    def matmul(self, a: Any, b: Any, out: Any, tf32: bool = False) -> None:
        products = self._products or self._made_products()
        if products is None:
            # Without a library of our own CuPy computes, which cannot be captured.
            out[...] = cupy.matmul(a, b) if a.dtype == np.float32 else cupy.matmul(a.astype("f"), b.astype("f"))
            return
        products.matmul(a, b, out, (a.data.ptr, b.data.ptr, out.data.ptr), tf32)

    def _made_products(self) -> Cublas | None:
        if self._no_products:
            return None
        try:
            from cupy_backends.cuda.libs import cublas as _loads  # noqa: F401

            library = load(cupy.cuda.runtime.runtimeGetVersion() // 1000)
        except (ImportError, OSError) as error:
            self._no_products = str(error) or "cuBLAS cannot be found"
            return None
        self._scratch = self.allocate(WORKSPACE_BYTES)
        with self.use():
            products = Cublas(library, self.work.ptr, self._scratch.data.ptr, WORKSPACE_BYTES)
        self._products = products
        weakref.finalize(self, products.close)
        return products

    def function(self, source: str, name: str, options: tuple[str, ...] = ()) -> Function:
        key = (source, name, options)
        if key not in self._functions:
            with self.use():
                module = cupy.RawModule(code=source, options=options)
                try:
                    self._functions[key] = CudaFunction(self, module.get_function(name))
                except cupy.cuda.compiler.CompileException as error:
                    raise KernelError(
                        f"{name} does not compile for {self.info.architecture}: {_complaint(error)}"
                    ) from None
        return self._functions[key]

    def capture(self, run: Task) -> Graph:
        pool = cupy.cuda.MemoryPool()
        with self.use(), cupy.cuda.using_allocator(pool.malloc):
            self.work.begin_capture()
            try:
                run()
            except BaseException as error:
                with contextlib.suppress(Exception):
                    self.work.end_capture()
                raise _refusal(error) from None
            try:
                return CudaGraph(self, self.work.end_capture(), pool)
            except (CUDARuntimeError, CUDADriverError) as error:
                raise _refusal(error) from None

    def synchronize(self) -> None:
        with self.use():
            self.copies.synchronize()
            self.work.synchronize()

    def time(self, run: Task, repeats: int = 1) -> float:
        with self.use():
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            start.record(self.work)
            for _ in range(repeats):
                run()
            end.record(self.work)
            end.synchronize()
            return float(cupy.cuda.get_elapsed_time(start, end))


def _refusal(error: BaseException) -> BaseException:
    """What becomes of an error while launches are captured: of those that mean "not here", one of ours."""
    status = getattr(error, "status", None)
    if isinstance(error, NotImplementedError | CannotCaptureError) or (
        isinstance(error, CUDARuntimeError | CUDADriverError) and status in CAPTURE
    ):
        return CannotCaptureError(_first_line(error))
    if isinstance(error, CublasError) and error.status in (1, 13, 14):
        return CannotCaptureError(str(error))
    return error


def _same(target: Any, source: Any) -> None:
    """Copies between host and device are of arrays without gaps, of one type."""
    if not (target.flags.c_contiguous and source.flags.c_contiguous and target.dtype == source.dtype):
        raise ValueError("copies are of arrays without gaps, of one type")


def _asked(error: Any) -> int:
    """How many bytes an allocation was for."""
    size = getattr(error, "_size", None)
    return int(size) if isinstance(size, int) else 0


def _complaint(error: BaseException) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = str(error).splitlines()
    return next((line.strip() for line in lines if "error" in line.lower()), lines[0] if lines else "no reason given")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def describe(number: int) -> DeviceInfo:
    """Raises CUDARuntimeError where there is no such device."""
    runtime = cupy.cuda.runtime
    found = runtime.getDeviceProperties(number)
    name = found["name"]
    return DeviceInfo(
        number,
        name.decode(errors="replace") if isinstance(name, bytes) else str(name),
        (int(found["major"]), int(found["minor"])),
        int(found["totalGlobalMem"]),
        int(found["multiProcessorCount"]),
        int(found.get("sharedMemPerBlockOptin", STATIC_SHARED_MEMORY)),
        int(found.get("l2CacheSize", 0)),
        _version(runtime.driverGetVersion()),
        _version(runtime.runtimeGetVersion()),
        f"cupy {cupy.__version__}",
    )


def _version(number: int) -> tuple[int, int]:
    """13000 is CUDA 13.0."""
    return number // 1000, number % 1000 // 10


DEVICES: dict[int, CudaDevice] = {}
_LOCK = threading.Lock()


def device(number: int) -> CudaDevice:
    """A device; one object for each, so that everybody's work on it is in one order."""
    with _LOCK:
        if number not in DEVICES:
            DEVICES[number] = CudaDevice(number)
        return DEVICES[number]
