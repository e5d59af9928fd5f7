"""The worked examples of the course (Andrew Ng, Convolutional Neural Networks): shapes, parameters, numbers.

Numbers are copied from the lectures and their errata, and recomputed by hand where a slide is wrong; a comment says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netdsl


def run(name: str, image: Any, **parameters: Any) -> list[Any]:
    """The output for one image of one channel, given and returned as rows."""
    array = np.asarray(image, dtype=np.float32)[None, None]
    net = netdsl.load(name, shape=(1, *array.shape[2:]), **parameters)
    rows: list[Any] = np.asarray(net.compile()(array))[0, 0].tolist()
    return rows


def counts(name: str, **parameters: Any) -> tuple[int, int | None]:
    net = netdsl.load(name, **parameters)
    return net.parameters, net.macs


def shapes(name: str, **parameters: Any) -> list[tuple[int | None, ...]]:
    """The shape of every layer's output, in order."""
    net = netdsl.load(name, **parameters)
    return [node.type.shape for node in net.network.nodes() if node.inputs]


def kinds(name: str, *wanted: str, **parameters: Any) -> list[tuple[int, tuple[int | None, ...]]]:
    """Parameters and output shape of the layers of these kinds, in order."""
    net = netdsl.load(name, **parameters)
    network = net.network
    return [
        (
            sum(w.size for w in node.layer.weights(*network.types_of(node.inputs)) if w.role == "parameter"),
            node.type.shape,
        )
        for node in network.nodes()
        if node.layer.kind in wanted
    ]


# ------------------------------------------------------------------------------------- week 1: edges, padding, strides

SIX = [
    [3, 0, 1, 2, 7, 4],
    [1, 5, 8, 9, 3, 1],
    [2, 7, 2, 5, 1, 3],
    [0, 1, 3, 1, 7, 8],
    [4, 2, 1, 6, 2, 8],
    [2, 4, 5, 2, 3, 9],
]
STEP = [[10, 10, 10, 0, 0, 0]] * 6
CHECKER = [[10, 10, 10, 0, 0, 0]] * 3 + [[0, 0, 0, 10, 10, 10]] * 3


def test_vertical_edges() -> None:
    found = run("vertical_edges", SIX)
    assert found == [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]


def test_vertical_edge_of_a_step() -> None:
    assert run("vertical_edges", STEP) == [[0, 30, 30, 0]] * 4
    dark_to_bright = [row[::-1] for row in STEP]
    assert run("vertical_edges", dark_to_bright) == [[0, -30, -30, 0]] * 4


def test_horizontal_edges() -> None:
    found = run("horizontal_edges", CHECKER)
    assert found == [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]]


def test_edge_detection_takes_144_multiplications() -> None:
    assert netdsl.load("vertical_edges", shape=(1, 6, 6)).macs == 144


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("vertical_edges", [[1, 0, -1], [1, 0, -1], [1, 0, -1]]),
        ("prewitt_vertical", [[1, 0, -1], [1, 0, -1], [1, 0, -1]]),
        ("horizontal_edges", [[1, 1, 1], [0, 0, 0], [-1, -1, -1]]),
        ("prewitt_horizontal", [[1, 1, 1], [0, 0, 0], [-1, -1, -1]]),
        ("sobel_vertical", [[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
        ("sobel_horizontal", [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]),
        ("scharr_vertical", [[3, 0, -3], [10, 0, -10], [3, 0, -3]]),
        ("scharr_horizontal", [[3, 10, 3], [0, 0, 0], [-3, -10, -3]]),
        ("diagonal_edges", [[1, 1, 0], [1, 0, -1], [0, -1, -1]]),
        ("antidiagonal_edges", [[0, 1, 1], [-1, 0, 1], [-1, -1, 0]]),
    ],
)
def test_a_single_bright_pixel_shows_the_filter_mirrored(name: str, kernel: list[list[int]]) -> None:
    """Without a flip the response to one pixel is the filter mirrored in both directions."""
    pixel = np.zeros((5, 5))
    pixel[2, 2] = 1
    assert run(name, pixel) == [row[::-1] for row in kernel[::-1]]


def test_a_flipped_filter_is_a_convolution() -> None:
    """With a flip the response to one pixel is the filter itself."""
    pixel = np.zeros((5, 5))
    pixel[2, 2] = 1
    assert run("mirrored_vertical_edges", pixel) == [[1, 0, -1]] * 3


@pytest.mark.parametrize("name", ["diagonal_edges", "antidiagonal_edges"])
def test_diagonal_edges_answer_to_their_own_diagonal(name: str) -> None:
    rows, columns = np.indices((7, 7))
    falling = np.where(rows > columns, 0, 10)  # an edge along the main diagonal
    rising = falling[:, ::-1]
    strong, weak = (rising, falling) if name == "diagonal_edges" else (falling, rising)
    assert np.abs(run(name, strong)).max() > 2 * np.abs(run(name, weak)).max()


def test_sobel_magnitude_of_a_step() -> None:
    """A step of height 1 from row to row, in all three colours: 4 beside it and 0 apart from it, inside the border."""
    image = np.zeros((1, 3, 8, 8), dtype=np.float32)
    image[:, :, 4:] = 1
    found = np.asarray(netdsl.load("edges").compile()(image))[0, 0]
    assert found.shape == (8, 8)
    assert np.allclose(found[1:-1, 1:-1], [[0] * 6] * 2 + [[4] * 6] * 2 + [[0] * 6] * 2)


def test_a_learned_filter_has_nine_numbers() -> None:
    assert netdsl.load("learned_edges").parameters == 9


@pytest.mark.parametrize(
    ("n", "f", "valid"),
    [(6, 3, 4), (6, 5, 2), (5, 3, 3), (28, 5, 24), (32, 5, 28), (39, 3, 37), (224, 3, 222), (224, 7, 218)],
)
def test_padding(n: int, f: int, valid: int) -> None:
    outputs = netdsl.load("padding", n=n, f=f).outputs
    assert {name: type.shape for name, type in outputs.items()} == {
        "valid": (1, valid, valid),
        "same": (1, n, n),
        "padded": (1, n, n),
    }


def test_strided_example() -> None:
    """The lecture prints 83 and 127 where these pixels give 88 and 117; the other seven numbers agree with it."""
    image = [
        [2, 3, 7, 4, 6, 2, 9],
        [6, 6, 9, 8, 7, 4, 3],
        [3, 4, 8, 3, 8, 9, 7],
        [7, 8, 3, 6, 6, 3, 4],
        [4, 2, 1, 8, 3, 4, 6],
        [3, 2, 4, 1, 9, 8, 3],
        [0, 1, 3, 9, 2, 1, 4],
    ]
    assert run("strided_example", image) == [[91, 100, 88], [69, 91, 117], [44, 72, 74]]


@pytest.mark.parametrize(
    ("n", "f", "p", "s", "out"),
    [
        (7, 3, 0, 2, 3),
        (6, 3, 0, 2, 2),
        (63, 7, 0, 2, 29),
        (63, 7, 2, 2, 31),
        (15, 3, 0, 2, 7),
        (128, 5, 0, 2, 62),
        (227, 11, 0, 4, 55),
        (224, 7, 3, 2, 112),
    ],
)
def test_strides_round_down(n: int, f: int, p: int, s: int, out: int) -> None:
    assert shapes("strides", n=n, f=f, p=p, s=s)[-1] == (1, out, out)


# -------------------------------------------------------------------------------------------- week 1: layers, networks


def test_volumes() -> None:
    assert kinds("one_filter", "conv") == [(27, (1, 4, 4))]
    assert kinds("two_filters", "conv") == [(54, (2, 4, 4))]
    assert counts("one_filter") == (27, 432)


def test_one_layer_has_280_parameters_for_any_image() -> None:
    assert counts("one_layer_6") == (280, 4_320)
    assert netdsl.load("one_layer_1000").parameters == netdsl.load("one_layer_5000").parameters == 280


def test_simple_convnet() -> None:
    assert kinds("simple_convnet_logistic", "conv", "dense") == [
        (280, (10, 37, 37)),
        (5_020, (20, 17, 17)),
        (20_040, (40, 7, 7)),
        (1_961, (1,)),
    ]
    assert kinds("simple_convnet_softmax", "dense") == [(19_610, (10,))]
    assert (1960,) in shapes("simple_convnet_logistic")
    assert counts("simple_convnet_logistic") == (25_340 + 1_961, 2_794_630 + 1_960)


def test_max_pooling_numbers() -> None:
    assert run("max_pooling", [[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]]) == [[9, 2], [6, 3]]
    image = [[1, 3, 2, 1, 3], [2, 9, 1, 1, 5], [1, 3, 2, 3, 2], [8, 3, 5, 1, 0], [5, 6, 1, 2, 9]]
    assert run("overlapping_max_pooling", image) == [[9, 9, 5], [9, 9, 5], [8, 6, 9]]


def test_average_pooling_numbers() -> None:
    image = [[1, 3, 2, 1], [2, 9, 1, 1], [1, 4, 2, 3], [5, 6, 1, 2]]
    assert run("average_pooling", image) == [[3.75, 1.25], [4, 2]]


def test_pooling_keeps_channels() -> None:
    assert shapes("pooling_volumes") == [(10, 2, 2)]
    assert shapes("pooling_whole_maps") == [(1024, 1, 1)]
    assert counts("pooling_volumes")[0] == 0


@pytest.mark.parametrize(
    ("name", "filters", "parameters", "total", "macs"),
    [
        # The slide prints 208, 416, 48,001, 10,081 and 841; the errata correct them.
        ("digits_8", 8, [608, 3_216, 48_120, 10_164, 850], 62_958, 849_320),
        # With the 6 filters of the drawing.
        ("digits_6", 6, [456, 2_416, 48_120, 10_164, 850], 62_006, 651_720),
    ],
)
def test_table_of_the_digits_network(name: str, filters: int, parameters: list[int], total: int, macs: int) -> None:
    rows = kinds(name, "conv", "max_pool", "dense")
    assert [shape for _, shape in rows] == [
        (filters, 28, 28), (filters, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,), (10,),
    ]  # fmt: skip
    assert [count for count, _ in rows] == [*parameters[:1], 0, *parameters[1:2], 0, *parameters[2:]]
    assert counts(name) == (total, macs)


def test_why_convolutions() -> None:
    # The lecture says 156, which forgets the three channels of the input.
    assert counts("convolutional_layer")[0] == 456
    assert counts("dense_layer")[0] == 3_072 * 4_704 == 14_450_688
    assert (12_288,) in shapes("dense_on_small_image")
    assert (3_000_000,) in shapes("dense_on_large_image")
    assert counts("dense_on_large_image")[0] == 3_000_000_000


# -------------------------------------------------------------------------------------------- week 2: classic networks


def test_classic_lenet5() -> None:
    assert kinds("classic_lenet5", "conv", "avg_pool", "dense") == [
        (156, (6, 28, 28)),
        (0, (6, 14, 14)),
        (2_416, (16, 10, 10)),
        (0, (16, 5, 5)),
        (48_120, (120,)),
        (10_164, (84,)),
        (850, (10,)),
    ]
    assert counts("classic_lenet5") == (61_706, 416_520)


def test_classic_alexnet() -> None:
    assert kinds("classic_alexnet", "conv", "max_pool", "dense") == [
        (34_944, (96, 55, 55)),
        (0, (96, 27, 27)),
        (614_656, (256, 27, 27)),
        (0, (256, 13, 13)),
        (885_120, (384, 13, 13)),
        (1_327_488, (384, 13, 13)),
        (884_992, (256, 13, 13)),
        (0, (256, 6, 6)),
        (37_752_832, (4096,)),
        (16_781_312, (4096,)),
        (4_097_000, (1000,)),
    ]
    assert counts("classic_alexnet") == (62_378_344, 1_135_256_096)


def test_classic_vgg16() -> None:
    rows = kinds("classic_vgg16", "conv", "max_pool", "dense")
    convolutions = [1_792, 36_928, 73_856, 147_584, 295_168, 590_080, 590_080, 1_180_160] + [2_359_808] * 5
    assert [count for count, shape in rows if count and len(shape) == 3] == convolutions
    assert [shape for count, shape in rows if not count] == [
        (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7),
    ]  # fmt: skip
    assert [count for count, shape in rows if len(shape) == 1] == [102_764_544, 16_781_312, 4_097_000]
    assert counts("classic_vgg16") == (138_357_544, 15_470_264_320)


def test_residual_blocks() -> None:
    """a[l+2] = g(W2 g(W1 a + b1) + b2 + a), by matrix products."""
    rng = np.random.default_rng(5)
    for name, units in (("residual_block", 256), ("residual_block_projection", 128), ("residual_block_zeros", 128)):
        net = netdsl.load(name)
        model = net.compile("float64")
        weights = {w["name"]: rng.normal(size=w["shape"]) for w in net.summary().json()["weights"]}
        model.load(weights)
        a = rng.normal(size=(2, units))
        hidden = np.maximum(a @ weights["W1.weight"].T + weights["W1.bias"], 0)
        z = hidden @ weights["W2.weight"].T + weights["W2.bias"]
        shortcut = np.zeros((2, 256))
        shortcut[:, :units] = a
        if "Ws.weight" in weights:
            assert weights["Ws.weight"].shape == (256, 128)
            shortcut = a @ weights["Ws.weight"].T
        assert np.allclose(model(a), np.maximum(z + shortcut, 0))


def test_one_by_one() -> None:
    assert shapes("one_by_one_scales")[0] == (1, 6, 6)
    assert counts("one_by_one_mixes") == (165, 5_760)
    assert counts("one_by_one_shrinks") == (6_176, 4_816_896)


def test_inception_cost() -> None:
    assert counts("inception_cost_direct") == (153_632, 120_422_400)
    assert counts("inception_cost_bottleneck") == (15_920, 12_443_648)
    layers = netdsl.load("inception_cost_bottleneck").summary().json()["layers"]
    assert [layer["macs"] for layer in layers if layer["macs"]] == [2_408_448, 10_035_200]


def test_inception_module() -> None:
    assert kinds("inception_module", "conv") == [
        (12_352, (64, 28, 28)),
        (18_528, (96, 28, 28)),
        (110_720, (128, 28, 28)),
        (3_088, (16, 28, 28)),
        (12_832, (32, 28, 28)),
        (6_176, (32, 28, 28)),
    ]
    assert shapes("inception_module")[-1] == shapes("inception_module_naive")[-1] == (256, 28, 28)
    assert counts("inception_module") == (163_696, 128_049_152)


def test_depthwise_separable_convolution() -> None:
    assert counts("ordinary_convolution") == (135, 2_160)
    assert counts("separable_convolution") == (42, 672)
    layers = netdsl.load("separable_convolution").summary().json()["layers"]
    assert [layer["macs"] for layer in layers if layer["macs"]] == [432, 240]
    assert pytest.approx(1 / 5 + 1 / 9) == 672 / 2_160


def test_inverted_residual() -> None:
    assert [shape[0] for _, shape in kinds("inverted_residual", "conv")] == [18, 18, 3]
    assert counts("inverted_residual", size=10)[1] == (54 + 162 + 54) * 10**2


def test_mobilenet_blocks() -> None:
    """13 depthwise separable blocks in MobileNet v1, 17 inverted residuals in v2."""
    for name, blocks in (("mobilenet_v1", 13), ("mobilenet_v2", 17)):
        net = netdsl.load(name)
        depthwise = [node for node in net.network.nodes() if getattr(node.layer, "groups", 1) > 1]
        assert len(depthwise) == blocks


# ----------------------------------------------------------------------------------------- the programming assignments


def test_assignment_resnet50() -> None:
    """Keras prints 23,600,006 parameters, 23,546,886 of them trainable; the rest are running means and variances."""
    net = netdsl.load("resnet50_signs")
    assert net.trainable_parameters == 23_546_886
    running = [
        w for w in net.summary().json()["weights"] if w["name"].rpartition(".")[2] in {"running_mean", "running_var"}
    ]
    observed = sum(w["shape"][0] for w in running)
    assert observed == 53_120
    assert net.trainable_parameters + observed == 23_600_006
    assert net.node("stage5").type.shape == (2048, 2, 2)


def test_assignment_happy_house() -> None:
    assert kinds("happy_house", "conv", "batch_norm", "max_pool", "dense") == [
        (4_736, (32, 64, 64)),
        (64, (32, 64, 64)),
        (0, (32, 32, 32)),
        (32_769, (1,)),
    ]
    assert counts("happy_house") == (37_569, 19_267_584 + 32_768)


def test_assignment_signs() -> None:
    assert kinds("signs", "conv", "max_pool", "dense") == [
        (392, (8, 64, 64)),
        (0, (8, 8, 8)),
        (528, (16, 8, 8)),
        (0, (16, 2, 2)),
        (390, (6,)),
    ]
    assert counts("signs")[0] == 1_310


def test_same_padding_of_an_even_filter() -> None:
    """TensorFlow pads for 4x4 by one at the top and left and by two at the bottom and right."""
    ones = np.ones((1, 3, 64, 64))
    model = netdsl.load("signs").compile("float64")
    weights = {w["name"]: np.zeros(w["shape"]) for w in netdsl.load("signs").summary().json()["weights"]}
    weights["conv2d.weight"] += 1
    model.load(weights)
    _, taps = model(ones, tap="conv2d")
    seen = np.asarray(taps["conv2d"])[0, 0]
    # The filter covers 3x3 of the image in the top left corner, 2x2 in the bottom right, and three channels.
    assert (seen[0, 0], seen[-1, -1], seen[30, 30]) == (3 * 9, 3 * 4, 3 * 16)


def test_assignment_unet() -> None:
    assert netdsl.load("unet_streets").parameters == 8_640_471
    assert shapes("unet_streets")[-1] == (23, 96, 128)


def test_assignment_yolo() -> None:
    net = netdsl.load("yolo_v2")
    # The first convolutions of the Keras summary: 864, 18,432, 73,728, 8,192; and conv2d_6 with 294,912.
    sizes = {w["name"]: int(np.prod(w["shape"])) for w in net.summary().json()["weights"]}
    assert [sizes[f"conv{n}.conv.weight"] for n in (1, 2, 3, 4, 6)] == [864, 18_432, 73_728, 8_192, 294_912]
    running = sum(size for name, size in sizes.items() if "running" in name)
    assert net.trainable_parameters + running == 50_983_561


# ----------------------------------------------------------------------------------------------- week 3 and 4: answers


@pytest.mark.parametrize(
    ("size", "maps", "macs"),
    [
        (14, [(16, 10, 10), (16, 5, 5), (400, 1, 1), (400, 1, 1), (4, 1, 1)], 441_600),
        (16, [(16, 12, 12), (16, 6, 6), (400, 2, 2), (400, 2, 2), (4, 2, 2)], 1_459_200),
        (28, [(16, 24, 24), (16, 12, 12), (400, 8, 8), (400, 8, 8), (4, 8, 8)], 21_273_600),
    ],
)
def test_sliding_windows(size: int, maps: list[tuple[int, int, int]], macs: int) -> None:
    assert [shape for _, shape in kinds(f"sliding_windows_{size}", "conv", "max_pool")] == maps
    assert counts(f"sliding_windows_{size}") == (323_620, macs)


def test_sliding_windows_equal_windows_cut_out() -> None:
    """The four answers on 16x16 are those of the four 14x14 windows, two pixels apart."""
    small, large = (
        netdsl.load("sliding_windows_14").compile("float64"),
        netdsl.load("sliding_windows_16").compile("float64"),
    )
    small.initialize(3)
    large.load(dict(small.weights))
    image = np.random.default_rng(0).normal(size=(1, 3, 16, 16))
    answers = np.asarray(large(image))
    for row in range(2):
        for column in range(2):
            window = image[:, :, 2 * row : 2 * row + 14, 2 * column : 2 * column + 14]
            assert np.allclose(answers[:, :, row, column], np.asarray(small(window))[:, :, 0, 0])


@pytest.mark.parametrize(
    ("name", "flat", "answer"),
    [
        ("yolo_3x3", (8, 3, 3), (1, 8, 3, 3)),
        ("yolo_3x3_two_anchors", (16, 3, 3), (2, 8, 3, 3)),
        ("yolo_19x19", (8, 19, 19), (1, 8, 19, 19)),
        ("yolo_19x19_coco", (425, 19, 19), (5, 85, 19, 19)),
    ],
)
def test_yolo_shapes(name: str, flat: tuple[int, ...], answer: tuple[int, ...]) -> None:
    assert shapes(name) == [flat, answer]


def test_transposed_convolution() -> None:
    found = run("transposed_convolution", [[2, 1], [3, 2]])
    assert found == [[0, 4, 0, 1], [10, 7, 6, 3], [0, 7, 0, 2], [6, 3, 4, 2]]


def test_dimensions() -> None:
    assert kinds("convolution_2d", "conv") == [(1_216, (16, 10, 10)), (12_832, (32, 6, 6))]
    assert kinds("convolution_1d", "conv") == [(96, (16, 10)), (2_592, (32, 6))]
    assert kinds("convolution_3d", "conv") == [(2_016, (16, 10, 10, 10)), (64_032, (32, 6, 6, 6))]
