"""Counts, against numbers that papers publish and sums done by hand."""

import time

import pytest
from toys import Concat, Conv, Dense, Flatten, Gain, GlobalPool, Norm, Pool, Relu, Wired, chain

from netdsl.analysis.cost import measure, weights
from netdsl.ir.network import Network


def lenet() -> Network:
    return chain(
        "lenet5", (1, 32, 32),
        Conv(filters=6, kernel=5), Pool(kernel=2), Conv(filters=16, kernel=5), Pool(kernel=2), Flatten(),
        Dense(units=120), Dense(units=84), Dense(units=10),
    )  # fmt: skip


def test_lenet_of_the_lecture() -> None:
    report = measure(lenet())
    assert report.parameters == 61_706  # 156 + 2,416 + 48,120 + 10,164 + 850
    assert [row.parameters for row in report.rows if row.parameters] == [156, 2416, 48_120, 10_164, 850]
    assert report.macs == 6 * 28 * 28 * 25 + 16 * 10 * 10 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    # The first layer of LeNet-5 has 122,304 connections (LeCun et al. 1998, section II-B).
    assert report.rows[1].connections == 122_304
    assert report.trainable_parameters == 61_706
    assert report.buffers == 0
    assert report.flops == 2 * report.macs + report.other_flops
    assert report.parameter_bytes == 4 * 61_706
    assert report.unknown is None
    assert report.why_unknown is None


def test_vgg16() -> None:
    widths = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]
    layers = [Conv(filters=w, kernel=3, padding=1) if w else Pool(kernel=2) for w in widths]
    network = chain("vgg16", (3, 224, 224), *layers, Flatten(), Dense(units=4096), Dense(units=4096), Dense(units=1000))
    report = measure(network)
    assert report.parameters == 138_357_544
    assert report.macs == 15_470_264_320


def test_activation_bytes_are_those_of_every_tensor() -> None:
    report = measure(chain("small", (3, 4, 5), Conv(filters=2, kernel=3), Relu()))
    assert [row.activation_bytes for row in report.rows] == [4 * 60, 4 * 12, 4 * 12]
    assert report.activation_bytes == 4 * 84


def test_the_input_costs_nothing() -> None:
    row = measure(lenet()).rows[0]
    assert (row.macs, row.other_flops, row.connections, row.parameters) == (0, 0, 0, 0)


def test_normalization_has_three_buffers() -> None:
    report = measure(chain("norm", (8, 4, 4), Norm(), Relu(), Norm()))
    assert report.buffers == 6
    assert report.parameters == 32


def test_fixed_parameters_are_parameters_that_are_not_trained() -> None:
    report = measure(chain("fixed", (3, 8, 8), Conv(filters=4, kernel=3, bias=False, trainable=False), Relu()))
    assert (report.parameters, report.trainable_parameters) == (108, 0)


def with_auxiliary_head() -> Network:
    wired = Wired("two_headed", 3, 8, 8)
    wired("stem", Conv(filters=4, kernel=3, padding=1))
    wired("aux.conv", Conv(filters=2, kernel=1), "stem")
    wired("aux.bn", Norm())
    wired.network.auxiliary["aux"] = "aux.bn"
    wired("pool", GlobalPool(), "stem")
    wired("flatten", Flatten())
    wired("fc", Dense(units=10))
    return wired.output()


def test_auxiliary_heads_are_beside_the_headline() -> None:
    report = measure(with_auxiliary_head())
    assert report.parameters == (4 * 27 + 4) + 50
    assert report.macs == 8 * 8 * 4 * 27 + 40
    assert report.buffers == 0
    assert report.with_auxiliary.parameters == report.parameters + (2 * 4 + 2) + 4
    assert report.with_auxiliary.macs == report.macs + 8 * 8 * 2 * 4
    assert report.with_auxiliary.buffers == 3
    assert [row.name for row in report.rows if row.auxiliary] == ["aux.conv", "aux.bn"]
    assert measure(with_auxiliary_head(), auxiliary=True).parameters == report.with_auxiliary.parameters


def siamese() -> Network:
    wired = Wired("siamese", left=(1, 8, 8), right=(1, 8, 8))
    conv = Conv(filters=4, kernel=3)
    wired("conv", conv, "left")
    wired("again", conv, "right", address="conv")
    wired("both", Concat(), ["conv", "again"])
    return wired.output()


def test_shared_weights_count_once_and_cost_every_time() -> None:
    network = siamese()
    report = measure(network)
    assert report.parameters == 40
    assert report.macs == 2 * 6 * 6 * 4 * 9
    assert [row.parameters for row in report.rows] == [0, 0, 40, 0, 0]
    assert [name for name, _ in weights(network)] == ["conv.weight", "conv.bias"]


def test_weights_that_an_auxiliary_head_applies_first_belong_to_the_main_part() -> None:
    wired = Wired("shared_with_head", 3, 4, 4)
    conv = Conv(filters=3, kernel=1)
    wired("head", conv, "image")
    wired.network.auxiliary["head"] = "head"
    wired("body", conv, "image", address="head")
    report = measure(wired.output())
    assert report.parameters == 12
    assert report.with_auxiliary.parameters == 12


def test_names_of_weights() -> None:
    wired = Wired("names", 3, 4, 4)
    wired("stage.0.conv", Conv(filters=2, kernel=3))
    wired("stage.0.bn", Norm())
    wired("stage.0.layer_scale", Gain())
    found = weights(wired.output())
    assert [(name, weight.shape) for name, weight in found] == [
        ("stage.0.conv.weight", (2, 3, 3, 3)),
        ("stage.0.conv.bias", (2,)),
        ("stage.0.bn.weight", (2,)),
        ("stage.0.bn.bias", (2,)),
        ("stage.0.bn.running_mean", (2,)),
        ("stage.0.bn.running_var", (2,)),
        ("stage.0.bn.num_batches_tracked", ()),
        ("stage.0.layer_scale", (2, 1, 1)),
    ]
    assert "aux.conv.weight" in dict(weights(with_auxiliary_head()))


def test_unknown_extents_leave_the_costs_unknown_and_say_why() -> None:
    report = measure(chain("any_size", (3, None, None), Conv(filters=8, kernel=3), Relu()))
    assert report.parameters == 8 * 27 + 8
    assert (report.macs, report.flops, report.other_flops, report.connections) == (None, None, None, None)
    assert report.activation_bytes is None
    assert report.unknown == "image"
    assert report.why_unknown is not None
    assert "`image` is 3x?x?" in report.why_unknown


@pytest.mark.parametrize("count", [20_000])
def test_the_time_for_repeated_layers_is_that_of_the_walk(count: int) -> None:
    asked = 0

    class Counting(Conv):
        def cost(self, inputs, output):  # type: ignore[no-untyped-def]
            nonlocal asked
            asked += 1
            return super().cost(inputs, output)

    network = chain("deep", (8, 8, 8), *[Counting(filters=8, kernel=3, padding=1)] * count)
    start = time.perf_counter()
    report = measure(network)
    assert time.perf_counter() - start < 2
    assert asked == 1
    assert report.parameters == count * (8 * 72 + 8)
    assert report.macs == count * 64 * 8 * 72
