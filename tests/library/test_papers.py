"""Counts that papers and their authors' code publish.

Every number is copied from outside: printed in the paper named beside it, or the count of the published model. The
specs state many of them too; here they stand apart from what they check.
"""

from __future__ import annotations

import numpy as np
import pytest

import netdsl

# name, parameters, multiply-accumulates for one image (None: nobody states them)
PUBLISHED: list[tuple[str, int, int | None]] = [
    # LeCun et al. 1998 as taught today.
    ("lenet5", 61_706, 416_520),
    # Krizhevsky et al. 2012, "60 million parameters"; Caffe's bvlc_alexnet.
    ("alexnet_2012", 60_965_224, 724_406_816),
    ("alexnet_2012_ungrouped", 62_378_344, 1_135_256_096),
    # Simonyan & Zisserman 2014, Table 2: 134 and 133 million.
    ("vgg16_c", 133_638_952, 11_770_888_192),
    ("vgg11_lrn", 132_863_336, 7_609_090_048),
    # Lin et al. 2014: the published model has 29 MB.
    ("nin_imagenet", 7_595_176, 1_100_188_800),
    ("nin_cifar10", 966_986, 222_486_528),
    # Szegedy et al. 2014, Table 1; Caffe's bvlc_googlenet.
    ("googlenet_2014", 6_998_552, 1_582_671_872),
    # He et al. 2015, Table 6: 0.27M, 0.46M, 0.66M, 0.85M, 1.7M, 19.4M.
    ("resnet20", 269_722, 40_551_040),
    ("resnet32", 464_154, 68_862_592),
    ("resnet44", 658_586, 97_174_144),
    ("resnet56", 853_018, 125_485_696),
    ("resnet110", 1_727_962, 252_887_680),
    ("resnet1202", 19_421_274, 2_829_238_912),
    # The same, Table 1: 3.8, 7.6 and 11.3 billion multiply-adds.
    ("resnet50_v1", 25_557_032, 3_857_973_248),
    ("resnet101_v1", 44_549_160, 7_570_194_432),
    ("resnet152_v1", 60_192_808, 11_282_415_616),
    # Huang et al. 2017, Table 2: 1.0M, 7.0M, 27.2M, 0.8M, 15.3M, 25.6M.
    ("densenet40_12", 1_019_722, 264_812_928),
    ("densenet100_12", 6_979_642, 1_769_516_448),
    ("densenet100_24", 27_249_082, 6_889_347_744),
    ("densenet100_12_bc", 769_162, 287_929_692),
    ("densenet250_24_bc", 15_324_406, 5_418_785_724),
    ("densenet190_40_bc", 25_624_430, 9_301_945_740),
    # Zhang et al. 2018, Table 1: 143, 140, 137, 133 and 137 million multiply-adds.
    ("shufflenet_v1_g1", 1_531_936, 143_078_976),
    ("shufflenet_v1_g2", 1_733_848, 140_836_512),
    ("shufflenet_v1_g3", 1_865_728, 137_460_672),
    ("shufflenet_v1_g4", 1_968_344, 134_339_776),
    ("shufflenet_v1_g8", 2_434_768, 138_365_952),
    # Howard et al. 2017, Tables 4 and 5.
    ("mobilenet_v1_full", 29_294_088, 4_867_293_184),
    ("mobilenet_v1_shallow", 2_887_976, 307_323_392),
    # Tan & Le 2019, Table 2: 5.3M to 66M, 0.39G to 37G.
    ("tf_efficientnet_b0", 5_288_548, 385_814_752),
    ("tf_efficientnet_b1", 7_794_184, 686_802_832),
    ("tf_efficientnet_b2", 9_109_994, 993_561_872),
    ("tf_efficientnet_b3", 12_233_232, 1_827_141_392),
    ("tf_efficientnet_b4", 19_341_616, 4_393_771_024),
    ("tf_efficientnet_b5", 30_389_784, 10_266_384_752),
    ("tf_efficientnet_b6", 43_040_704, 19_067_593_536),
    ("tf_efficientnet_b7", 66_347_960, 37_745_884_192),
    # tensorflow/tpu, EfficientNet-Lite: 4.7M, 5.4M, 6.1M, 8.2M, 13.0M.
    ("efficientnet_lite0", 4_652_008, 385_187_552),
    ("efficientnet_lite1", 5_416_680, 600_185_232),
    ("efficientnet_lite2", 6_092_072, 859_736_272),
    ("efficientnet_lite3", 8_197_096, None),
    ("efficientnet_lite4", 13_006_568, None),
    # Tan et al. 2019, Table 1: 3.9M and 312M.
    ("mnasnet_a1", 3_887_038, 311_579_072),
    # Hu et al. 2018; Chollet 2017, Table 3; Szegedy et al. 2016; Redmon & Farhadi 2018; Han et al. 2020; Ding et al. 2021.
    ("seresnet50", 28_088_024, 3_860_488_192),
    ("xception", 22_855_952, 8_357_403_496),
    ("inception_v4", 42_679_816, 12_253_974_624),
    ("darknet53", 41_609_928, 9_285_115_904),
    ("ghostnet", 5_182_508, 141_150_512),
    ("repvgg_a0", 9_108_968, 1_512_581_120),
    ("repvgg_a0_deployed", 8_309_384, None),
    # Ronneberger et al. 2015; Redmon & Farhadi 2017 (the trainable parameters that Keras prints).
    ("unet", 31_030_658, None),
    ("yolo_v2", 50_962_889, None),
]


@pytest.mark.parametrize(("name", "parameters", "macs"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_counts(name: str, parameters: int, macs: int | None) -> None:
    net = netdsl.load(name)
    assert net.parameters == parameters
    assert macs is None or net.macs == macs


# Howard et al. 2017, Tables 6 and 7: width, resolution, parameters, multiply-accumulates; the paper prints them in
# millions (569, 418, 290, 186; 325; 149, 76; 41).
MOBILENETS = [
    (1.0, 224, 4_231_976, 568_740_352),
    (1.0, 192, 4_231_976, 418_121_728),
    (1.0, 160, 4_231_976, 290_675_200),
    (1.0, 128, 4_231_976, 186_400_768),
    (0.75, 224, 2_585_560, 325_400_448),
    (0.75, 192, 2_585_560, 239_273_472),
    (0.75, 160, 2_585_560, 166_396_800),
    (0.75, 128, 2_585_560, 106_770_432),
    (0.5, 224, 1_331_592, 149_497_088),
    (0.5, 192, 1_331_592, 109_970_432),
    (0.5, 160, 1_331_592, 76_524_800),
    (0.5, 128, 1_331_592, 49_160_192),
    (0.25, 224, 470_072, 41_030_272),
    (0.25, 192, 470_072, 30_212_608),
    (0.25, 160, 470_072, 21_059_200),
    (0.25, 128, 470_072, 13_570_048),
]


@pytest.mark.parametrize(("width", "resolution", "parameters", "macs"), MOBILENETS)
def test_mobilenet_v1_grid(width: float, resolution: int, parameters: int, macs: int) -> None:
    name = "mobilenet_v1"
    if width < 1:
        name += f"_{round(100 * width):03}"
    if resolution < 224:
        name += f"_{resolution}"
    for net in (netdsl.load(name), netdsl.load("mobilenet_v1", width=width, resolution=resolution)):
        assert (net.parameters, net.macs) == (parameters, macs)
        assert next(iter(net.inputs.values())).shape == (3, resolution, resolution)


def test_mobilenet_v1_shares_of_table_2() -> None:
    """Howard et al. 2017, Table 2: 94.86 % of the multiply-adds are pointwise, 3.06 % depthwise, 0.18 % dense; its
    1.19 % for the first convolution is 1.91 % with two digits swapped."""
    net = netdsl.load("mobilenet_v1")
    sums = {"conv_pw": 0, "conv_dw": 0, "conv_stem": 0, "classifier": 0}
    for name, macs in _macs(net).items():
        last = name.rpartition(".")[2]
        if last in sums:
            sums[last] += macs
    assert sums == {"conv_pw": 539_492_352, "conv_dw": 17_385_984, "conv_stem": 10_838_016, "classifier": 1_024_000}


def _macs(net: netdsl.Net) -> dict[str, int]:
    return {layer["name"]: layer["macs"] for layer in net.summary().json()["layers"]}


# ------------------------------------------------------------------------------------------------------ twins and heads


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_plain_twins_have_the_parameters_of_the_residual_networks(depth: int) -> None:
    """He et al. 2015, section 4.2: shortcuts of option A have no parameters, so the twins have the same number."""
    plain, residual = netdsl.load(f"plain{depth}"), netdsl.load(f"resnet{depth}")
    assert (plain.parameters, plain.macs) == (residual.parameters, residual.macs)
    assert _kinds(plain).isdisjoint({"add", "pad_channels"})
    # 6n + 2 layers with weights: convolutions and one dense layer.
    for net in (plain, residual):
        weighted = [layer for layer in net.summary().json()["layers"] if layer["kind"] in {"conv", "dense"}]
        assert len(weighted) == depth


def test_shortcuts_take_every_second_pixel_and_add_maps_of_zeros() -> None:
    """Option A by itself: with the last normalization of every unit silenced, only the shortcuts are left."""
    net = netdsl.load("resnet20")
    model = net.compile("float64")
    model.initialize(1)
    weights = {name: np.array(values) for name, values in model.weights.items()}
    for name in weights:
        if ".bn2." in name and name.endswith(("weight", "bias")):
            weights[name] = np.zeros_like(weights[name])
    model.load(weights)
    image = np.random.default_rng(2).normal(size=(1, 3, 32, 32))
    logits, taps = model(image, tap="bn1")
    maps = np.zeros((1, 64, 8, 8))
    maps[:, :16] = np.maximum(taps["bn1"], 0)[:, :, ::4, ::4]
    expected = maps.mean(axis=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
    assert np.abs(expected).max() > 0
    assert np.allclose(logits, expected)


@pytest.mark.parametrize(("depth", "residual"), [(18, 11_689_512), (34, 21_797_672)])
def test_plain_imagenet_networks_lack_the_projections_alone(depth: int, residual: int) -> None:
    """ResNet-18 and 34 less three 1x1 convolutions (64 to 128 to 256 to 512) with their batch normalisation."""
    projections = 64 * 128 + 2 * 128 + 128 * 256 + 2 * 256 + 256 * 512 + 2 * 512
    net = netdsl.load(f"plain{depth}")
    assert net.parameters == residual - projections
    assert "add" not in _kinds(net)


def _kinds(net: netdsl.Net) -> set[str]:
    return {layer["kind"] for layer in net.summary().json()["layers"]}


def test_googlenet_heads() -> None:
    """Szegedy et al. 2014, section 5: heads behind (4a) and (4d) with a 5x5 average pool of stride 3, a 1x1 convolution
    of 128 maps, 1024 units and a softmax; they run in training only."""
    net = netdsl.load("googlenet_2014")
    heads = {}
    for node in net.network.nodes():
        scope = node.name.partition(".")[0]
        if scope in {"loss1", "loss2"}:
            sizes = [weight.size for weight in node.layer.weights(*net.network.types_of(node.inputs))]
            heads[scope] = heads.get(scope, 0) + sum(sizes)
    assert heads == {"loss1": 3_188_840, "loss2": 3_190_888}
    assert net.parameters + sum(heads.values()) == 13_378_280
    assert set(net.network.auxiliary) == {"loss1", "loss2"}


# Table 1 of Szegedy et al. 2014: weights without biases (its K is 1024 where it agrees), multiply-adds, output.
INCEPTIONS = {
    "inception_3a": (163_328, 128_049_152, (256, 28, 28)),
    "inception_3b": (388_096, 304_267_264, (480, 28, 28)),
    "inception_4a": (375_552, 73_608_192, (512, 14, 14)),
    "inception_4b": (448_512, 87_908_352, (512, 14, 14)),
    "inception_4c": (509_440, 99_850_240, (512, 14, 14)),
    "inception_4d": (604_672, 118_515_712, (528, 14, 14)),
    "inception_4e": (867_328, 169_996_288, (832, 14, 14)),
    "inception_5a": (1_042_432, 51_079_168, (832, 7, 7)),
    "inception_5b": (1_442_816, 70_697_984, (1024, 7, 7)),
}


def test_googlenet_modules() -> None:
    net = netdsl.load("googlenet_2014")
    macs = _macs(net)
    for module, (weights, multiply_adds, shape) in INCEPTIONS.items():
        assert net.node(module).type.shape == shape
        assert sum(count for name, count in macs.items() if name.startswith(f"{module}.")) == multiply_adds
        owned = [
            weight.size
            for node in net.network.nodes()
            if node.name.startswith(f"{module}.")
            for weight in node.layer.weights(*net.network.types_of(node.inputs))
            if weight.name == "weight"
        ]
        assert sum(owned) == weights


# ------------------------------------------------------------------------------------------------------ LeNet-5 of 1998

# LeCun et al. 1998, section II.B: trainable parameters, connections, output (maps, height, width).
LENET = {
    "C1": (156, 122_304, (6, 28, 28)),
    "S2": (12, 5_880, (6, 14, 14)),
    "C3": (1_516, 151_600, (16, 10, 10)),
    "S4": (32, 2_000, (16, 5, 5)),
    "C5": (48_120, 48_120, (120, 1, 1)),
    "F6": (10_164, 10_164, (84,)),
    "OUTPUT": (0, 840, (10,)),
}


def test_lenet5_of_1998() -> None:
    net = netdsl.load("lenet5_1998")
    assert net.trainable_parameters == 60_000
    assert net.report.connections == 340_908
    for name, (trainable, connections, shape) in LENET.items():
        node = net.node(name)
        types = net.network.types_of(node.inputs)
        assert sum(weight.size for weight in node.layer.weights(*types) if weight.trainable) == trainable
        cost = node.layer.cost(types, node.type)
        assert cost is not None
        assert cost.connections == connections
        assert node.type.shape == shape


def test_lenet5_of_1998_links() -> None:
    """Table I: 60 of 96 links, each map of S2 read by ten of C3, and no two rows equal."""
    table = netdsl.load("lenet5_1998").node("C3").layer.connections  # type: ignore[attr-defined]
    assert [len(row) for row in table] == [3] * 6 + [4] * 9 + [6]
    assert all(sum(channel in row for row in table) == 10 for channel in range(6))
    assert len(set(table)) == 16


def test_lenet5_of_1998_answers_with_the_nearest_picture() -> None:
    """The output is 0 where F6 is exactly a digit's picture, and the pictures differ in at least 10 of 84 dots."""
    net = netdsl.load("lenet5_1998")
    node = net.node("OUTPUT")
    (weight,) = node.layer.weights(*net.network.types_of(node.inputs))
    pictures = np.asarray(weight.initial, dtype=float)
    assert pictures.shape == (10, 84)
    assert set(np.unique(pictures)) == {-1.0, 1.0}
    distances = node.layer.forward(np, [pictures], {weight.name: pictures})
    assert np.allclose(np.diag(distances), 0)
    apart = distances[~np.eye(10, dtype=bool)]
    assert apart.min() >= 10 * 4


# ------------------------------------------------------------------------------------------------------ other shapes


def test_unet_sizes() -> None:
    """Ronneberger et al. 2015, Figure 1: the sizes beside each level, down and up."""
    net = netdsl.load("unet")
    sizes = {
        "down1": 568,
        "down2": 280,
        "down3": 136,
        "down4": 64,
        "bottom": 28,
        "up4": 52,
        "up3": 100,
        "up2": 196,
        "up1": 388,
    }
    for name, size in sizes.items():
        assert net.node(name).type.spatial == (size, size), name
    assert net.outputs["classify"].shape == (2, 388, 388)


@pytest.mark.parametrize(
    ("name", "resolution"), [(f"efficientnet_lite{i}", size) for i, size in enumerate([224, 240, 260, 280, 300])]
)
def test_efficientnet_lite_resolutions(name: str, resolution: int) -> None:
    """tensorflow/tpu, efficientnet_lite_builder.py."""
    assert netdsl.load(name).inputs["image"].shape == (3, resolution, resolution)


@pytest.mark.parametrize(("name", "resolution", "macs"), [("lite3", 300, 1_607_554_544), ("lite4", 380, 3_943_564_112)])
def test_efficientnet_lite_at_other_resolutions(name: str, resolution: int, macs: int) -> None:
    """timm 1.0.31 runs these two larger; the multiply-accumulates are its."""
    assert netdsl.load(f"efficientnet_{name}", resolution=resolution).macs == macs


@pytest.mark.parametrize(
    ("width", "parameters", "macs"),
    [
        # tensorflow/models, slim mobilenet README: 1.66M and 59M, 1.95M and 97M, 2.61M and 209M, 6.06M and 582M with 1001
        # classes; these are timm 1.0.31's with 1000.
        (0.35, 1_677_128, 59_285_808),
        (0.5, 1_968_680, 97_131_840),
        (0.75, 2_636_424, 209_069_792),
        (1.0, 3_504_872, 300_774_272),
        (1.4, 6_108_776, 582_195_824),
    ],
)
def test_mobilenet_v2_widths(width: float, parameters: int, macs: int) -> None:
    net = netdsl.load("mobilenet_v2", width=width)
    assert (net.parameters, net.macs) == (parameters, macs)


def test_squeeze_excite_follows_the_input_of_the_block() -> None:
    """Tan & Le's code: a quarter of the channels that enter the block, not of the expanded ones."""
    net = netdsl.load("tf_efficientnet_b0")
    widths = [net.node(f"blocks.{name}.se.conv_reduce").type.channels for name in ("0.0", "1.0", "1.1", "4.0", "6.0")]
    assert widths == [8, 4, 6, 20, 48]
