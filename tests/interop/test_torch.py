"""Networks as PyTorch runs them compute what the reference executor computes."""

from __future__ import annotations

import numpy as np
import pytest
from made_weights import weight
from random_networks import values_of

import netdsl

torch = pytest.importorskip("torch", reason="torch is not installed")

from netdsl.interop.errors import ExportError  # noqa: E402
from netdsl.interop.torch import function  # noqa: E402

pytestmark = pytest.mark.peer


def assert_same(net: netdsl.Net, values: dict[str, np.ndarray]) -> None:
    reference = net.compile("float64")
    reference.load(values)
    rng = np.random.default_rng(3)
    x = {name: rng.normal(size=(2, *type_.shape)).astype(np.float32) for name, type_ in net.inputs.items()}
    expected = reference.run({name: array.astype(np.float64) for name, array in x.items()})[0]
    forward = function(net.network, values)
    for layout in (torch.contiguous_format, torch.channels_last):
        forward.arranged(layout)  # type: ignore[attr-defined]
        tensors = [torch.from_numpy(array) for array in x.values()]
        laid_out = [each.contiguous(memory_format=layout) if each.ndim == 4 else each for each in tensors]
        with torch.inference_mode():
            found = forward(*laid_out)
        for tensor, (name, wanted) in zip(found, expected.items(), strict=True):
            assert np.abs(tensor.numpy() - wanted).max() <= 2e-5 * max(1.0, np.abs(wanted).max()), name


BODIES = [
    ("3x11x12", "conv(6, 3x2, stride = 2, padding = same) -> relu -> depthwise_conv(3x3, padding = 1) -> relu6"),
    ("6x40", "conv(4, (3,), stride = 2, groups = 2) -> max_pool((2,)) -> avg_pool((3,)) -> layer_norm"),
    ("3x11x12", "max_pool(3, stride = 2, padding = 1, ceil_mode = true) -> avg_pool(3, stride = 2, padding = 1)"),
    ("3x11x12", "max_pool(2, ceil_mode = true) -> avg_pool(3, stride = 2, padding = 1, count_include_pad = false)"),
    ("6x9x9", "batch_norm -> layer_norm -> local_response_norm -> channel_shuffle(3) -> slice(1, 5) -> gelu"),
    ("6x9x9", "silu -> sigmoid -> tanh -> hard_swish -> mish -> leaky_relu -> elu -> prelu -> softmax"),
    (
        "6x9x9",
        "add { | | relu }\n  multiply { | | global_avg_pool }\n  concat { | | relu }\n  layer_scale(0.5) -> adaptive_avg_pool(3x4)",
    ),
    ("6x4x4", "reshape(3x32) -> permute((1, 0)) -> flatten -> dense(3) -> scale(by = 2) -> shift(by = 1)"),
]


@pytest.mark.parametrize(("shape", "body"), BODIES, ids=[body for _, body in BODIES])
def test_layers(shape: str, body: str) -> None:
    net = netdsl.loads(f"network n() {{\n  input x: {shape}\n  {body}\n}}")
    assert_same(net, values_of(net.network))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lenet5", 32),
        ("resnet18", 64),
        ("mobilenet_v2", 64),
        ("efficientnet_b0", 64),
        ("googlenet", 64),
        ("convnext_tiny", 64),
    ],
)
def test_a_network_of_the_library(name: str, size: int) -> None:
    net = netdsl.load(name)
    (given,) = net.inputs.values()
    net = netdsl.load(name, shape=(given.shape[0], size, size))
    reference = net.compile()
    reference.initialize(0)
    assert_same(net, {key: weight(key, array.shape, 1.1) for key, array in reference.weights.items()})


def test_what_has_no_counterpart_is_refused() -> None:
    net = netdsl.loads("network n() {\n  input x: 3x4x4\n  up: upsample(2)\n}")
    with pytest.raises(ExportError, match="`up` is of a kind, upsample"):
        function(net.network, {})
