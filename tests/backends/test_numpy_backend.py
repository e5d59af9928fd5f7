"""The forms of the NumPy back-end, each on shapes that it is made for and on hostile ones."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from random_networks import assert_close, values_of

import netdsl
from netdsl.backends.compiled import MOST_PROGRAMS, CompiledModel
from netdsl.backends.errors import RunError
from netdsl.backends.registry import backend
from netdsl.language.diagnostics import SpecError
from netdsl.passes import bind, run
from netdsl.program.lower import lower


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def pair(text: str, **parameters: object) -> tuple[CompiledModel, netdsl.Net]:
    net = netdsl.loads(text, **parameters)  # type: ignore[arg-type]
    model = net.compile(backend="numpy")
    assert isinstance(model, CompiledModel)
    return model, net


FORMS = [
    # what, shape, batch, the layers, the form of the first step
    ("winograd, whole tiles", "32x16x16", 3, "conv(40, 3x3, padding = 1) -> relu", "winograd 4x4"),
    ("winograd over the edge", "33x15x18", 3, "conv(7, 3x3, padding = 1) -> silu", "winograd 4x4"),
    ("winograd without padding", "32x17x16", 3, "conv(8, 3x3) -> relu6", "winograd 4x4"),
    ("winograd in several blocks", "64x61x61", 1, "conv(64, 3x3, padding = same)", "winograd 4x4"),
    ("too few tiles for winograd", "32x16x16", 2, "conv(8, 3x3, padding = 1)", "im2col"),
    ("a small map", "32x13x14", 5, "conv(8, 3x3, padding = 1)", "im2col"),
    ("1x1", "17x9x5", 3, "conv(31, 1x1) -> hard_swish", "matmul"),
    ("1x1 with a step", "17x9x6", 2, "conv(5, 1x1, stride = 2)", "im2col"),
    ("prime channels, a step larger than the kernel", "7x23x19", 17, "conv(13, 2x3, stride = 5)", "im2col"),
    ("one position", "5x1x1", 1, "conv(3, 3x3, padding = 1)", "im2col"),
    ("padding wider than the map", "2x2x3", 2, "conv(3, 3x3, padding = 6)", "im2col"),
    ("a 1x1 with silu, whose half is in the weights", "6x9x5", 1, "conv(31, 1x1) -> silu", "matmul"),
    ("dilation", "3x20x21", 1, "conv(4, 3x2, dilation = 3, padding = (3, 1)) -> sigmoid", "im2col"),
    ("groups", "12x11x10", 2, "conv(18, 3x3, groups = 3, padding = 1) -> hard_sigmoid", "grouped im2col"),
    ("groups of 1x1", "8x6x6", 2, "conv(8, 1x1, groups = 2) -> gelu", "grouped im2col"),
    ("a sequence", "6x40", 2, "conv(5, (3,), stride = 2) -> max_pool((2,))", "im2col"),
    ("a volume", "2x5x6x7", 2, "conv(3, 3x3x3) -> relu -> avg_pool(2)", "layer"),
    ("depthwise", "24x30x31", 2, "depthwise_conv(3x3, padding = 1) -> relu6", "depthwise rows"),
    ("depthwise with a step", "24x30x31", 2, "depthwise_conv(5x5, stride = 2, padding = 2) -> silu", "depthwise rows"),
    ("depthwise, everything", "3x17x19", 1, "depthwise_conv(2x3, stride = (3, 2), padding = 2, dilation = 2)", "depthwise rows"),
    ("depthwise, a row of taps for each rest", "5x6x40", 1, "depthwise_conv(1x7, stride = (1, 6), dilation = (1, 4)) -> sigmoid", "depthwise rows"),
    ("depthwise, padding wider than the map", "2x2x3", 2, "depthwise_conv(3x3, stride = 3, padding = 6)", "depthwise rows"),
    ("depthwise of one channel", "1x8x8", 1, "depthwise_conv(3x3)", "depthwise rows"),
    ("depthwise with a multiplier", "3x8x8", 1, "depthwise_conv(3x3, multiplier = 2)", "layer"),
    ("max pool, ceiling", "5x14x15", 2, "max_pool(3, stride = 2, ceil_mode = true)", "row maxima"),
    ("max pool, padding and dilation", "5x14x15", 2, "max_pool(3, stride = 1, padding = 1, dilation = 2)", "row maxima"),
    ("average pool, padding counts", "5x14x15", 2, "avg_pool(3, stride = 2, padding = 1)", "row sums"),
    ("average pool, padding does not count", "5x14x15", 2, "avg_pool(3, stride = 2, padding = 1, count_include_pad = false)", "row sums"),
    ("average pool, ceiling", "5x13x12", 2, "avg_pool(2x3, ceil_mode = true)", "row sums"),
    ("global pools", "9x7x6", 3, "global_avg_pool -> conv(4, 1x1) -> global_max_pool", "matmul"),
    ("adaptive pools", "4x11x9", 2, "adaptive_avg_pool(4x6) -> adaptive_max_pool(3)", "windows"),
    ("dense over a map", "4x5x6", 3, "flatten -> dense(11) -> tanh -> dense(3)", "im2col"),
    ("dense along the channels", "6x5x4", 2, "dense(7, axis = channels) -> gelu", "matmul"),
    ("dense along another axis", "6x5x4", 2, "dense(7, axis = width) -> relu", "layer"),
    ("layer norm", "12x5x6", 2, "layer_norm(1e-6) -> relu", "rows"),
    ("shuffle", "12x5x6", 2, "channel_shuffle(3)", "turned copy"),
    ("transposed convolution", "5x6x7", 2, "conv_transpose(4, 3x3, stride = 2, groups = 1) -> batch_norm -> relu", "layer"),
    ("a scalar per channel", "6", 4, "batch_norm -> tanh", "rows"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "batch", "body", "form"), [case[1:] for case in FORMS], ids=[case[0] for case in FORMS]
)
def test_a_form(shape: str, batch: int, body: str, form: str) -> None:
    model, net = pair(f"network n() {{\n  input x: {shape}\n  {body}\n}}")
    values = values_of(net.network)
    model.load(values)
    reference = net.compile("float64")
    reference.load(values)
    x = images(batch, *map(int, shape.split("x")))
    expected = reference(x.astype(np.float64))
    assert_close(model(x), expected, 2e-5)
    (plan,) = model._plans.values()
    assert plan.executable.kernels[0] == form


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
def test_a_residual_is_added_before_the_activation(kernel: int, activation: str) -> None:
    body = f"conv(8, 1x1)\n  add {{\n    |\n    | conv(8, {kernel}x{kernel}, padding = half) -> batch_norm\n  }}\n  {activation}"
    model, net = pair(f"network n() {{\n  input x: 3x20x20\n  {body}\n}}")
    values = values_of(net.network)
    model.load(values)
    reference = net.compile("float64")
    reference.load(values)
    x = images(2, 3, 20, 20)
    assert_close(model(x), reference(x.astype(np.float64)), 2e-5)
    assert [step.residual is not None for step in model.program(2).steps] == [False, True]


SMALL = "network n() {\n  input x: 3x?x?\n  conv1: conv(4, 3x3) -> batch_norm -> relu\n  global_avg_pool -> flatten -> dense(2)\n}"


def test_sizes_that_come_are_compiled_once_each_and_the_oldest_forgotten() -> None:
    model, net = pair(SMALL)
    model.initialize(0)
    reference = net.compile(backend="reference")
    reference.load(dict(model.weights))
    for size in [*range(3, 3 + MOST_PROGRAMS + 3), 3]:
        x = images(1, 3, size, size + 1)
        assert_close(model(x), reference(x))
        assert len(model._plans) <= MOST_PROGRAMS
    (_, packs) = model._bound[()]
    before = len(packs)
    model(images(2, 3, 8, 8))
    assert len(packs) == before, "packed once for all shapes"


def test_new_weights_are_used() -> None:
    model, _ = pair(SMALL)
    x = images(1, 3, 8, 8)
    model.initialize(0)
    first = model(x)
    model.initialize(1)
    second = model(x)
    assert np.abs(first - second).max() > 1e-3
    model.load(values_of(model.network))
    assert np.abs(model(x) - second).max() > 1e-3


def test_the_same_input_gives_the_same_bits_and_stays_as_it_is() -> None:
    model, _ = pair(SMALL)
    model.initialize(0)
    x = images(2, 3, 30, 30)
    kept = x.copy()
    first = model(x)
    again = model(x)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(x, kept)
    first[...] = 0
    assert again.any(), "what is handed out is the caller's"


def test_errors_are_those_of_the_reference() -> None:
    model, _ = pair(SMALL)
    x = images(1, 3, 8, 8)
    with pytest.raises(RunError, match="E0711"):
        model(x)
    model.initialize(0)
    with pytest.raises(SpecError, match="conv1"):
        model(images(1, 3, 2, 9))
    with pytest.raises(RunError, match="E0712"):
        model(images(1, 4, 8, 8))
    with pytest.raises(RunError, match="E0713"):
        model(x, tap="conv7")
    assert model(x).shape == (1, 2), "an error leaves the model as it was"


def test_back_ends_that_are_not_there() -> None:
    net = netdsl.loads(SMALL)
    with pytest.raises(RunError, match=r"E0716.*`nunpy`(.|\n)*did you mean `numpy`"):
        net.compile(backend="nunpy")
    with pytest.raises(RunError, match="float32"):
        net.compile("float64", backend="numpy")
    assert net.compile("float64").dtype == "float64"


def test_threads_take_turns() -> None:
    model, _ = pair(SMALL)
    model.initialize(0)
    batches = [images(1, 3, 9 + i, 9) for i in range(4)]
    expected = [model(x) for x in batches]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            if (model(batches[index]) != expected[index]).any():
                wrong.append(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# Every family of the library; small images, and weights that leave activations at a sensible size.
FAMILIES = [
    ("alexnet", 64), ("squeezenet1_1", 64), ("googlenet", 64), ("inception_v3", 80), ("resnet18", 64),
    ("resnext50_32x4d", 64), ("densenet121", 64), ("mobilenet_v2", 64), ("mobilenet_v3_small", 64), ("mnasnet0_5", 64),
    ("shufflenet_v2_x0_5", 64), ("efficientnet_b0", 64), ("efficientnet_v2_s", 64), ("regnet_y_400mf", 64),
    ("convnext_tiny", 64), ("lenet5", 32), ("resnet20", 32), ("nin_imagenet", 96), ("alexnet_2012", 96),
    ("mobilenet_v1", 64), ("seresnet50", 64), ("xception", 96), ("repvgg_a0", 64), ("darknet53", 64), ("unet", 188),
]  # fmt: skip


@pytest.mark.parametrize(("name", "size"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_a_family_of_the_library(name: str, size: int) -> None:
    from made_weights import weight

    net = netdsl.load(name)
    (given,) = net.inputs.values()
    if None in given.shape or given.shape[1] != size:
        net = netdsl.load(name, shape=(given.shape[0], size, size))
    reference, model = net.compile(backend="reference"), net.compile(backend="numpy")
    reference.initialize(0)
    values = {key: weight(key, array.shape, 1.1) for key, array in reference.weights.items()}
    reference.load(values)
    model.load(values)
    x = images(1, given.shape[0] or 1, size, size)
    expected, found = reference(x), model(x)
    assert isinstance(expected, np.ndarray) and expected.std() > 1e-6
    assert np.abs(found - expected).max() <= 1e-4 * expected.std()


def test_packed_weights_serve_other_batches() -> None:
    net = netdsl.loads(SMALL, shape="3x8x8")
    bound = run(bind(net.network, values_of(net.network)))
    packs: dict[object, object] = {}
    engine = backend("numpy")
    engine.build(lower(bound, net.inputs, 1), None, packs)
    made = {key: id(array) for key, array in packs.items()}
    engine.build(lower(bound, net.inputs, 4), None, packs)
    assert made and {key: id(packs[key]) for key in made} == made
