"""Plans of the real cuDNN, asked for an H200 that is described to it: no GPU is needed.

Skipped where `nvidia-cudnn-frontend` and cuDNN are not installed. What is asserted are facts of the library that the
back-end relies on; each was seen with cuDNN 9.28.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from no_driver import driver

import netdsl
from netdsl.analysis.training import default_trainable, training_plan
from netdsl.backends.cupy import cudnn
from netdsl.backends.cupy.cudnn import CudnnError, Operation, Place, Target
from netdsl.backends.cupy.cudnn_conv import KINDS
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.backends.cupy.training import cudnn_steps, kernel_depthwise
from netdsl.program.training.build import lower_training, prepare
from netdsl.program.training.ir import Backward, Forward
from netdsl.weights.store import WeightStore

pytestmark = pytest.mark.peer

H200 = {
    "deviceName": "NVIDIA H200", "deviceVer": 900, "multiProcessorCount": 132, "warpSize": 32, "cudaDeviceId": 0,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048, "maxRegistersPerSM": 65536, "regsPerBlock": 65536, "maxCtasPerSM": 32,
    "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
    "l2CacheSize": 62914560, "totalGlobalMem": 150109880320, "memClockRateKHz": 3201000, "memoryBusWidth": 6144,
    "smClockRateKHz": 1980000, "driverVer": 13000, "isTccDriver": 0, "supportCoopLaunch": 1, "pciDeviceId": 9013,
}  # fmt: skip


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    reason = driver(tmp_path_factory.mktemp("driver")) or cudnn.missing()
    if reason is not None:
        pytest.skip(reason)
    return cudnn.described(json.dumps(H200))


def conv(batch: int, size: int, channels: int, filters: int, kernel: int, stride: int = 1, **more: Any) -> Operation:
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1
    y = Place.dense(batch, out, out, filters)
    half = (kernel // 2, kernel // 2)
    return Operation(
        "forward", Place.dense(batch, size, size, channels), (filters, kernel, kernel, channels), y, before=half,
        after=half, stride=(stride, stride), **({"storage": "bfloat16", "bias": True} | more),
    )  # fmt: skip


@pytest.mark.parametrize("storage", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("residual", [False, True])
def test_resnet(target: Target, storage: str, residual: bool) -> None:
    base = conv(256, 56, 64, 64, 3, storage=storage, activation=("relu",), tf32=True)
    found = cudnn.names(replace(base, residual=base.out if residual else None), target)
    assert len(found) >= 20


def test_plans_that_are_ready_are_built_without_a_device(target: Target) -> None:
    plan = cudnn.build(conv(256, 56, 64, 64, 3, activation=("relu",)), target)
    assert plan.name.startswith("eng") and 0 <= plan.workspace < 1 << 20
    assert len(plan.serialized()) > 1000
    chosen = cudnn.names(plan.operation, target)[3]
    assert cudnn.build(plan.operation, target, chosen).name == chosen


@pytest.mark.parametrize("activation", [(kind, 0.1) if kind == "leaky_relu" else (kind,) for kind in cudnn.ACTIVATIONS])
def test_activations_are_accepted(target: Target, activation: tuple[str | float, ...]) -> None:
    base = conv(256, 112, 16, 96, 1, activation=activation)
    assert cudnn.names(base, target)
    assert cudnn.names(replace(base, residual=base.out), target)


def test_why_a_bias_of_zeros(target: Target) -> None:
    with_bias = conv(256, 56, 64, 64, 3, activation=("relu",))
    assert len(cudnn.names(with_bias, target)) > len(cudnn.names(replace(with_bias, bias=False), target))


def test_full_precision_keeps_to_few_plans(target: Target) -> None:
    operation = conv(64, 28, 64, 64, 3, storage="float32", activation=("relu",))
    ready = cudnn.names(operation, target)
    wide, narrow = (cudnn.build(replace(operation, tf32=tf32), target).name for tf32 in (False, True))
    assert wide in ready and narrow in ready and wide != narrow


def test_slices_windows_and_groups(target: Target) -> None:
    x = Place((8, 28, 28, 64), (28 * 28 * 96, 28 * 96, 96, 1))
    slice_ = replace(conv(8, 28, 64, 64, 3), a=x, out=x)
    uneven = replace(conv(8, 28, 64, 64, 3, 2), before=(0, 0), after=(1, 1))
    grouped = replace(conv(8, 28, 128, 128, 3), filter=(128, 3, 3, 4))
    depthwise = replace(conv(8, 28, 144, 144, 3), filter=(144, 3, 3, 1))
    stem, dense = conv(256, 224, 3, 64, 7, 2, activation=("relu",)), conv(256, 1, 2048, 1000, 1)
    for operation in (slice_, uneven, grouped, depthwise, stem, dense):
        assert cudnn.names(operation, target), operation


@pytest.mark.parametrize("storage", ["bfloat16", "float32"])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients(target: Target, storage: str, stride: int) -> None:
    ahead = conv(64, 56, 64, 128, 3, stride, storage=storage, bias=False)
    data = replace(ahead, way="data", a=ahead.out, out=ahead.a)
    weights = replace(ahead, way="weights", b=ahead.out, out=Place.dense(*ahead.filter))
    for operation in (data, replace(data, residual=data.out), weights):
        assert cudnn.names(operation, target), operation.name


def test_every_convolution_of_training_has_plans(target: Target) -> None:
    """Of MobileNetV2 at batch 256, depthwise convolutions left out: our kernels compute those."""
    network = netdsl.load("mobilenet_v2").network
    store = WeightStore(network)
    store.initialize(0)
    plan = training_plan(network, default_trainable(network, None), None)
    program = lower_training(prepare(plan, store.values), network.input_types(), 256)
    bench: Any = SimpleNamespace(precision=PRECISIONS["bfloat16"])
    asked: set[Operation] = set()
    for step in program.steps:
        ahead = step.forward if isinstance(step, Backward) else step
        if not isinstance(ahead, Forward) or ahead.layer.kind not in KINDS or kernel_depthwise.knows(ahead):
            continue
        base = cudnn_steps.base(ahead, bench)
        asked.add(replace(base, bias="bias" in ahead.weights))
        if isinstance(step, Backward):
            asked.add(replace(base, way="weights", b=base.out, out=Place.dense(*base.filter)))
            if step.dx[0] is not None:
                asked.add(replace(base, way="data", a=base.out, out=base.a))
    assert len(asked) > 60
    assert [operation for operation in asked if len(cudnn.names(operation, target)) < 3] == []


def test_what_is_no_device() -> None:
    if cudnn.missing() is not None:
        pytest.skip(str(cudnn.missing()))
    with pytest.raises(CudnnError, match="no description of a device"):
        cudnn.described("{}")
