"""Layers on the channels of each pixel, in networks of one layer, against the layer's own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

import netdsl
from netdsl.backends.native.executor import NativeProgram
from netdsl.backends.native.target import Target
from netdsl.backends.reference import Model
from netdsl.passes import bind
from netdsl.passes import run as passes
from netdsl.program.lower import lower

LAYERS = {
    "layer_norm": ("layer_norm(eps = 1e-6)", "37x5x3"),
    "layer_norm of a vector": ("layer_norm", "32"),
    "layer_norm of one channel": ("layer_norm", "1x4x4"),
    "softmax": ("softmax", "19x3x4"),
    "softmax of a vector": ("softmax", "1000"),
    "shuffled channels": ("channel_shuffle(3)", "24x5x7"),
    "map to vector": ("flatten", "5x3x4"),
    "every second position": ("decimate(2)", "7x9x8"),
    "every third of a line": ("decimate(3)", "7x11"),
    "per channel": ("affine", "13x4x4"),
    "slopes": ("prelu", "13x4x4"),
    "normalized": ("batch_norm", "13x4x4"),
    "adaptive": ("adaptive_avg_pool(2)", "5x6x8"),
    "largest of the map": ("global_max_pool", "21x6x5"),
    "mean with padding": ("avg_pool(3, stride = 2, padding = 1, count_include_pad = true)", "6x7x8"),
    "mean without padding": ("avg_pool(3, stride = 2, padding = 1, count_include_pad = false)", "6x7x8"),
    "mean, rounded up": ("avg_pool(2, stride = 3, ceil_mode = true)", "6x9x8"),
    "largest, rounded up": ("max_pool(3, stride = 2, ceil_mode = true)", "6x8x8"),
    "depthwise, twice": ("depthwise_conv(3, multiplier = 2, padding = 1)", "5x6x6"),
    "dense at every pixel": ("dense(11, axis = channels)", "7x4x5"),
    "convolution of a line": ("conv(9, 3, padding = 1)", "4x17"),
}


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_layer(target: Target, case: str, batch: int) -> None:
    layer, shape = LAYERS[case]
    net = netdsl.loads(f"network test {{\n  input x: {shape}\n  {layer}\n}}\n")
    model = Model(net.network)
    model.initialize(0)
    numbers = np.random.default_rng(2)
    model.load({
        name: numbers.uniform(0.5, 1.5, value.shape).astype(value.dtype) for name, value in model.weights.items()
    })  # fmt: skip
    bound = passes(bind(net.network, model.weights))
    program = lower(bound, bound.network.input_types(), batch)
    native = NativeProgram(program, 2, target)
    assert all(report.native for report in native.report), native.report
    (type_,) = net.inputs.values()
    x = numbers.normal(1, 2, (batch, *type_.shape)).astype(np.float32)
    (found,) = native.run({"x": x}).values()
    exact = Model(net.network, "float64")
    exact.load(dict(model.weights))
    (expected,) = exact.run(x.astype(np.float64))[0].values()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
