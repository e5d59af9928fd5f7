"""Training by our CUDA kernels, compiled for the host, against the reference engine and the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling_device import CompilingDevice
from host_kernels import needs_compiler
from played_cudnn import PlayedCudnn
from training_networks import (
    EFFICIENT,
    MOBILENET,
    NETWORKS,
    RESNET,
    SMALL,
    batch_of,
    engine_of,
    exact_of,
    load,
    runs,
    steps,
)

from netdsl.backends.cupy import cudnn, cudnn_conv
from netdsl.train import recipe_parts as parts

pytestmark = needs_compiler

EXPECTED = {
    "resnet": {
        "kernel moments+kernel normalise",
        "kernel d normalise",
        "kernel pool",
        "kernel d pool",
        "kernel mean",
        "kernel spread",
    },
    "mobilenet": {"kernel depthwise", "kernel d depthwise weight+kernel d depthwise"},
    "efficientnet": {
        "kernel gate",
        "kernel product+kernel d gate+kernel gate",
        "kernel silu",
        "kernel sum",
        "kernel add",
    },
    "mixed": {"kernel gelu", "kernel slope"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients(name: str) -> None:
    network = load(NETWORKS[name])
    found, exact = engine_of(network, CompilingDevice()), exact_of(network)
    for number in range(2):
        inputs, labels = batch_of(network, 4, number)
        wanted, made = exact.step(inputs, labels, 1, number), found.step(inputs, labels, 1, number)
        assert made.loss == pytest.approx(wanted.loss, rel=1e-5)
        for weight, array in exact.gradients.views.items():
            scale = max(1e-3, float(np.abs(array).max()))
            np.testing.assert_allclose(found.gradients[weight], array, atol=2e-4 * scale, err_msg=weight)
        for weight, array in exact.buffers.items():
            np.testing.assert_allclose(found.buffers[weight], array, atol=1e-4 * max(1, float(np.abs(array).max())))
    running: Any = next(iter(found._running.values()))
    assert EXPECTED[name] <= set(running.kernels)


@pytest.mark.parametrize(
    ("network", "precision"), [(RESNET, "bfloat16"), (MOBILENET, "float16"), (EFFICIENT, "bfloat16")]
)
def test_half_precision_follows(network: str, precision: str) -> None:
    there, here = runs(network, CompilingDevice(), parts.Sgd(momentum=0.9), lr=0.01, precision=precision)
    bound = 6e-2 if precision == "bfloat16" else 1e-2
    np.testing.assert_allclose(steps(there, 4), steps(here, 4), rtol=bound)


def test_beside_cudnn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What activations and biases of convolutions need is done by our kernels, the rest by cuDNN."""
    device = CompilingDevice()
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cudnn_conv, "_HANDLES", {})
    played = PlayedCudnn(device)
    monkeypatch.setattr(cudnn, "load", lambda: played)
    network = load(EFFICIENT)
    found, exact = engine_of(network, device), exact_of(network)
    for number in range(2):
        inputs, labels = batch_of(network, 4, number)
        exact.step(inputs, labels, 1, number), found.step(inputs, labels, 1, number)
        for weight, array in exact.gradients.views.items():
            scale = max(1e-3, float(np.abs(array).max()))
            np.testing.assert_allclose(found.gradients[weight], array, atol=2e-4 * scale, err_msg=weight)
    running: Any = next(iter(found._running.values()))
    assert "kernel slope+kernel d bias+cudnn dw+widened+cudnn dx" in running.kernels
    assert not any("im2col" in name for name in running.kernels)


def test_updates() -> None:
    device = CompilingDevice()
    optimizers: list[tuple[parts.Optimizer, Any]] = [
        (parts.Sgd(momentum=0.9, nesterov=True, weight_decay=1e-3, decay="weights"), None),
        (parts.RmsProp(weight_decay=1e-4), parts.ClipValue(most=0.01)),
        (parts.AdamW(weight_decay=0.1, decay="weights"), parts.ClipNorm(most=0.5)),
    ]
    for optimizer, clip in optimizers:
        there, here = runs(SMALL, device, optimizer, lr=0.01, clip=clip, ema=0.9)
        np.testing.assert_allclose(steps(there, 3), steps(here, 3), rtol=1e-4)
        mine, wanted = there.arrays(), here.arrays()
        for key, array in wanted.items():
            np.testing.assert_allclose(mine[key], array, rtol=2e-3, atol=1e-5, err_msg=f"{optimizer.kind} {key}")
    assert any(name.startswith("update") for name in device.ran) and any("norm_of" in name for name in device.ran)
