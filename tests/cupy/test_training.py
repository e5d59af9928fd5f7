"""Training Programs on a played device, against the reference engine in float64 and against training on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_cudnn import PlayedCudnn
from training_networks import (
    EFFICIENT,
    NETWORKS,
    RESNET,
    SMALL,
    batch_of,
    engine_of,
    exact_of,
    load,
    runs,
    steps,
    store_of,
)

from netdsl.analysis.training import default_trainable
from netdsl.backends.cupy import cudnn, cudnn_conv
from netdsl.backends.cupy.backend import CupyBackend
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.backends.errors import RunError
from netdsl.train import recipe_parts as parts
from netdsl.train.device import DeviceEngine
from netdsl.train.errors import TrainError
from netdsl.train.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from netdsl.train.phases import PhaseRun


@pytest.fixture(params=["plain", "cudnn"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDevice:
    """A device without cuDNN, and one with."""
    found = FakeDevice()
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cudnn_conv, "_HANDLES", {})
    if request.param == "cudnn":
        played = PlayedCudnn(found)
        monkeypatch.setattr(cudnn, "load", lambda: played)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients(name: str, device: FakeDevice) -> None:
    network = load(NETWORKS[name])
    found, exact = engine_of(network, device), exact_of(network)
    for number in range(3):
        inputs, labels = batch_of(network, 4, number)
        wanted, made = exact.step(inputs, labels, 1, number), found.step(inputs, labels, 1, number)
        assert made.loss == pytest.approx(wanted.loss, rel=1e-5)
        for output, array in wanted.outputs.items():
            np.testing.assert_allclose(made.outputs[output], array, atol=1e-4 * float(np.abs(array).max()))
        for weight, array in exact.gradients.views.items():
            scale = max(1e-3, float(np.abs(array).max()))
            np.testing.assert_allclose(found.gradients[weight], array, atol=2e-4 * scale, err_msg=weight)
        for weight, array in exact.buffers.items():
            np.testing.assert_allclose(found.buffers[weight], array, atol=1e-4 * max(1, float(np.abs(array).max())))


OPTIMIZERS = {
    "sgd": parts.Sgd(),
    "momentum": parts.Sgd(momentum=0.9, weight_decay=1e-3, decay="weights"),
    "nesterov": parts.Sgd(momentum=0.9, nesterov=True, weight_decay=1e-3),
    "rmsprop": parts.RmsProp(weight_decay=1e-4),
    "rmsprop pytorch": parts.RmsProp(style="pytorch", centered=True, momentum=0.5),
    "adam": parts.Adam(weight_decay=1e-3),
    "adamw": parts.AdamW(weight_decay=0.1, decay="weights"),
}


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "efficientnet"])
def test_training_follows_the_cpu(name: str, device: FakeDevice) -> None:
    there, here = runs(NETWORKS[name], device, OPTIMIZERS["momentum"])
    np.testing.assert_allclose(steps(there, 8), steps(here, 8), rtol=2e-3)
    there.settle()
    for weight, array in here.engine.parameters.views.items():
        scale = max(1e-2, float(np.abs(array).max()))
        np.testing.assert_allclose(there.engine.parameters[weight], array, atol=5e-3 * scale, err_msg=weight)
    for weight, array in here.engine.buffers.items():
        scale = max(1e-2, float(np.abs(array).max()))
        np.testing.assert_allclose(there.engine.buffers[weight], array, atol=5e-3 * scale, err_msg=weight)


@pytest.fixture
def plain_device() -> FakeDevice:
    return FakeDevice()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "clip", [None, parts.ClipNorm(most=0.5), parts.ClipValue(most=0.01)], ids=["", "norm", "value"]
)
def test_optimisers(optimizer: str, clip: Any, plain_device: FakeDevice) -> None:
    there, here = runs(SMALL, plain_device, OPTIMIZERS[optimizer], lr=0.01, clip=clip, ema=0.9)
    np.testing.assert_allclose(steps(there, 5), steps(here, 5), rtol=1e-4)
    mine, wanted = there.arrays(), here.arrays()
    assert mine.keys() == wanted.keys() and there.updater.steps == here.updater.steps == 5
    for key, array in wanted.items():
        np.testing.assert_allclose(mine[key], array, rtol=2e-3, atol=1e-5, err_msg=key)


def test_gradient_norm_and_outputs_are_those_of_the_cpu(plain_device: FakeDevice) -> None:
    there, here = runs(SMALL, plain_device, OPTIMIZERS["sgd"])
    inputs, labels = batch_of(load(SMALL), 4, 0)
    mine, wanted = there.step(inputs, labels, 1, 0, 0.1), here.step(inputs, labels, 1, 0, 0.1)
    assert mine.gradient_norm == pytest.approx(wanted.gradient_norm, rel=1e-4)
    for name, array in wanted.outputs.items():
        np.testing.assert_allclose(mine.outputs[name], array, atol=1e-5)


LOSSES: dict[str, tuple[Loss, Any]] = {
    "labels": (CrossEntropy(), None),
    "smooth": (CrossEntropy(label_smoothing=0.1, class_weights=(1.0, 2.0, 0.5, 0.0, 3.0)), None),
    "soft": (CrossEntropy(), lambda labels: np.eye(5, dtype=np.float32)[labels] * 0.7 + 0.06),
    "squares": (MeanSquaredError(), lambda labels: np.eye(5, dtype=np.float32)[labels]),
    "binary": (BinaryCrossEntropy(positive_weight=2.0), None),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, plain_device: FakeDevice) -> None:
    loss, targets = LOSSES[name]
    there, here = runs(SMALL, plain_device, OPTIMIZERS["sgd"], loss=loss)
    np.testing.assert_allclose(steps(there, 3, targets=targets), steps(here, 3, targets=targets), rtol=1e-4)


def test_targets_that_do_not_fit(plain_device: FakeDevice) -> None:
    there, _ = runs(SMALL, plain_device, OPTIMIZERS["sgd"])
    inputs, _ = batch_of(load(SMALL), 4, 0)
    with pytest.raises(TrainError, match="label 7 of image 2"):
        there.step(inputs, np.array([0, 1, 7, 2]), 1, 0, 0.1)


def test_steps_are_captured(device: FakeDevice) -> None:
    there, _ = runs(RESNET, device, OPTIMIZERS["momentum"])
    steps(there, 3)
    graphs, launches = device.graphs, len(device.launches)
    steps(there, 1)
    assert device.graphs == graphs + 3  # forward, backward, update
    # What is left is the loss, its target and the norm of the gradients.
    assert len(device.launches) - launches < 30


def test_the_same_bits_again() -> None:
    found = []
    for _ in range(2):
        there, _ = runs(EFFICIENT, FakeDevice(), OPTIMIZERS["adam"])
        steps(there, 4)
        there.settle()
        found.append(there.engine.parameters.flat.copy())
    np.testing.assert_array_equal(found[0], found[1])


def test_batches_of_other_sizes(device: FakeDevice) -> None:
    there, here = runs(SMALL, device, OPTIMIZERS["momentum"])
    for batch in (4, 3, 4, 2, 4, 5):
        np.testing.assert_allclose(steps(there, 1, batch), steps(here, 1, batch), rtol=1e-4)


def test_frozen_parts(device: FakeDevice) -> None:
    names = [name for name in default_trainable(load(RESNET), None) if name.startswith("7")]
    names = names or sorted(default_trainable(load(RESNET), None))[-2:]
    there, here = runs(RESNET, device, OPTIMIZERS["momentum"], names=names)
    np.testing.assert_allclose(steps(there, 4), steps(here, 4), rtol=1e-3)


def test_evaluation_sees_what_training_made(device: FakeDevice) -> None:
    there, here = runs(SMALL, device, OPTIMIZERS["momentum"], ema=0.5)
    inputs, _ = batch_of(load(SMALL), 4, 9)
    for _ in range(2):
        steps(there, 2), steps(here, 2)
        for run in (there, here):
            run.engine.evaluate(inputs)
        with there.evaluated(), here.evaluated():
            mine, wanted = there.engine.evaluate(inputs), here.engine.evaluate(inputs)
        for name, array in wanted.items():
            np.testing.assert_allclose(mine[name], array, atol=1e-4 * float(np.abs(array).max()))


def test_a_checkpoint_goes_on_with_the_same_bits() -> None:
    first, _ = runs(SMALL, FakeDevice(), OPTIMIZERS["adam"], ema=0.9)
    steps(first, 3)
    first.settle()
    kept = {name: array.copy() for name, array in first.arrays().items()}
    weights = {name: array.copy() for name, array in first.engine.store.values.items()}  # type: ignore[attr-defined]
    second, _ = runs(SMALL, FakeDevice(), OPTIMIZERS["adam"], ema=0.9)
    store = second.engine.store  # type: ignore[attr-defined]
    for name, array in weights.items():
        store.values[name][...] = array
    second = PhaseRun(second.phase, second.engine, 10)
    second.restore(kept, first.updater.steps, first.average.steps if first.average else 0)
    for run in (first, second):
        steps(run, 2)
        run.settle()
    np.testing.assert_array_equal(first.engine.parameters.flat, second.engine.parameters.flat)
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, second.arrays()[name])


def test_not_enough_memory() -> None:
    network = load(RESNET)
    engine = engine_of(network, FakeDevice(limit=400_000))
    inputs, labels = batch_of(network, 64, 0)
    with pytest.raises(RunError, match="not enough memory"):
        engine.step(inputs, labels, 0, 0)


def test_a_lost_device(plain_device: FakeDevice) -> None:
    there, _ = runs(SMALL, plain_device, OPTIMIZERS["sgd"])
    steps(there, 2)
    plain_device.lose()
    with pytest.raises(RunError, match="stopped"):
        steps(there, 1)


class Slow(FakeDevice):
    """`plain_3` is the fastest of the plans that are played."""

    def time(self, run: Any, repeats: int = 1) -> float:
        before = len(self.launches)
        run()
        plan = next((name for name in self.launches[before:] if name.startswith("cudnn")), "")
        return {"cudnn fast_1": 3.0, "cudnn plain_3": 1.0}.get(plan, 2.0) * repeats


@pytest.mark.parametrize("mode", ["off", "quick"])
def test_plans_are_timed(mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Slow()
    played = PlayedCudnn(found)
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cudnn_conv, "_HANDLES", {})
    monkeypatch.setattr(cudnn, "load", lambda: played)
    network = load(SMALL)
    for times in ("measured", "kept"):
        backend = CupyBackend(precision=PRECISIONS["float16"], played=found, autotune=mode)
        engine = DeviceEngine(
            network, store_of(network), default_trainable(network, None), CrossEntropy(), engine=backend
        )
        found.launches.clear()
        inputs, labels = batch_of(network, 4, 0)
        engine.step(inputs, labels, 0, 0)
        ran = {name for name in found.launches if name.startswith("cudnn")}
        if times == "kept" or mode == "off":
            assert ran == {"cudnn fast_1" if mode == "off" else "cudnn plain_3"}


def test_memory_is_given_back(plain_device: FakeDevice) -> None:
    """Programs of other batch sizes, and the engine when its phase is over, without waiting for a collector."""
    import gc

    gc.collect()
    gc.disable()
    try:
        before = plain_device.used
        there, _ = runs(SMALL, plain_device, OPTIMIZERS["momentum"], ema=0.9)
        used = []
        for batch in (8, 7, 6, 5, 4, 3):
            steps(there, 3, batch)
            used.append(plain_device.used)
        assert used[-1] < used[2]
        del there
        assert plain_device.used <= before + 4096
    finally:
        gc.enable()
