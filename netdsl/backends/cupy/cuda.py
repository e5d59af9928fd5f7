"""A GPU through CuPy: with `cuda_errors.py` and `cuda_info.py` the only module that imports it."""

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

from netdsl.backends.cupy.cublas import WORKSPACE_BYTES, Cublas, CublasError, load
from netdsl.backends.cupy.cuda_errors import (
    CUDA_ERRORS,
    LOST,
    NO_MEMORY,
    OUT_OF_MEMORY,
    asked,
    complaint,
    first_line,
    library_is_missing,
    refusal,
)
from netdsl.backends.cupy.cuda_info import STATIC_SHARED_MEMORY, describe
from netdsl.backends.cupy.device import Event, Function, Graph, Task
from netdsl.backends.cupy.errors import DeviceLostError, DeviceMemoryError, KernelError
from netdsl.backends.errors import RunError


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
    """One device, one stream of work, one of copies each way, one pool of memory."""

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
            self.up = cupy.cuda.Stream(non_blocking=True)
            self.down = cupy.cuda.Stream(non_blocking=True)
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
        except OUT_OF_MEMORY as error:
            raise self._no_memory(asked(error)) from None
        except CUDA_ERRORS as error:
            status = int(getattr(error, "status", 0) or 0)
            if status in NO_MEMORY:
                raise self._no_memory(0) from None
            if status in LOST:
                raise DeviceLostError(str(self.info), first_line(error)) from None
            raise
        except CublasError as error:
            if error.status == 3:
                raise self._no_memory(WORKSPACE_BYTES) from None
            if error.status in (11, 13, 14):
                raise DeviceLostError(str(self.info), str(error)) from None
            raise
        except (ImportError, RuntimeError) as error:
            if not library_is_missing(error):
                raise
            raise RunError(
                "E0716", f"a library of CUDA cannot be loaded: {first_line(error)}",
                "pip install 'netdsl[cuda13]' (or cuda12) brings them along",
            ) from None  # fmt: skip

    def _no_memory(self, wanted: int) -> DeviceMemoryError:
        free = None
        with contextlib.suppress(Exception):
            free = self.free_bytes()
        return DeviceMemoryError(wanted, free, self.info.memory)

    def follow(self) -> None:
        # Our stream does not wait for the default one by itself, and by DLPack CuPy would make it wait for itself.
        with self.translated(), self._device:
            current = cupy.cuda.get_current_stream()
            if current == self.work:
                return
            queued = CudaEvent(self, current)
        with self.use():
            self.work.wait_event(queued.event)

    def allocate(self, size: int) -> Any:
        with self.use():
            try:
                return cupy.zeros(size, np.uint8)
            except OUT_OF_MEMORY:
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
        except (*CUDA_ERRORS, MemoryError):
            # The system lets a process pin only so much; copies from other memory do not overlap, and are right.
            return np.empty(tuple(shape), dtype)

    def upload(self, target: Any, source: Any) -> None:
        _same(target, source)
        with self.use():
            target.data.copy_from_host_async(source.ctypes.data, source.nbytes, self.up)

    def download(self, target: Any, source: Any) -> None:
        _same(target, source)
        with self.use():
            source.data.copy_to_host_async(target.ctypes.data, source.nbytes, self.down)

    def await_copies(self) -> None:
        with self.use():
            self.work.wait_event(CudaEvent(self, self.up).event)

    def hold_copies(self, after: Event) -> None:
        assert isinstance(after, CudaEvent)
        with self.use():
            self.down.wait_event(after.event)

    def mark(self, copies: bool = False) -> Event:
        with self.use():
            if not copies:
                return CudaEvent(self, self.work)
            self.down.wait_event(CudaEvent(self, self.up).event)
            return CudaEvent(self, self.down)

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
        # Without it CuPy has no products either: that is an error.
        from cupy_backends.cuda.libs import cublas as _loads  # noqa: F401

        try:
            library = load(cupy.cuda.runtime.runtimeGetVersion() // 1000)
        except OSError as error:
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
                        f"{name} does not compile for {self.info.architecture}: {complaint(error)}"
                    ) from None
        return self._functions[key]

    def capture(self, run: Task) -> Graph:
        pool = cupy.cuda.MemoryPool()
        # What launches made on their way, one by one, they will make again in memory of the graph.
        self._pool.free_all_blocks()
        with self.use(), cupy.cuda.using_allocator(pool.malloc):
            self.work.begin_capture()
            try:
                run()
            except BaseException as error:
                with contextlib.suppress(Exception):
                    self.work.end_capture()
                raise refusal(error) from None
            try:
                return CudaGraph(self, self.work.end_capture(), pool)
            except RuntimeError as error:
                raise refusal(error) from None

    def synchronize(self) -> None:
        with self.use():
            for stream in (self.up, self.work, self.down):
                stream.synchronize()

    def time(self, run: Task, repeats: int = 1) -> float:
        with self.use():
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            start.record(self.work)
            for _ in range(repeats):
                run()
            end.record(self.work)
            end.synchronize()
            return float(cupy.cuda.get_elapsed_time(start, end))


def _same(target: Any, source: Any) -> None:
    """Copies between host and device are of arrays without gaps, of one type."""
    if not (target.flags.c_contiguous and source.flags.c_contiguous and target.dtype == source.dtype):
        raise ValueError("copies are of arrays without gaps, of one type")


DEVICES: dict[int, CudaDevice] = {}
_LOCK = threading.Lock()


def device(number: int) -> CudaDevice:
    """A device; one object for each, so that everybody's work on it is in one order."""
    with _LOCK:
        if number not in DEVICES:
            DEVICES[number] = CudaDevice(number)
        return DEVICES[number]
