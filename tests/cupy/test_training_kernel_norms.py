"""Training through normalisations of each image, softmax and resampling by our kernels, against the exact engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiling_device import CompilingDevice
from host_kernels import needs_compiler
from training_networks import batch_of, engine_of, exact_of, load

pytestmark = needs_compiler

NETWORK = """
network small {
  input image: 3x9x10
  conv(8, 3x3, padding = 1) -> layer_norm
  add { | conv(8, 1x1) -> group_norm(4) | group_norm(2) }
  add { | instance_norm(affine = true) -> relu | layer_norm(affine = false) }
  conv(6, 3x3, stride = 2) -> instance_norm
  softmax
  upsample(2, mode = bilinear) -> upsample(size = 5)
  adaptive_avg_pool(3)
  conv(8, 1x1) -> log_softmax
  global_avg_pool -> flatten -> dense(5)
}
"""
EXPECTED = {
    "kernel layer_norm", "kernel d layer_norm", "kernel group_norm", "kernel d group_norm", "kernel instance_norm",
    "kernel d instance_norm", "kernel softmax", "kernel d softmax", "kernel log_softmax", "kernel d log_softmax",
    "kernel upsample", "kernel d upsample", "kernel adaptive_avg_pool", "kernel d adaptive_avg_pool",
}  # fmt: skip


def test_gradients() -> None:
    network = load(NETWORK)
    found, exact = engine_of(network, CompilingDevice()), exact_of(network)
    for number in range(2):
        inputs, labels = batch_of(network, 4, number)
        wanted, made = exact.step(inputs, labels, 1, number), found.step(inputs, labels, 1, number)
        assert made.loss == pytest.approx(wanted.loss, rel=1e-5)
        for weight, array in exact.gradients.views.items():
            scale = max(1e-3, float(np.abs(array).max()))
            np.testing.assert_allclose(found.gradients[weight], array, atol=2e-4 * scale, err_msg=weight)
    running: Any = next(iter(found._running.values()))
    assert set(running.kernels) >= EXPECTED
