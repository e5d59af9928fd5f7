"""The device of CuPy on a CuPy that is played: the order of calls, errors, matrix products; no GPU is needed."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ml_dtypes = pytest.importorskip("ml_dtypes")

from played_cupy import Array, CUDADriverError, CUDARuntimeError, Products, World, install  # noqa: E402
from random_networks import values_of  # noqa: E402

import netdsl  # noqa: E402
from netdsl.backends.cupy import cublas  # noqa: E402
from netdsl.backends.cupy.cublas import Cublas, CublasError, operand  # noqa: E402
from netdsl.backends.cupy.errors import CannotCaptureError, DeviceLostError, DeviceMemoryError  # noqa: E402
from netdsl.backends.cupy.executor import CupyExecutable  # noqa: E402
from netdsl.backends.cupy.fake import FakeDevice  # noqa: E402
from netdsl.backends.cupy.precision import PRECISIONS  # noqa: E402
from netdsl.backends.errors import RunError  # noqa: E402
from netdsl.passes import bind, run  # noqa: E402
from netdsl.program.lower import lower  # noqa: E402

WORK, UP, DOWN = 1000, 1001, 1002


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = World()
    install(monkeypatch, found)
    monkeypatch.setattr(cublas, "load", lambda major: found.products)
    yield found
    for name in ("cuda", "cuda_errors", "cuda_info"):
        sys.modules.pop(f"netdsl.backends.cupy.{name}", None)


@pytest.fixture
def device(world: World) -> Any:
    return importlib.import_module("netdsl.backends.cupy.cuda").CudaDevice(0)


def test_what_a_device_says_of_itself(device: Any) -> None:
    info = device.info
    assert (info.name, info.architecture, info.driver, info.runtime) == ("Played GPU", "sm_90", (13, 0), (13, 0))
    assert info.bfloat16 and info.library == "cupy 14.2.0" and device.free_bytes() == 2**30
    assert str(info) == "Played GPU (sm_90, 1 GiB, CUDA 13.0)"


def test_copies_go_beside_the_work(device: Any, world: World) -> None:
    target = device.allocate(64)
    host = device.pinned((64,), np.uint8)
    host[...] = 3
    world.log.clear()
    device.upload(target, host)
    device.await_copies()
    done = device.mark()
    device.hold_copies(done)
    back = device.pinned((64,), np.uint8)
    device.download(back, target)
    device.mark(copies=True).wait()
    assert world.log == [
        (UP, "up"), (WORK, f"wait {UP}"), (DOWN, f"wait {WORK}"), (DOWN, "down"), (DOWN, f"wait {UP}"),
        (0, f"wait for {DOWN}"),
    ], "what comes does not wait for what leaves"  # fmt: skip
    assert (back == 3).all()
    with pytest.raises(ValueError, match="without gaps"):
        device.upload(target, np.zeros(64, np.float32))


def test_everything_happens_on_one_stream_and_one_pool(device: Any, world: World) -> None:
    with device.use():
        with device.use():
            assert [stream.ptr for stream in world.current] == [WORK] and len(world.pools) == 1
        assert world.device == 0
    assert not world.current and not world.pools and world.device is None


def test_work_follows_what_the_caller_has_queued(device: Any, world: World) -> None:
    world.log.clear()
    device.follow()
    assert world.log == [(WORK, "wait 0")], "the stream that is current outside"
    with device.use():
        device.follow()
    assert len(world.log) == 1, "its own work it does not wait for"


def test_errors_leave_nothing_set(device: Any, world: World) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), device.use():
            raise ZeroDivisionError
        assert not world.current and not world.pools and world.device is None


def test_one_thread_at_a_time(device: Any) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(50):
            with device.use():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(most) == 200 and max(most) == 1


def test_a_forked_process_is_told(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(RunError, match="forked") as caught, device.use():
        pass
    assert caught.value.code == "E0716"


@pytest.mark.parametrize("status", [700, 719, 46, 999])
def test_a_device_that_stops(device: Any, world: World, status: int) -> None:
    world.status = status
    with pytest.raises(DeviceLostError, match=f"Played GPU .* stopped: cudaError{status}: something happened"):
        device.synchronize()
    with pytest.raises(DeviceLostError):
        device.allocate(8)


def test_memory_that_runs_out(device: Any, world: World) -> None:
    world.used = world.memory - 100
    with pytest.raises(DeviceMemoryError) as caught:
        device.allocate(1000)
    assert (caught.value.wanted, caught.value.free, caught.value.total) == (1000, 100, world.memory)
    assert (0, "free") in world.log, "what others hold and do not use was asked for"
    world.status = 2
    with pytest.raises(DeviceMemoryError):
        device.synchronize()


@pytest.mark.parametrize(
    "error",
    [
        ImportError('Failure finding "libcublasLt.so.13": No such file'),
        RuntimeError("CuPy failed to load libnvrtc.so.13: OSError: libnvrtc.so.13: cannot open shared object file"),
    ],
    ids=["cuBLAS", "NVRTC"],
)
def test_a_library_of_cuda_that_is_missing(device: Any, error: Exception) -> None:
    with pytest.raises(RunError, match="a library of CUDA cannot be loaded") as caught, device.use():
        raise error
    assert caught.value.code == "E0716" and "netdsl[cuda13]" in str(caught.value.help)
    with pytest.raises(RuntimeError, match="a defect"), device.use():
        raise RuntimeError("a defect")


def test_errors_are_ours_inside_too(device: Any, world: World) -> None:
    """Who catches them does so while a larger piece of work goes on."""
    with device.use():
        world.used = world.memory
        for ask in (lambda: device.allocate(8), lambda: device.capture(lambda: world.zeros(8, np.uint8))):
            with pytest.raises(DeviceMemoryError):
                ask()
        world.status = 700
        with pytest.raises(DeviceLostError):
            device.allocate(8)
        world.status = 0


def test_other_errors_stay_what_they_are(device: Any, world: World) -> None:
    world.status = 1
    with pytest.raises(CUDARuntimeError):
        device.synchronize()


def test_a_graph_is_not_run_while_it_is_captured(device: Any, world: World) -> None:
    function = device.function("extern ...", "kernel", ("-DN=4",))
    graph = device.capture(lambda: function((2,), (32,), ()))
    world.log.clear()
    graph.launch()
    assert world.log == [(WORK, "graph")]
    assert device.function("extern ...", "kernel", ("-DN=4",)) is function, "compiled once"


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("calling cuBLAS API"),
        CUDARuntimeError(900),
        CUDADriverError(906),
        CUDADriverError(1),
        CublasError(13, "2 x 2 x 2"),
        RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"),
    ],
    ids=lambda error: str(error).splitlines()[0],
)
def test_what_cannot_be_captured(device: Any, world: World, error: Exception) -> None:
    def run() -> None:
        raise error

    with pytest.raises(CannotCaptureError):
        device.capture(run)
    assert world.streams[0].captured is None, "the capture is over"
    device.capture(lambda: None).launch()


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (CUDARuntimeError(700), DeviceLostError),
        (CUDARuntimeError(2), DeviceMemoryError),
        (CublasError(3, "a handle"), DeviceMemoryError),
    ],
)
def test_what_is_no_matter_of_capturing(device: Any, world: World, error: Exception, ours: type[Exception]) -> None:
    def run() -> None:
        raise error

    with pytest.raises(ours):
        device.capture(run)
    assert world.streams[0].captured is None


def test_a_capture_that_was_made_void(device: Any, world: World) -> None:
    def run() -> None:
        world.invalid = True

    with pytest.raises(CannotCaptureError, match="cudaError901"):
        device.capture(run)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a defect")])
def test_other_errors_end_a_capture_too(device: Any, world: World, error: BaseException) -> None:
    def run() -> None:
        raise error

    with pytest.raises(type(error)):
        device.capture(run)
    assert world.streams[0].captured is None and not world.current


def test_memory_of_a_graph_is_its_own(device: Any, world: World) -> None:
    pools: list[Any] = []
    device.capture(lambda: pools.extend(world.pools))
    assert len(pools) == 2 and pools[0] != pools[1]


def test_a_kernel_that_does_not_compile(device: Any) -> None:
    with pytest.raises(ValueError, match=r"kernel does not compile for sm_90: k.cu\(3\): error: expected a") as caught:
        device.function("#error", "kernel")
    assert "\n" not in str(caught.value)


def test_large_shared_memory_is_asked_for(device: Any, world: World) -> None:
    with device.use():
        device.function("...", "kernel")((1,), (32,), (), shared_mem=100_000)
    assert world.log[-1] == (WORK, "kernel (1,) (32,)")


def test_time_is_between_two_marks(device: Any) -> None:
    function = device.function("...", "kernel")
    assert device.time(lambda: function((1,), (32,), ()), repeats=5) == 5


# ---------------------------------------------------------------------------------------------------------- products


def matrix(world: World, rng: Any, shape: tuple[int, ...], dtype: Any, layout: str) -> Array:
    """Numbers in (..., rows, columns): plain, with gaps between rows, or the transposed view of such."""
    if layout == "transposed":
        return matrix(world, rng, (*shape[:-2], shape[-1], shape[-2]), dtype, "gaps").swapaxes(-1, -2)
    wide = (*shape[:-1], shape[-1] + (3 if layout == "gaps" else 0))
    return world.array(rng.normal(size=wide).astype(np.float32).astype(dtype))[..., : shape[-1]]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 6), st.integers(1, 4), st.sampled_from([None, 1, 3]),
    st.sampled_from(["plain", "gaps", "transposed"]), st.sampled_from(["plain", "gaps", "transposed"]),
    st.sampled_from(["plain", "gaps"]), st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16]), st.booleans(),
)  # fmt: skip
def test_products(
    m: int, k: int, n: int, batch: int | None, left: str, right: str, into: str, dtype: Any, wide: bool
) -> None:
    """A library that counts columns first gives a @ b, whatever the layout."""
    world, rng = World(), np.random.default_rng(m + 10 * k + 100 * n)
    world.streams.append(_Now())  # type: ignore[arg-type]
    products = Cublas(world.products, 5, 4096, 2**22)
    lead = () if batch is None else (batch,)
    a, b = matrix(world, rng, (*lead, m, k), dtype, left), matrix(world, rng, (*lead, k, n), dtype, right)
    out = matrix(world, rng, (*lead, m, n), np.float32 if wide else dtype, into)
    products.matmul(a, b, out, (a.ctypes.data, b.ctypes.data, out.ctypes.data), False)
    expected = np.matmul(a.view(np.ndarray).astype(np.float32), b.view(np.ndarray).astype(np.float32))
    np.testing.assert_array_equal(out.view(np.ndarray), expected.astype(out.dtype).reshape(out.shape))


class _Now:
    def queue(self, name: str, work: Any) -> None:
        work()


def test_one_matrix_for_a_whole_batch() -> None:
    """A row of ones for every image: no step from one to the next."""
    world = World()
    world.streams.append(_Now())  # type: ignore[arg-type]
    products = Cublas(world.products, 5, 4096, 2**22)
    x = world.array(np.arange(24, dtype=np.float32).reshape(3, 4, 2))
    row = world.array(np.ones((1, 1, 4), np.float32))
    ones = np.lib.stride_tricks.as_strided(row, (3, 1, 4), (0, 16, 4), subok=True)
    out = world.array(np.zeros((3, 1, 2), np.float32))
    products.matmul(ones, x, out, (row.ctypes.data, x.ctypes.data, out.ctypes.data), False)
    np.testing.assert_array_equal(out[:, 0], x.sum(axis=1))


def test_tf32_only_where_it_is_wanted() -> None:
    world = World()
    world.streams.append(_Now())  # type: ignore[arg-type]
    products = Cublas(world.products, 5, 4096, 2**22)
    for dtype, tf32 in ((np.float32, False), (np.float32, True), (np.float16, True)):
        x = world.array(np.ones((2, 2), dtype))
        out = world.array(np.ones((2, 2), np.float32))
        products.matmul(x, x, out, (x.ctypes.data, x.ctypes.data, out.ctypes.data), tf32)
    assert world.products.tf32 == [False, True, False]


def test_an_operand_without_a_unit_stride_is_refused() -> None:
    assert operand((4, 3), (12, 4), 4) == (False, 3, 0)
    assert operand((3, 4), (4, 12), 4) == (True, 3, 0)
    assert operand((5, 4, 3), (48, 12, 4), 4) == (False, 3, 12)
    with pytest.raises(ValueError, match="gaps along both axes"):
        operand((4, 3), (24, 8), 4)


def test_the_library_of_the_device(device: Any, world: World) -> None:
    a = world.array(np.arange(6, dtype=np.float32).reshape(2, 3))
    out = world.array(np.zeros((2, 2), np.float32))
    with device.use():
        device.matmul(a, a.T, out)
    np.testing.assert_array_equal(out, a @ a.T)
    assert world.products.calls[:2] == ["stream", "workspace"]
    out[...] = 0
    graph = device.capture(lambda: device.matmul(a, a.T, out))
    assert not out.any()
    graph.launch()
    np.testing.assert_array_equal(out, a @ a.T)


def test_without_the_library_cupy_computes(monkeypatch: pytest.MonkeyPatch, device: Any, world: World) -> None:
    def missing(major: int) -> Products:
        raise OSError(f"libcublas.so.{major}: cannot open shared object file")

    module = importlib.import_module("netdsl.backends.cupy.cuda")
    monkeypatch.setattr(module, "load", missing)
    a = world.array(np.arange(4, dtype=np.float32).reshape(2, 2))
    out = world.array(np.zeros((2, 2), np.float32))
    with device.use():
        device.matmul(a, a, out)
    np.testing.assert_array_equal(out, a @ a)


@pytest.mark.parametrize(("status", "error"), [(3, DeviceMemoryError), (13, DeviceLostError), (7, CublasError)])
def test_the_library_says_no(device: Any, world: World, status: int, error: type[Exception]) -> None:
    a = world.array(np.ones((2, 2), np.float32))
    with device.use():
        device.matmul(a, a, a.copy())
    world.products.answer = status
    with pytest.raises(error), device.use():
        device.matmul(a, a, a.copy())


@pytest.mark.parametrize("name", ["float32", "tf32", "float16", "bfloat16"])
def test_a_network_runs_on_it(device: Any, world: World, name: str) -> None:
    """The whole way through the real device's code, numbers computed by NumPy and the library that is played. NumPy
    computes at once, so that nothing can be captured here; `test_cupy_executor.py` has graphs."""
    network = netdsl.loads(
        "network n() {\n  input x: 3x12x12\n  conv(8, 3x3, padding = 1) -> batch_norm -> relu\n  depthwise_conv(3x3) -> silu\n"
        "  max_pool(2)\n  conv(6, 1x1, groups = 2)\n  global_avg_pool -> flatten -> dense(4)\n}"
    ).network
    world.compiles = False
    values = values_of(network)
    program = lower(run(bind(network, values)), network.input_types(), 3)
    x = np.random.default_rng(0).normal(size=(3, 3, 12, 12)).astype(np.float32)
    precision = PRECISIONS[name]
    found = CupyExecutable(program, device, precision, {}, candidates=[], graphs=False)
    played = CupyExecutable(program, FakeDevice(), precision, {}, candidates=[])
    expected = played({"x": x})
    for _ in range(2):
        (array,), (want,) = found({"x": x}).values(), expected.values()
        np.testing.assert_allclose(array, want, rtol=0, atol=4 * precision.epsilon * np.abs(want).max())
    there = found.on_device({"x": world.array(x)})
    np.testing.assert_allclose(
        next(iter(there.values())).get(), want, rtol=0, atol=4 * precision.epsilon * np.abs(want).max()
    )
    assert found.notes == () and {entry for _, entry in world.log} >= {"up", "gemm", "down"}
    assert name != "tf32" or True in world.products.tf32
