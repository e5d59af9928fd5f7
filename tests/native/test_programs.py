"""Whole networks of the library: native = reference in double precision, on every kind of code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netdsl
from netdsl.backends.native.backend import BACKEND
from netdsl.backends.native.executor import NativeProgram
from netdsl.backends.native.target import Target, host_target
from netdsl.backends.reference import Model
from netdsl.passes import bind
from netdsl.passes import run as passes
from netdsl.program.ir import Program
from netdsl.program.lower import lower

NETWORKS: dict[str, tuple[int, ...] | None] = {
    "lenet5": None,
    "lenet5_1998": None,
    "resnet18": (3, 40, 40),
    "resnet20": None,
    "mobilenet_v2": (3, 37, 45),
    "mobilenet_v3_small": (3, 48, 48),
    "efficientnet_b0": (3, 64, 64),
    "squeezenet1_0": (3, 64, 64),
    "shufflenet_v2_x0_5": (3, 64, 64),
    "densenet40_12": None,
    "resnext50_32x4d": (3, 33, 33),
    "convnext_tiny": (3, 32, 32),
    "googlenet": (3, 64, 64),
    "unet": (1, 188, 188),
    "yolo_v2": (3, 64, 64),
    "nin_cifar10": None,
    "convolution_1d": None,
    "convolution_3d": None,
}
EVERYWHERE = ("lenet5", "mobilenet_v2", "resnet18", "efficientnet_b0")
"""Networks that every kind of code runs; the others run on the widest."""


def prepared(name: str, batch: int, shape: tuple[int, ...] | None) -> tuple[Model, Program, dict[str, Any]]:
    net = netdsl.load(name, shape=shape)
    model = Model(net.network)
    model.initialize(0)
    bound = passes(bind(net.network, model.weights))
    program = lower(bound, bound.network.input_types(), batch)
    numbers = np.random.default_rng(1)
    inputs = {
        name: numbers.standard_normal((batch, *type_.shape)).astype(np.float32) for name, type_ in net.inputs.items()
    }
    return model, program, inputs


def truth(model: Model, inputs: dict[str, Any]) -> dict[str, Any]:
    exact = Model(model.network, "float64")
    exact.load(dict(model.weights))
    return exact.run({name: x.astype(np.float64) for name, x in inputs.items()})[0]


def check(name: str, target: Target, batch: int) -> None:
    model, program, inputs = prepared(name, batch, NETWORKS[name])
    found = NativeProgram(program, 2, target).run(inputs)
    for output, expected in truth(model, inputs).items():
        assert found[output].shape == expected.shape
        # The numerical contract: within 1e-4 of the standard deviation of the outputs.
        assert abs(found[output] - expected).max() <= 1e-4 * expected.std()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    check(name, host_target(), 1 if name == "unet" else 2)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_networks_on_every_kind_of_code(name: str, target: Target) -> None:
    check(name, target, 1)


def test_the_same_bits_again_and_on_any_number_of_threads() -> None:
    _, program, inputs = prepared("resnet18", 1, (3, 64, 64))
    outputs = [NativeProgram(program, threads).run(inputs) for threads in (1, 1, 3)]
    again = NativeProgram(program, 2)
    outputs += [again.run(inputs) for _ in range(3)]
    for other in outputs[1:]:
        for name, expected in outputs[0].items():
            np.testing.assert_array_equal(other[name], expected)


def test_results_are_the_callers_own() -> None:
    _, program, inputs = prepared("lenet5", 1, None)
    native = NativeProgram(program, 1)
    (first,) = native.run(inputs).values()
    kept = first.copy()
    native.run({name: -x for name, x in inputs.items()})
    np.testing.assert_array_equal(first, kept)


def test_weights_are_packed_once_for_all_shapes() -> None:
    model, program, inputs = prepared("lenet5", 3, None)
    packs: dict[Any, Any] = {}
    BACKEND.build(program, 1, packs)
    before = dict(packs)
    _, twice, _ = prepared("lenet5", 6, None)
    BACKEND.build(twice, 1, packs)
    shared = [key for key in packs if key in before]
    assert shared and all(packs[key] is before[key] or packs[key][0] is before[key][0] for key in shared)
    del model, inputs


def test_it_says_how_each_step_is_computed() -> None:
    network = netdsl.loads("network n() { input x: 2x3x3\n conv(4, 3x3) -> abs -> power(1.3) }").network
    model = Model(network)
    model.initialize(0)
    native = NativeProgram(lower(passes(bind(network, model.weights)), network.input_types(), 1), 1)
    assert native.kernels[:2] == ["conv", "grid"]
    assert native.kernels[2].startswith("numpy (a power")


def test_an_input_of_another_shape_is_refused() -> None:
    _, program, inputs = prepared("lenet5", 1, None)
    with pytest.raises(ValueError, match="the Program is for"):
        NativeProgram(program, 1).run({name: x[:, :, 1:] for name, x in inputs.items()})
