"""Gradients of layers against PyTorch's automatic differentiation, in float64; at kinks and ties too."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from netdsl.ir.types import TensorType
from netdsl.layers.vocabulary import LAYERS
from netdsl.train.draw import PhiloxDraw

torch = pytest.importorskip("torch", reason="needs PyTorch")
F = torch.nn.functional

pytestmark = pytest.mark.peer

IMAGE, VECTOR = (4, 6, 7), (5,)
BATCH = 3

# kind, attributes, shapes of the inputs, the same in PyTorch of the inputs and the weights by name
ACTIVATIONS = [
    ("relu", {}, lambda x: F.relu(x)),
    ("relu6", {}, lambda x: F.relu6(x)),
    ("leaky_relu", {"slope": 0.1}, lambda x: F.leaky_relu(x, 0.1)),
    ("elu", {"alpha": 0.7}, lambda x: F.elu(x, 0.7)),
    ("selu", {}, lambda x: F.selu(x)),
    ("gelu", {}, lambda x: F.gelu(x)),
    ("gelu", {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh")),
    ("silu", {}, lambda x: F.silu(x)),
    ("sigmoid", {}, lambda x: torch.sigmoid(x)),
    ("hard_sigmoid", {}, lambda x: F.hardsigmoid(x)),
    ("hard_swish", {}, lambda x: F.hardswish(x)),
    ("mish", {}, lambda x: F.mish(x)),
    ("softplus", {}, lambda x: F.softplus(x)),
    ("tanh", {}, lambda x: torch.tanh(x)),
    ("abs", {}, lambda x: x.abs()),
    ("square", {}, lambda x: x.square()),
    ("exp", {}, lambda x: x.exp()),
    ("power", {"exponent": 3.0}, lambda x: x**3.0),
    ("clip", {"low": -1.0, "high": 0.5}, lambda x: x.clip(-1.0, 0.5)),
    ("softmax", {}, lambda x: x.softmax(1)),
    ("log_softmax", {}, lambda x: x.log_softmax(1)),
]
POOLS = [
    ("max_pool", {"kernel": 2}, lambda x: F.max_pool2d(x, 2)),
    ("max_pool", {"kernel": 3, "stride": 2, "padding": 1}, lambda x: F.max_pool2d(x, 3, 2, 1)),
    (
        "max_pool",
        {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
    ("max_pool", {"kernel": 2, "stride": 1, "dilation": 2}, lambda x: F.max_pool2d(x, 2, 1, dilation=2)),
    (
        "avg_pool",
        {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
    (
        "avg_pool",
        {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    ("global_avg_pool", {}, lambda x: x.mean((2, 3), keepdim=True)),
    ("global_max_pool", {}, lambda x: F.adaptive_max_pool2d(x, 1)),
    ("adaptive_avg_pool", {"size": (4, 3)}, lambda x: F.adaptive_avg_pool2d(x, (4, 3))),
    ("adaptive_max_pool", {"size": (4, 3)}, lambda x: F.adaptive_max_pool2d(x, (4, 3))),
    ("adaptive_max_pool", {"size": (2, 9)}, lambda x: F.adaptive_max_pool2d(x, (2, 9))),
    ("reduce", {"how": "max"}, lambda x: x.amax(1, keepdim=True)),
    ("reduce", {"how": "min", "axis": "positions"}, lambda x: x.amin((2, 3), keepdim=True)),
]
RESHAPES = [
    ("upsample", {"scale": 2}, lambda x: F.interpolate(x, scale_factor=2)),
    ("upsample", {"size": (9, 4)}, lambda x: F.interpolate(x, (9, 4))),
    ("upsample", {"size": (9, 4), "mode": "bilinear"}, lambda x: F.interpolate(x, (9, 4), mode="bilinear")),
    (
        "upsample",
        {"scale": 2, "mode": "bilinear", "align_corners": True},
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    ),
    *(
        (
            "pad",
            {"amount": (3, 2, 1, 4), "mode": ours},
            lambda x, theirs=theirs: F.pad(x, (1, 4, 3, 2), mode=theirs),
        )
        for ours, theirs in (
            ("constant", "constant"),
            ("reflect", "reflect"),
            ("replicate", "replicate"),
            ("circular", "circular"),
        )
    ),
    ("channel_shuffle", {"groups": 2}, lambda x: F.channel_shuffle(x, 2)),
    ("depth_to_space", {"block": 2}, lambda x: F.pixel_shuffle(x, 2)),
    ("permute", {"axes": (2, 0, 1)}, lambda x: x.permute(0, 3, 1, 2)),
]
LEARNED = [
    ("conv", {"filters": 3, "kernel": 3, "padding": 1}, lambda x, weight, bias: F.conv2d(x, weight, bias, 1, 1)),
    (
        "conv",
        {"filters": 6, "kernel": (3, 2), "stride": 2, "padding": (1, 0), "dilation": 2, "groups": 2},
        lambda x, weight, bias: F.conv2d(x, weight, bias, 2, (1, 0), 2, 2),
    ),
    ("depthwise_conv", {"kernel": 3, "multiplier": 2}, lambda x, weight, bias: F.conv2d(x, weight, bias, groups=4)),
    (
        "conv_transpose",
        {"filters": 4, "kernel": (3, 4), "stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
        lambda x, weight, bias: F.conv_transpose2d(x, weight, bias, 2, 1, 1, 2),
    ),
    (
        "dense",
        {"units": 3, "axis": "channels"},
        lambda x, weight, bias: F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1),
    ),
    ("prelu", {}, lambda x, weight: F.prelu(x, weight)),
    (
        "layer_norm",
        {},
        lambda x, weight, bias: F.layer_norm(x.movedim(1, -1), (4,), weight, bias, 1e-5).movedim(-1, 1),
    ),
    ("group_norm", {"groups": 2}, lambda x, weight, bias: F.group_norm(x, 2, weight, bias)),
    ("instance_norm", {"affine": True}, lambda x, weight, bias: F.instance_norm(x, weight=weight, bias=bias)),
    ("local_response_norm", {"size": 3, "alpha": 0.3}, lambda x: F.local_response_norm(x, 3, 0.3)),
    ("l2_norm", {}, lambda x: F.normalize(x)),
    ("rms_norm", {}, lambda x, weight: F.rms_norm(x.movedim(1, -1), (4,), weight, 1e-6).movedim(-1, 1)),
]
JOINS = [
    ("maximum", {}, lambda a, b: torch.maximum(a, b)),
    ("minimum", {}, lambda a, b: torch.minimum(a, b)),
    ("multiply", {}, lambda a, b: a * b),
    ("add", {}, lambda a, b: a + b),
    ("concat", {}, lambda a, b: torch.cat([a, b], 1)),
    ("matmul", {}, lambda a, b: a @ b),
]


def cases(table):
    return [pytest.param(*row, id=f"{row[0]}-{number}") for number, row in enumerate(table)]


def compare(kind, attributes, function, inputs, tolerance=1e-12):
    """Output and gradients of a layer and of a function of PyTorch, with the same random dy."""
    layer = LAYERS[kind](**attributes)
    rng = np.random.default_rng(zlib.crc32(f"{kind}{attributes}".encode()))
    owned = layer.weights(*(TensorType(x.shape[1:]) for x in inputs))
    weights = {w.name: rng.standard_normal(w.shape) for w in owned}
    done = layer.train(np, inputs, weights, PhiloxDraw(0, 0, ""))
    dy = rng.standard_normal(done.output.shape)
    everything = (True,) * len(inputs)
    found = layer.backward(
        np, dy, inputs, done.output, done.extra, weights, everything, frozenset(w.name for w in owned)
    )
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    parameters = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
    expected = function(*tensors, **parameters)
    np.testing.assert_allclose(done.output, expected.detach().numpy(), atol=tolerance)
    expected.backward(torch.tensor(dy))
    for tensor, dx in zip(tensors, found.inputs, strict=True):
        np.testing.assert_allclose(dx, tensor.grad.numpy(), atol=tolerance)
    for name, parameter in parameters.items():
        np.testing.assert_allclose(found.weights[name], parameter.grad.numpy(), atol=tolerance)


@pytest.mark.parametrize(("kind", "attributes", "function"), cases(ACTIVATIONS))
def test_activations(kind, attributes, function):
    rng = np.random.default_rng(0)
    # Whole and half numbers are where the kinks are.
    kinks = rng.integers(-16, 17, (BATCH, *IMAGE)) / 2.0
    compare(kind, attributes, function, [3 * rng.standard_normal((BATCH, *IMAGE))])
    if kind not in ("hard_sigmoid", "hard_swish"):  # PyTorch is not of one mind at their corners
        compare(kind, attributes, function, [kinks])


@pytest.mark.parametrize(("kind", "attributes", "function"), cases(POOLS))
def test_pools(kind, attributes, function):
    rng = np.random.default_rng(0)
    compare(kind, attributes, function, [rng.standard_normal((BATCH, *IMAGE))])
    ties = rng.integers(0, 3, (BATCH, *IMAGE)).astype(np.float64)
    compare(kind, attributes, function, [ties])


@pytest.mark.parametrize(("kind", "attributes", "function"), cases(RESHAPES))
def test_reshapes(kind, attributes, function):
    compare(kind, attributes, function, [np.random.default_rng(0).standard_normal((BATCH, *IMAGE))])


@pytest.mark.parametrize(("kind", "attributes", "function"), cases(LEARNED))
def test_learned_layers(kind, attributes, function):
    compare(kind, attributes, function, [np.random.default_rng(0).standard_normal((BATCH, *IMAGE))], 1e-11)


@pytest.mark.parametrize(("kind", "attributes", "function"), cases(JOINS))
def test_joins(kind, attributes, function):
    rng = np.random.default_rng(0)
    compare(kind, attributes, function, [rng.standard_normal((BATCH, 4, 3, 3)) for _ in range(2)])
    ties = [rng.integers(0, 3, (BATCH, 4, 3, 3)).astype(np.float64) for _ in range(2)]
    compare(kind, attributes, function, ties)


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, 0.37])
@pytest.mark.parametrize("shape", [IMAGE, VECTOR, (4, 9)], ids=str)
def test_batch_norm_in_training(shape, momentum):
    rng = np.random.default_rng(0)
    layer = LAYERS["batch_norm"](eps=1e-3, momentum=momentum)
    names = [w.name for w in layer.weights(TensorType(shape))]
    weights = {name: rng.uniform(0.5, 2, shape[:1]) for name in names}
    weights["num_batches_tracked"] = np.array(7)
    x, dy = (rng.standard_normal((BATCH, *shape)) for _ in range(2))
    done = layer.train(np, [x], weights, PhiloxDraw(0, 0, ""))
    found = layer.backward(np, dy, [x], done.output, done.extra, weights, (True,), frozenset({"weight", "bias"}))
    peer = torch.nn.BatchNorm2d(shape[0], 1e-3, momentum).double()
    peer._check_input_dim = lambda x: None
    peer.load_state_dict({name: torch.tensor(values) for name, values in weights.items()})
    tensor = torch.tensor(x, requires_grad=True)
    expected = peer(tensor)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(done.output, expected.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(found.inputs[0], tensor.grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(found.weights["weight"], peer.weight.grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(found.weights["bias"], peer.bias.grad.numpy(), atol=1e-12)
    for name, buffer in peer.named_buffers():
        np.testing.assert_allclose(done.buffers[name], buffer.numpy(), atol=1e-12)


def test_a_frozen_batch_norm():
    rng = np.random.default_rng(0)
    layer = LAYERS["batch_norm"]().frozen()
    weights = {name: rng.uniform(0.5, 2, 4) for name in ("weight", "bias", "running_mean", "running_var")}
    x, dy = (rng.standard_normal((BATCH, *IMAGE)) for _ in range(2))
    done = layer.train(np, [x], weights, PhiloxDraw(0, 0, ""))
    assert not done.buffers
    found = layer.backward(np, dy, [x], done.output, done.extra, weights, (True,), frozenset())
    tensor = torch.tensor(x, requires_grad=True)
    given = {name: torch.tensor(w) for name, w in weights.items()}
    expected = F.batch_norm(tensor, given["running_mean"], given["running_var"], given["weight"], given["bias"])
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(done.output, expected.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(found.inputs[0], tensor.grad.numpy(), atol=1e-12)
