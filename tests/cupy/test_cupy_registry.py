"""Which back-end computes: with and without a GPU, CuPy, a driver."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import netdsl
from netdsl.backends import registry
from netdsl.backends.cupy import backend as cupy_backend
from netdsl.backends.cupy import presence
from netdsl.backends.cupy.backend import CupyBackend
from netdsl.backends.cupy.fake import HOPPER, FakeDevice
from netdsl.backends.cupy.model import DeviceModel
from netdsl.backends.errors import RunError
from netdsl.cli.run_command import command as run_command

TEXT = "network n() {\n  input x: 3x8x8\n  conv(4, 3x3) -> relu\n}"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Nothing that was found out about this machine is remembered."""
    for each in (cupy_backend._missing, registry._warn, presence.present, cupy_backend.report):
        each.cache_clear()
    yield
    for each in (cupy_backend._missing, registry._warn, presence.present, cupy_backend.report):
        each.cache_clear()


class CudaError(RuntimeError):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def play(
    monkeypatch: pytest.MonkeyPatch,
    version: str = "14.2.0",
    count: Any = 1,
    capability: tuple[int, int] = (9, 0),
    driver: int = 13000,
) -> None:
    """A module `cupy` that says such things."""

    def answer() -> int:
        if isinstance(count, Exception):
            raise count
        return int(count)

    runtime = SimpleNamespace(
        getDeviceCount=answer, runtimeGetVersion=lambda: 13000, driverGetVersion=lambda: driver,
        getDeviceProperties=lambda number: {"major": capability[0], "minor": capability[1]},
    )  # fmt: skip
    module: Any = ModuleType("cupy")
    module.__version__, module.cuda = version, SimpleNamespace(runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", module)


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy is not installed."""
    monkeypatch.setitem(sys.modules, "cupy", None)


INSUFFICIENT = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"


@pytest.mark.parametrize(
    ("played", "reason"),
    [
        (None, "CuPy is not installed"),
        ({"version": "13.6.0"}, "CuPy 13.6.0 is too old, 14 or later"),
        ({"count": 0}, "there is no NVIDIA GPU"),
        ({"count": CudaError(100, "cudaErrorNoDevice: no CUDA-capable device is detected")}, "there is no NVIDIA GPU"),
        ({"count": CudaError(35, INSUFFICIENT)}, "the driver is too old for CUDA 13.0"),
        ({"count": CudaError(35, INSUFFICIENT), "driver": 0}, "there is no NVIDIA driver"),
        ({"count": CudaError(34, "cudaErrorStubLibrary")}, "stub"),
        ({"count": CudaError(999, "cudaErrorUnknown: unknown error")}, "CUDA does not start: cudaErrorUnknown"),
        ({"capability": (6, 1)}, "compute capability 6.1, 7.0 or later"),
    ],
    ids=["no CuPy", "old CuPy", "no GPU", "no device", "old driver", "no driver", "stub", "unknown", "Pascal"],
)  # fmt: skip
def test_why_it_cannot_run_is_one_line(
    monkeypatch: pytest.MonkeyPatch, played: dict[str, Any] | None, reason: str
) -> None:
    if played is None:
        without(monkeypatch)
    else:
        play(monkeypatch, **played)
    missing = cupy_backend.BACKEND.missing()
    assert missing is not None and reason in missing and "\n" not in missing
    with pytest.raises(RunError) as caught:
        netdsl.loads(TEXT).compile(backend="cupy")
    assert caught.value.code == "E0716" and reason in caught.value.message


def test_with_a_gpu_there_is_nothing_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, count=2)
    assert cupy_backend.BACKEND.missing() is None
    with pytest.raises(RunError, match="there is no device 2: there are 2, counted from 0"):
        cupy_backend.BACKEND.configured(device=2)


def test_auto_says_nothing_where_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(presence, "PATHS", ())
    without(monkeypatch)
    with caplog.at_level(logging.WARNING, "netdsl"):
        assert registry.fastest().name in ("native", "numpy")
    assert not [record for record in caplog.records if "cupy" in record.getMessage()]


def test_auto_says_once_why_a_gpu_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    (tmp_path / "nvidiactl").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(presence, "PATHS", (str(tmp_path / "nvidiactl"),))
    without(monkeypatch)
    with caplog.at_level(logging.WARNING, "netdsl"):
        for _ in range(3):
            assert registry.fastest().name == "native"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "CuPy is not installed: pip install 'netdsl[cuda13]'" in line and "native computes" in line


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_devices_that_are_hidden_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, hidden: str) -> None:
    monkeypatch.setattr(presence, "PATHS", (str(tmp_path),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert presence.present()
    presence.present.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not presence.present()


def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "present", lambda: True)
    monkeypatch.setattr(cupy_backend, "BACKEND", CupyBackend(played=FakeDevice(), candidates=()))
    net = netdsl.loads(TEXT)
    model = net.compile(precision="float16")
    assert isinstance(model, DeviceModel) and model.precision.name == "float16"
    model.initialize(0)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    cpu = net.compile(backend="reference")
    cpu.load(dict(model.weights))
    np.testing.assert_allclose(model(x), cpu(x), atol=4e-3)
    assert not isinstance(net.compile("float64"), DeviceModel)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "bfloat16"}, "computes in float32, not in bfloat16"),
        ({"device": 0}, "runs on the CPU: there is no device 0"),
        ({"autotune": "quick"}, "runs on the CPU"),
    ],
)
@pytest.mark.parametrize("backend", ["numpy", "native", "reference"])
def test_what_only_devices_have(backend: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError) as caught:
        netdsl.loads(TEXT).compile(backend=backend, **settings)
    assert caught.value.code == "E0716" and message in caught.value.message


def test_float32_may_be_said_on_the_cpu() -> None:
    netdsl.loads(TEXT).compile(backend="numpy", precision="float32", autotune="off")


def test_settings_are_checked() -> None:
    volta = FakeDevice(HOPPER.__class__(**{**HOPPER.__dict__, "capability": (7, 0), "name": "V100"}))
    with pytest.raises(RunError, match=r"V100 \(sm_70\) does not compute in bfloat16"):
        CupyBackend(played=volta).configured("bfloat16")
    assert CupyBackend(played=volta).configured("float16").precision.name == "float16"
    with pytest.raises(RunError, match="there is no precision `float8`"):
        CupyBackend(played=FakeDevice()).configured("float8")
    with pytest.raises(RunError, match="autotune is fast"):
        CupyBackend(played=FakeDevice()).configured(autotune="fast")


def test_without_cudnn_a_line_says_so_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from netdsl.backends.cupy import cudnn

    monkeypatch.setattr(cudnn, "missing", lambda: "two libcudnn would be in one process: /a and /b")
    for candidates in (("cudnn conv",), ("cudnn conv",), ()):
        made = CupyBackend(played=FakeDevice(), candidates=candidates)
        made._say_what_is_missing()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "two libcudnn" in line and "cuBLAS, which is slower" in line and "\n" not in line


def test_bfloat16_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(RunError, match="bfloat16 needs the package ml_dtypes"):
        CupyBackend(played=FakeDevice()).configured("bfloat16")


def test_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    without(monkeypatch)
    spec = tmp_path / "n.net"
    spec.write_text(TEXT)
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.float32))
    arguments = [str(spec), "-i", str(tmp_path / "x.npy"), "--random-weights", "1", "--backend", "cupy"]
    result = CliRunner().invoke(run_command, arguments)
    assert isinstance(result.exception, RunError) and "pip install" in str(result.exception)


def test_the_command_runs_in_halves_on_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(cupy_backend, "BACKEND", CupyBackend(played=FakeDevice(), candidates=()))
    spec = tmp_path / "n.net"
    spec.write_text(TEXT)
    np.save(tmp_path / "x.npy", np.ones((3, 8, 8), np.float32))
    common = [str(spec), "-i", str(tmp_path / "x.npy"), "--random-weights", "1", "-o", str(tmp_path / "y.npy")]
    found = []
    for more in (["--backend", "numpy"], ["--backend", "cupy", "--precision", "bfloat16", "--device", "0"]):
        result = CliRunner().invoke(run_command, [*common, *more], catch_exceptions=False)
        assert result.exit_code == 0
        found.append(np.load(tmp_path / "y.npy"))
    assert 0 < np.abs(found[0] - found[1]).max() < 0.02
