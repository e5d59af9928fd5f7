"""Networks written as ONNX compute in ONNX Runtime what the reference executor computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_weights import weight
from random_networks import values_of

import netdsl
from netdsl.cli.main import run
from netdsl.layers.vocabulary import LAYERS

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from netdsl.interop.onnx import ExportError, model, save  # noqa: E402
from netdsl.interop.onnx.write import RULES  # noqa: E402

pytestmark = pytest.mark.peer

CASES = [
    ("3x9x8", "conv(6, 3x2, stride = 2, padding = (1, 0), groups = 3, dilation = (1, 2))"),
    ("3x9x8", "conv(4, 3x3, padding = same, stride = 2, bias = false) -> batch_norm -> relu"),
    ("3x9x8", "conv(4, 3x3, padding = 1, padding_mode = reflect, flip_kernel = true)"),
    ("3x9x8", "std_conv(4, 3x3) -> scaled_std_conv(4, 3x3)"),
    ("4x9x8", "depthwise_conv(3x3, multiplier = 2, padding = 1)"),
    ("5x40", "conv(4, (3,), stride = 2) -> max_pool((2,)) -> global_avg_pool"),
    ("2x5x6x7", "conv(3, 3x3x3) -> avg_pool(2)"),
    ("3x5x6", "conv_transpose(4, 3x3, stride = 2, padding = 1, output_padding = 1)"),
    ("4x5x6", "conv_transpose(6, 2x3, groups = 2, dilation = 2, bias = false)"),
    ("3x11x12", "max_pool(3, stride = 2, padding = 1, ceil_mode = true)"),
    ("3x11x12", "max_pool(3, stride = 1, padding = same, dilation = 2)"),
    ("3x11x12", "avg_pool(3, stride = 2, padding = 1)"),
    ("3x11x12", "avg_pool(3, stride = 2, padding = 1, count_include_pad = false)"),
    ("3x11x12", "avg_pool(4x3, stride = 3, padding = 1, ceil_mode = true)"),
    ("3x11x12", "avg_pool(2, ceil_mode = true)"),
    ("3x6x9", "adaptive_avg_pool(3)"),
    ("3x7x9", "adaptive_avg_pool(3x4) -> adaptive_max_pool(2)"),
    ("3x6x5", "global_max_pool"),
    ("3x6x5", "gem_pool(2.5)"),
    ("3x4x5", "flatten -> dense(7) -> dense(3, bias = false)"),
    ("3x4x5", "dense(7, axis = channels) -> dense(6, axis = width)"),
    ("6x4x5", "layer_norm -> group_norm(3) -> instance_norm -> rms_norm -> global_response_norm -> l2_norm"),
    ("6", "layer_norm(affine = false) -> batch_norm"),
    ("6x4x5", "instance_norm(affine = true) -> l2_norm(axis = positions)"),
    ("9x4x5", "local_response_norm(5, alpha = 0.1, k = 2)"),
    ("9x4", "local_response_norm(3, alpha = 0.1, divide_alpha = false)"),
    ("4x3x3", "relu6 -> leaky_relu(0.2) -> prelu -> elu(0.7) -> selu"),
    ("4x3x3", "gelu -> gelu(tanh) -> silu -> sigmoid -> hard_sigmoid"),
    ("4x3x3", "hard_swish -> mish -> softplus -> tanh -> scaled_tanh"),
    ("4x3x3", "prelu(per_channel = false) -> softmax -> log_softmax(axis = height)"),
    ("6x3x3", "softmax(groups = 2)"),
    ("4x3x3", "abs -> shift(by = 0.5) -> sqrt -> exp -> power(1.5) -> square -> scale(by = 0.1) -> clip(high = 1.5)"),
    ("4x3x5", "reduce(mean, axis = channels) -> reduce(max, axis = width)"),
    ("4x3x5", "layer_scale(0.3) -> scalar(1.5) -> affine -> affine(2.0, (1.0, 2.0, 3.0, 4.0), trainable = false)"),
    ("3x4x5", "grayscale -> dropout(0.3) -> stochastic_depth(0.2) -> identity"),
    ("3x4x5", "add { | | relu | tanh }\n  multiply { | | sigmoid }"),
    ("3x4x5", "subtract { | | relu }\n  divide { | | exp }"),
    ("3x4x5", "maximum { | | scale(by = 0.5) | tanh }\n  minimum { | | sigmoid }\n  average { | | relu | tanh }"),
    ("3x4x5", "magnitude { | | relu }\n  concat { | | conv(2, 1x1) }\n  concat(axis = height) { | | relu }"),
    ("6x4x5", "sum_groups(3)"),
    ("6x4x4", "matmul { | | relu }"),
    ("6x4x5", "reshape(3x40) -> permute((1, 0)) -> flatten"),
    ("6x7x8", "slice(1, 5) -> slice(2, axis = width) -> decimate(2)"),
    ("6x7x8", "pad_channels(1, 2) -> pad(1, value = 0.5) -> pad((2, 1, 0, 3), mode = reflect) -> crop(2)"),
    ("6x7x8", "pad(2, mode = replicate) -> pad(1, mode = circular) -> crop(size = 6)"),
    ("6x4x8", "channel_shuffle(3) -> space_to_depth(2) -> depth_to_space(2, order = dcr)"),
    ("6x4x8", "space_to_depth(4, order = dcr) -> depth_to_space(2)"),
    ("3x4x5", "upsample(3) -> upsample(size = 17x19)"),
    ("3x4x5", "upsample(2, mode = bilinear) -> upsample(size = 5x31, mode = bilinear, align_corners = true)"),
    ("4x6x6", "subsample(2x2) -> flatten -> rbf(5)"),
]  # fmt: skip


def assert_same(net: netdsl.Net, values: dict[str, np.ndarray], proto: object, batch: int = 2) -> None:
    reference = net.compile("float64")
    reference.load(values)
    rng = np.random.default_rng(3)
    x = {name: rng.normal(size=(batch, *type_.shape)).astype(np.float32) for name, type_ in net.inputs.items()}
    expected = reference.run({name: array.astype(np.float64) for name, array in x.items()})[0]
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])  # type: ignore[attr-defined]
    found = session.run(None, x)
    for array, (name, wanted) in zip(found, expected.items(), strict=True):
        assert array.shape == wanted.shape, name
        assert np.abs(array - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max()), name


@pytest.mark.parametrize(("shape", "body"), CASES, ids=[f"{shape} {body}" for shape, body in CASES])
def test_a_layer(shape: str, body: str) -> None:
    net = netdsl.loads(f"network n() {{\n  input x: {shape}\n  {body}\n}}")
    values = values_of(net.network)
    assert_same(net, values, model(net.network, values))


def test_every_layer_of_the_vocabulary_has_a_rule_and_a_case() -> None:
    assert set(LAYERS) - set(RULES) == {"input"}
    written = " ".join(body for _, body in CASES)
    assert [
        kind for kind in LAYERS if kind not in {"input", "crop_like", "upsample_like"} and kind not in written
    ] == []


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lenet5", 32),
        ("lenet5_1998", 32),
        ("resnet18", 64),
        ("mobilenet_v3_small", 64),
        ("googlenet", 64),
        ("unet", 188),
    ],
)
def test_a_network_of_the_library(name: str, size: int, tmp_path: Path) -> None:
    net = netdsl.load(name)
    (given,) = net.inputs.values()
    net = netdsl.load(name, shape=(given.shape[0], size, size))
    reference = net.compile()
    reference.initialize(0)
    values = {key: weight(key, array.shape, 1.1) for key, array in reference.weights.items()}
    assert save(net.network, values, tmp_path / "net.onnx") == (tmp_path / "net.onnx").stat().st_size
    proto = onnx.load(tmp_path / "net.onnx")
    assert proto.producer_name == "netdsl" and [entry.name for entry in proto.graph.input] == list(net.inputs)
    assert_same(net, values, proto)


def test_several_outputs_one_twice_and_an_input_as_an_output() -> None:
    net = netdsl.loads(
        "network n() {\n  input x: 3x4x4\n  a: conv(2, 1x1)\n  relu\n  output again: from a\n  output same: from x\n  output last: from a\n}"
    )
    values = values_of(net.network)
    assert_same(net, values, model(net.network, values))


def test_shared_weights_are_written_once() -> None:
    net = netdsl.loads("network n() {\n  input x: 3x4x4\n  c: conv(3, 3x3, padding = 1)\n  relu\n  share c\n}")
    values = values_of(net.network)
    proto = model(net.network, values)
    assert sorted(constant.name for constant in proto.graph.initializer) == ["c.bias", "c.weight"]
    assert_same(net, values, proto)


def test_what_onnx_cannot_say_is_refused() -> None:
    net = netdsl.loads("network n() {\n  input x: 6x4x4\n  norm: local_response_norm(4)\n}")
    with pytest.raises(ExportError, match="`norm`.*odd"):
        model(net.network, {})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "lenet.onnx"
    assert run(["export", "lenet5", "-o", str(target), "--random-weights", "1"]) == 0
    assert "lenet.onnx" in capsys.readouterr().out
    onnx.checker.check_model(onnx.load(target))
    assert run(["export", "lenet5", "-o", str(target)]) == 1
    assert "E0711" in capsys.readouterr().err
    assert run(["export", "lenet5", "-o", str(tmp_path / "lenet.txt"), "--random-weights", "1"]) == 2
    assert ".onnx" in capsys.readouterr().err
