"""Convolution against loops, the course's numbers, identities, and PyTorch where it is installed."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import correlate, outputs, run, sample
from pydantic import ValidationError

from netdsl.ir.layer import Cost, LayerError, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers import patches
from netdsl.layers.conv import Conv, DepthwiseConv

VERTICAL = ((1, 0, -1), (1, 0, -1), (1, 0, -1))
HORIZONTAL = ((1, 1, 1), (0, 0, 0), (-1, -1, -1))


def stated(layer: Conv, x: TensorType) -> np.ndarray:
    """The values that a spec gives its weight."""
    weight = layer.weights(x)[0]
    return np.broadcast_to(np.asarray(weight.initial, dtype=float), weight.shape)


def detect(image: list[list[int]], kernel, **options) -> list[list[float]]:
    """A 2-D picture through a convolution with a fixed kernel."""
    x = np.array(image, dtype=np.float32)[None, None]
    layer = Conv(filters=1, kernel=(3, 3), weight=kernel, bias=False, trainable=False, **options)
    return run(layer, x, weight=stated(layer, TensorType(x.shape[1:])).astype(np.float32))[0, 0].tolist()


# ------------------------------------------------------------------------------------------------- the course's numbers


def test_vertical_edges_of_the_first_lecture():
    image = [[3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3]]
    image += [[0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9]]
    expected = [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]
    assert detect(image, VERTICAL) == expected
    assert Conv(filters=1, kernel=3, bias=False).cost([TensorType((1, 6, 6))], TensorType((1, 4, 4))).macs == 144


def test_edges_of_a_step():
    step = [[10, 10, 10, 0, 0, 0]] * 6
    assert detect(step, VERTICAL) == [[0, 30, 30, 0]] * 4
    assert detect([row[::-1] for row in step], VERTICAL) == [[0, -30, -30, 0]] * 4
    corners = [[10, 10, 10, 0, 0, 0]] * 3 + [[0, 0, 0, 10, 10, 10]] * 3
    assert detect(corners, HORIZONTAL) == [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]]
    # Turning the kernel around changes the sign of an odd one.
    assert detect(step, VERTICAL, flip_kernel=True) == [[0, -30, -30, 0]] * 4


def test_strided_convolution_of_the_lecture():
    image = [[2, 3, 7, 4, 6, 2, 9], [6, 6, 9, 8, 7, 4, 3], [3, 4, 8, 3, 8, 9, 7], [7, 8, 3, 6, 6, 3, 4]]
    image += [[4, 2, 1, 8, 3, 4, 6], [3, 2, 4, 1, 9, 8, 3], [0, 1, 3, 9, 2, 1, 4]]
    kernel = ((3, 4, 4), (1, 0, 2), (-1, 0, 3))
    assert detect(image, kernel, stride=2) == [[91, 100, 88], [69, 91, 117], [44, 72, 74]]


@pytest.mark.parametrize(
    ("layer", "given_", "made", "params", "macs"),
    [
        (Conv(filters=1, kernel=3, bias=False), (3, 6, 6), (1, 4, 4), 27, 432),
        (Conv(filters=2, kernel=3, bias=False), (3, 6, 6), (2, 4, 4), 54, 864),
        (Conv(filters=10, kernel=3), (3, 6, 6), (10, 4, 4), 280, 4320),
        (Conv(filters=10, kernel=3), (3, 1000, 1000), (10, 998, 998), 280, None),
        (Conv(filters=10, kernel=3), (3, 39, 39), (10, 37, 37), 280, 369_630),
        (Conv(filters=20, kernel=5, stride=2), (10, 37, 37), (20, 17, 17), 5020, 1_445_000),
        (Conv(filters=40, kernel=5, stride=2), (20, 17, 17), (40, 7, 7), 20_040, 980_000),
        (Conv(filters=5, kernel=1), (32, 6, 6), (5, 6, 6), 165, 5760),
        (Conv(filters=32, kernel=1), (192, 28, 28), (32, 28, 28), 6176, 4_816_896),
        (Conv(filters=32, kernel=5, padding="same"), (192, 28, 28), (32, 28, 28), 153_632, 120_422_400),
        (Conv(filters=5, kernel=3, bias=False), (3, 6, 6), (5, 4, 4), 135, 2160),
        (DepthwiseConv(kernel=3, bias=False), (3, 6, 6), (3, 4, 4), 27, 432),
        (Conv(filters=5, kernel=1, bias=False), (3, 4, 4), (5, 4, 4), 15, 240),
        (Conv(filters=16, kernel=5), (1, 14), (16, 10), 96, None),
        (Conv(filters=32, kernel=5), (16, 10), (32, 6), 2592, None),
        (Conv(filters=16, kernel=5), (1, 14, 14, 14), (16, 10, 10, 10), 2016, None),
        (Conv(filters=32, kernel=5), (16, 10, 10, 10), (32, 6, 6, 6), 64_032, None),
        # AlexNet 2012, conv1 and conv2 with two groups; ResNet's stem.
        (Conv(filters=96, kernel=11, stride=4), (3, 227, 227), (96, 55, 55), 34_944, 105_415_200),
        (Conv(filters=256, kernel=5, padding=2, groups=2), (96, 27, 27), (256, 27, 27), 307_456, 223_948_800),
        (Conv(filters=64, kernel=7, stride=2, padding=3, bias=False), (3, 224, 224), (64, 112, 112), 9408, 118_013_952),
    ],
)
def test_shapes_parameters_and_macs_of_the_course(layer, given_, made, params, macs):
    x, y = TensorType(given_), TensorType(made)
    assert layer.infer(x) == y
    assert sum(weight.size for weight in layer.weights(x)) == params
    if macs is not None:
        assert layer.cost([x], y).macs == macs


def test_connections_of_lenet_as_the_paper_counts_them():
    c1 = Conv(filters=6, kernel=5)
    assert c1.cost([TensorType((1, 32, 32))], TensorType((6, 28, 28))) == Cost(117_600, 4704, 122_304)


# ----------------------------------------------------------------------------------------------------- against the loops


@settings(deadline=None, max_examples=60)
@given(st.randoms(use_true_random=False))
def test_convolution_is_the_sum_of_its_definition(choose: random.Random):
    rank = choose.choice([1, 2, 2, 3])
    groups = choose.randint(1, 3)
    depth, each = choose.randint(1, 2), choose.randint(1, 2)
    f, s, d = ([choose.randint(1, most) for _ in range(rank)] for most in (3, 3, 2))
    sides = [(choose.randint(0, 2), choose.randint(0, 2)) for _ in range(rank)]
    spatial = [
        max(1, d_ * (f_ - 1) + 1 - sum(side)) + choose.randint(0, 3) for f_, d_, side in zip(f, d, sides, strict=True)
    ]
    mode = choose.choice(["zeros", "reflect", "replicate", "circular"])
    if mode in ("reflect", "circular"):
        spatial = [max(n, max(side) + 1) for n, side in zip(spatial, sides, strict=True)]
    layer = Conv(
        filters=groups * each,
        kernel=tuple(f),
        stride=tuple(s),
        padding=tuple(margin for side in sides for margin in side),
        dilation=tuple(d),
        groups=groups,
        padding_mode=mode,
        bias=choose.choice([True, False]),
    )
    x = sample(2, groups * depth, *spatial)
    w = sample(groups * each, depth, *f, seed=1)
    b = sample(groups * each, seed=2) if layer.bias else None
    expected = correlate(x, w, s, sides, d, groups, b, mode)
    weights = {"weight": w} if b is None else {"weight": w, "bias": b}
    np.testing.assert_allclose(run(layer, x, **weights), expected, atol=1e-12)
    single = run(layer, x.astype(np.float32), **{name: v.astype(np.float32) for name, v in weights.items()})
    np.testing.assert_allclose(single, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "half", "same"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_by_name(padding, stride):
    x, w = sample(1, 2, 7, 8), sample(3, 2, 3, 5, seed=1)
    y = run(Conv(filters=3, kernel=(3, 5), stride=stride, padding=padding, bias=False), x, weight=w)
    named = {"valid": [(0, 0), (0, 0)], "half": [(1, 1), (2, 2)]}
    # ceil(7 / s), ceil(8 / s) windows of 3 and 5 need these many positions more, the odd one behind.
    same = {1: [(1, 1), (2, 2)], 2: [(1, 1), (1, 2)], 3: [(1, 1), (1, 2)]}[stride]
    sides = named.get(padding, same)
    np.testing.assert_allclose(y, correlate(x, w, (stride, stride), sides, (1, 1)), atol=1e-12)


def test_flipped_kernel_is_the_convolution_of_signal_processing():
    x, w = sample(1, 1, 12), sample(1, 1, 4, seed=1)
    y = run(Conv(filters=1, kernel=4, padding=3, bias=False, flip_kernel=True), x, weight=w)
    np.testing.assert_allclose(y[0, 0], np.convolve(x[0, 0], w[0, 0], mode="full"))


def test_depthwise_is_a_convolution_with_as_many_groups_as_channels():
    x, w, b = sample(2, 3, 6, 7), sample(6, 1, 3, 3, seed=1), sample(6, seed=2)
    y = run(DepthwiseConv(kernel=3, stride=2, padding=1, multiplier=2), x, weight=w, bias=b)
    np.testing.assert_allclose(y, correlate(x, w, (2, 2), [(1, 1), (1, 1)], (1, 1), 3, b), atol=1e-12)
    np.testing.assert_allclose(y[:, 2:4], run(Conv(filters=2, kernel=3, stride=2, padding=1), x[:, 1:2], weight=w[2:4], bias=b[2:4]))  # fmt: skip


def test_groups_are_convolutions_side_by_side():
    x, w = sample(1, 6, 5, 5), sample(4, 3, 3, 3, seed=1)
    y = run(Conv(filters=4, kernel=3, groups=2, bias=False), x, weight=w)
    halves = [
        run(Conv(filters=2, kernel=3, bias=False), x[:, 3 * g : 3 * g + 3], weight=w[2 * g : 2 * g + 2]) for g in (0, 1)
    ]
    np.testing.assert_allclose(y, np.concatenate(halves, axis=1))


@pytest.mark.parametrize("most", [1, 500, 5000])
def test_small_blocks_make_the_same_result(monkeypatch, most):
    monkeypatch.setattr("netdsl.layers.correlate.MOST_PATCH_BYTES", most)
    x, w = sample(2, 4, 5, 4, 6), sample(6, 2, 2, 3, 2, seed=1)
    layer = Conv(filters=6, kernel=(2, 3, 2), stride=(1, 1, 2), groups=2, bias=False)
    expected = correlate(x, w, (1, 1, 2), [(0, 0)] * 3, (1, 1, 1), 2)
    np.testing.assert_allclose(run(layer, x, weight=w), expected, atol=1e-12)


def test_memory_is_bounded_for_the_largest_maps_of_vgg():
    x = np.ones((2, 64, 224, 224), np.float32)
    w, b = np.ones((64, 64, 3, 3), np.float32), np.zeros(64, np.float32)
    tracemalloc.start()
    y = Conv(filters=64, kernel=3, padding=1).forward(np, [x], {"weight": w, "bias": b})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert y[1, 5, 0, 0] == 4 * 64  # a corner sees 4 positions of each of 64 channels
    assert y[1, 5, 7, 7] == 9 * 64
    assert peak < 256e6  # all patches at once would take 231 MB for each image, and the output takes 26 MB


def test_blocks_cover_a_box_once():
    box = np.zeros((3, 4, 5), int)
    for most in (1, 3, 5, 7, 20, 23, 60, 100):
        for block in patches.blocks(box.shape, most):
            box[block] += 1
            assert 1 <= box[block].size <= most
    assert (box == 8).all()


# -------------------------------------------------------------------------------------------------------- stated weights


def test_stated_kernel_is_used_for_all_filters_and_channels():
    x = TensorType((3, 8, 8))
    sobel = ((1, 0, -1), (2, 0, -2), (1, 0, -1))
    one = stated(Conv(filters=2, kernel=3, weight=sobel), x)
    assert one.shape == (2, 3, 3, 3)
    assert (one == np.array(sobel)).all()


def test_stated_kernel_for_each_filter():
    each = (((1, 2), (3, 4)), ((5, 6), (7, 8)))
    w = stated(Conv(filters=2, kernel=2, weight=each), TensorType((3, 8, 8)))
    for k in range(2):
        for c in range(3):
            assert w[k, c].tolist() == np.array(each[k]).tolist()


def test_stated_kernel_for_each_channel_of_the_only_filter():
    colours = (((0.299,),), ((0.587,),), ((0.114,),))
    assert stated(Conv(filters=1, kernel=1, weight=colours), TensorType((3, 8, 8)))[0, :, 0, 0].tolist() == [
        0.299,
        0.587,
        0.114,
    ]


def test_stated_values_of_all_weights_and_one_number():
    x = TensorType((2, 4))
    values = ((((1, 2, 3)), ((4, 5, 6))),)
    assert stated(Conv(filters=1, kernel=3, weight=values), x).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    mean = Conv(filters=2, kernel=3, weight=1 / 6, trainable=False)
    weight = mean.weights(x)[0]
    assert (weight.trainable, weight.role, weight.initial) == (False, "parameter", (1 / 6,))


def test_stated_bias():
    weights = Conv(filters=2, kernel=3, bias=(0.5, -1)).weights(TensorType((2, 4)))
    assert weights[1] == Weight("bias", (2,), initial=(0.5, -1))


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (((1, 2), (3, 4)), "values of shape 2x2 for its weight, which has shape 2x3x3x3"),
        (((1, 2, 3), (4, 5)), "rows of different lengths"),
        (((1, 2, 3),) * 4, "4x3"),
    ],
)
def test_stated_weight_of_another_shape(weight, said):
    with pytest.raises(LayerError, match=said) as caught:
        Conv(filters=2, kernel=3, weight=weight).infer(TensorType((3, 8, 8)))
    assert caught.value.code == "E0304"
    assert "3x3 or 2x3x3" in caught.value.help


def test_stated_bias_of_another_length():
    with pytest.raises(LayerError, match="3 values for its bias") as caught:
        Conv(filters=2, kernel=3, bias=(1, 2, 3)).infer(TensorType((3, 8, 8)))
    assert caught.value.code == "E0304"


# ---------------------------------------------------------------------------------------------------------- connections


def test_connections_read_only_their_channels():
    table = ((0, 2), (1,), (2, 0, 1))
    layer = Conv(filters=3, kernel=(2, 3), connections=table)
    x, w, b = sample(2, 3, 5, 6), sample(6, 2, 3, seed=1), sample(3, seed=2)
    y = run(layer, x, weight=w, bias=b)
    link = 0
    for k, read in enumerate(table):
        expected = sum(
            correlate(x[:, c : c + 1], w[None, None, link + i], (1, 1), [(0, 0)] * 2, (1, 1))[:, 0]
            for i, c in enumerate(read)
        )
        np.testing.assert_allclose(y[:, k], expected + b[k], atol=1e-12)
        link += len(read)
    given_ = TensorType((3, 5, 6))
    assert layer.cost([given_], layer.infer(given_)) == Cost(16 * 36, 16 * 3, 16 * 39)


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (((0,), (3,)), {}, "row 1 of the connections reads channel 3, and the input 3x8x8 has 3"),
        (((0,), (-1,)), {}, "reads channel -1"),
        (((0,),), {}, "2 filters and a table of connections with 1 rows"),
        (((0,), ()), {}, "row 1 of the connections is empty"),
        (((0, 0), (1,)), {}, "row 0 of the connections reads a channel twice"),
        (((0,), (1,)), {"groups": 1, "filters": 2}, None),
    ],
)
def test_connections_that_do_not_fit(table, options, said):
    layer = Conv(**{"filters": 2, "kernel": 3, **options}, connections=table)
    if said is None:
        assert layer.infer(TensorType((3, 8, 8))) == TensorType((2, 6, 6))
        return
    with pytest.raises(LayerError, match=said) as caught:
        layer.infer(TensorType((3, 8, 8)))
    assert caught.value.code == "E0308"


# ------------------------------------------------------------------------------------------------ types, windows, errors


def test_unknown_extents():
    x = TensorType((3, None, 9))
    layer = Conv(filters=4, kernel=3, padding=1)
    assert layer.infer(x) == TensorType((4, None, 9))
    assert layer.cost([x], layer.infer(x)) is None
    assert [w.shape for w in layer.weights(x)] == [(4, 3, 3, 3), (4,)]
    with pytest.raises(LayerError) as caught:
        layer.infer(TensorType((None, 9, 9)))
    assert caught.value.code == "E0309"


@pytest.mark.parametrize(("groups", "what"), [(3, "64 channels of its input 64x9x9"), (64, "96 filters")])
def test_groups_that_do_not_divide(groups, what):
    with pytest.raises(LayerError, match=f"conv has {groups} groups, which do not divide [a-z]+ {what}") as caught:
        Conv(filters=96, kernel=3, groups=groups).infer(TensorType((64, 9, 9)))
    assert caught.value.code == "E0302"
    assert caught.value.help == "groups divides both the channels (64) and the filters (96): 1, 2, 4, 8, 16, 32"


def test_window_is_what_an_output_depends_on():
    layer = Conv(filters=1, kernel=3, stride=2, padding=(1, 2), dilation=2, bias=False)
    window = layer.window([TensorType((1, 15))])
    assert window == Window((5,), (2,), (1,))
    size, stride, padding = (numbers[0] for numbers in window)
    seen: dict[int, list[int]] = {}
    for i in range(15):
        impulse = np.zeros((1, 1, 15))
        impulse[0, 0, i] = 1
        for output in np.flatnonzero(run(layer, impulse, weight=np.ones((1, 1, 3)))[0, 0]):
            seen.setdefault(int(output), []).append(i)
    assert len(seen) == 7
    for output, inputs in seen.items():
        first = output * stride - padding
        expected = [i for i in range(first, first + size, 2) if 0 <= i < 15]
        assert inputs == expected


def test_too_little_to_reflect():
    with pytest.raises(LayerError) as caught:
        Conv(filters=1, kernel=5, padding=3, padding_mode="reflect").infer(TensorType((1, 3, 9)))
    assert caught.value.code == "E0306"
    assert caught.value.help.startswith("reflect pads by at most 2 here")
    Conv(filters=1, kernel=5, padding=2, padding_mode="reflect").infer(TensorType((1, 3, 9)))
    with pytest.raises(LayerError):
        Conv(filters=1, kernel=5, padding=4, padding_mode="circular").infer(TensorType((1, 3, 9)))


@pytest.mark.parametrize(
    "attributes",
    [
        {"filters": 0},
        {"filters": 2**24 + 1},
        {"filters": 1.5},
        {"filters": True},
        {"kernel": 0},
        {"kernel": ()},
        {"kernel": (3, 0)},
        {"kernel": 2**16 + 1},
        {"stride": 0},
        {"dilation": -1},
        {"padding": -1},
        {"padding": "sam"},
        {"padding_mode": "wrap"},
        {"weight": float("nan")},
        {"weight": "sobel"},
        {"colour": 1},
    ],
)
def test_attributes_that_make_no_sense(attributes):
    with pytest.raises(ValidationError):
        Conv(**{"filters": 4, "kernel": 3, **attributes})


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_pytorch(seed):
    torch = pytest.importorskip("torch")
    choose = random.Random(seed)
    rank = choose.randint(1, 3)
    groups = choose.randint(1, 3)
    f, s, d, p = ([choose.randint(low, most) for _ in range(rank)] for low, most in ((1, 4), (1, 3), (1, 3), (0, 3)))
    spatial = [d_ * (f_ - 1) + 1 + choose.randint(0, 5) for f_, d_ in zip(f, d, strict=True)]
    x, w, b = sample(2, 2 * groups, *spatial), sample(3 * groups, 2, *f), sample(3 * groups)
    assert outputs(spatial, f, s, [(m, m) for m in p], d)
    function = [torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d][rank - 1]
    expected = function(*map(torch.from_numpy, (x, w, b)), s, p, d, groups).numpy()
    layer = Conv(
        filters=3 * groups, kernel=tuple(f), stride=tuple(s), padding=tuple(p), dilation=tuple(d), groups=groups
    )
    if rank == 1:  # one number, as a pair would be before and after
        layer = layer.model_copy(update={"padding": p[0]})
    np.testing.assert_allclose(run(layer, x, weight=w, bias=b), expected, atol=1e-10)
