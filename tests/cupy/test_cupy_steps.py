"""The plain form of every layer, on a played device, against the layer itself in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import assert_close, inputs_of, make, networks, reference, values_of
from test_fuzz_layers import EVERY, Case, identify, network_of

import netdsl
from netdsl.backends.cupy.executor import CupyExecutable
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.precision import PRECISIONS, Precision
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType
from netdsl.layers.vocabulary import LAYERS
from netdsl.passes import bind, run
from netdsl.program.lower import lower

ml_dtypes = pytest.importorskip("ml_dtypes")

PLAIN_NAMES = {
    "relu", "leaky_relu", "elu", "selu", "silu", "sigmoid", "hard_sigmoid", "softplus", "scaled_tanh", "sqrt", "minimum",
    "scale", "shift",
}  # fmt: skip
MORE: list[Case] = [(kind, {}, ((5, 3, 2),)) for kind in sorted(PLAIN_NAMES - {"scale", "shift", "minimum"})] + [
    ("scale", {"by": 0.5}, ((5, 3, 2),)),
    ("shift", {"by": 0.5}, ((7,),)),
    ("minimum", {}, ((5, 3, 2), (5, 3, 2))),
    ("stochastic_depth", {"rate": 0.5}, ((5, 3, 2),)),
    ("depthwise_conv", {"kernel": 3, "multiplier": 2, "padding": 1}, ((6, 5, 4),)),
    ("depthwise_conv", {"kernel": (3,), "stride": 2}, ((6, 9),)),
    ("depthwise_conv", {"kernel": 2}, ((3, 4, 3, 5),)),
    ("conv", {"filters": 3, "kernel": 3, "padding": 6}, ((2, 2, 3),)),
    ("conv", {"filters": 3, "kernel": 3, "padding": 1, "padding_mode": "reflect"}, ((2, 4, 3),)),
    ("conv", {"filters": 3, "kernel": 3, "padding": 1, "flip_kernel": True}, ((2, 4, 3),)),
    ("avg_pool", {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}, ((3, 6, 8),)),
    ("max_pool", {"kernel": (2,), "stride": 3}, ((4, 11),)),
    ("global_max_pool", {}, ((4, 3, 3, 2),)),
]
CASES = EVERY + MORE


def executable(network: Network, values: dict[str, Any], batch: int, precision: Precision) -> CupyExecutable:
    program = lower(bind(network, values), network.input_types(), batch)
    return CupyExecutable(program, FakeDevice(), precision, {}, candidates=[])


def test_every_layer_is_here() -> None:
    assert set(LAYERS) - {kind for kind, _, _ in CASES} <= {"input"}


@pytest.mark.parametrize("entry", CASES, ids=[identify(entry) for entry in CASES])
def test_a_layer(entry: Case) -> None:
    network = network_of(*entry)
    values = values_of(network)
    for batch in (1, 3):
        found = executable(network, values, batch, PRECISIONS["float32"])
        inputs = given_to(entry, network, batch)
        expected = reference(bind(network, values), inputs)["out"]
        for _ in range(3):  # launch by launch, then twice as graphs
            assert_close(found(inputs)["out"], expected, 4e-6)


def given_to(entry: Case, network: Network, batch: int) -> dict[str, Any]:
    """Inputs that the layer has an answer for."""
    inputs = inputs_of(network, batch)
    return {name: np.abs(array) for name, array in inputs.items()} if entry[0] == "sqrt" else inputs


def rounded(array: Any, dtype: Any) -> Any:
    return array.astype(dtype).astype(np.float32) if array.dtype.kind == "f" else array


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("entry", CASES[::3], ids=[identify(entry) for entry in CASES[::3]])
def test_halves_are_rounded_once(entry: Case, name: str) -> None:
    """On inputs and weights that are halves already, all that is lost is the rounding of the result."""
    precision = PRECISIONS[name]
    network = network_of(*entry)
    values = {key: rounded(value, precision.dtype) for key, value in values_of(network).items()}
    inputs = {key: rounded(value, precision.dtype) for key, value in given_to(entry, network, 2).items()}
    expected = reference(bind(network, values), inputs)["out"]
    found = executable(network, values, 2, precision)(inputs)["out"]
    largest = float(ml_dtypes.finfo(precision.dtype).max)
    tiny = float(ml_dtypes.finfo(precision.dtype).smallest_subnormal)
    bound = precision.epsilon / 2 * np.abs(expected) + 2e-5 * np.abs(expected).clip(0, largest).max() + tiny
    inside = np.abs(expected) < 0.99 * largest
    error = np.abs(found - expected)
    assert (error[inside] <= bound[inside]).all(), (error[inside] / bound[inside]).max()
    assert np.isinf(found[np.abs(expected) > 1.01 * largest]).all()


def test_tf32_rounds_the_factors_of_products_alone() -> None:
    """Sums of 512 products whose factors have 11 bits: between the error of halves and that of float32."""
    network = network_of("conv", {"filters": 24, "kernel": 4}, ((32, 9, 9),))
    values, inputs = values_of(network), inputs_of(network, 2)
    expected = reference(bind(network, values), inputs)["out"]
    found = executable(network, values, 2, PRECISIONS["tf32"])(inputs)["out"]
    error = np.abs(found - expected).max() / expected.std()
    assert 1e-5 < error < 4 * PRECISIONS["tf32"].epsilon
    same = executable(network_of("relu", {}, ((5, 3, 2),)), {}, 2, PRECISIONS["tf32"])
    x = inputs_of(network_of("relu", {}, ((5, 3, 2),)), 2)
    np.testing.assert_array_equal(same(x)["out"], np.maximum(next(iter(x.values())), 0))


def test_a_batch_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is laid out has a limit: images are computed a few at a time."""
    from netdsl.backends.cupy.steps import windows

    bodies: list[Case] = [
        ("conv", {"filters": 6, "kernel": 3, "padding": 1}, ((4, 9, 8),)),
        ("conv", {"filters": 6, "kernel": 3, "groups": 2}, ((4, 9, 8),)),
        ("conv", {"filters": 6, "kernel": 1}, ((4, 9, 8),)),
        ("depthwise_conv", {"kernel": 3}, ((4, 9, 8),)),
        ("max_pool", {"kernel": 3, "padding": 1}, ((4, 9, 8),)),
        ("avg_pool", {"kernel": 2}, ((4, 9, 8),)),
    ]
    for precision in ("float32", "bfloat16"):
        for entry in bodies:
            network = network_of(*entry)
            values, inputs = values_of(network), inputs_of(network, 7)
            whole = executable(network, values, 7, PRECISIONS[precision])(inputs)["out"]
            with monkeypatch.context() as patch:
                patch.setattr(windows, "MOST_BYTES", 20_000)
                assert windows.together(7, (10_000, 1)) == 2
                split = executable(network, values, 7, PRECISIONS[precision])(inputs)["out"]
            np.testing.assert_allclose(split, whole, rtol=1e-2 if precision == "bfloat16" else 1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks(most=14), batch=st.integers(1, 3), passes=st.booleans())
def test_a_program_computes_what_its_network_does(network: Network, batch: int, passes: bool) -> None:
    bound = bind(network, values_of(network))
    inputs = inputs_of(network, batch)
    expected = reference(bound, inputs)
    program = lower(run(bound) if passes else bound, network.input_types(), batch)
    found = CupyExecutable(program, FakeDevice(), PRECISIONS["float32"], {}, candidates=[])
    for _ in range(2):  # the second run replays graphs over what the first left in the arena
        outputs = found(inputs)
        assert list(outputs) == list(network.outputs)
        for name, array in expected.items():
            assert_close(outputs[name], array, 1e-3, name)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks(most=10), name=st.sampled_from(["float16", "bfloat16"]))
def test_halves_give_the_same_bits_each_time(network: Network, name: str) -> None:
    """Launch by launch and as graphs, over whatever the run before left in the arena."""
    bound = bind(network, values_of(network))
    program = lower(run(bound), network.input_types(), 2)
    found = CupyExecutable(program, FakeDevice(), PRECISIONS[name], {}, candidates=[])
    inputs = inputs_of(network, 2)
    first = found(inputs)
    for name_, array in found(inputs).items():
        np.testing.assert_array_equal(array, first[name_])


def test_whole_numbers_are_exact_in_every_precision() -> None:
    """Small whole numbers are halves, and so are their sums: no precision may differ by a bit."""
    network = Network("whole")
    network.add(Node("x", make("input", shape=(3, 8, 8)), (), TensorType((3, 8, 8)), None, "x", ()))
    network.inputs.append("x")
    steps = [
        ("a", make("conv", filters=4, kernel=3, padding=1), ("x",)),
        ("b", make("relu"), ("a",)),
        ("c", make("depthwise_conv", kernel=3, padding=1), ("b",)),
        ("d", make("add"), ("b", "c")),
        ("e", make("max_pool", kernel=2), ("d",)),
        ("f", make("concat"), ("e", "e")),
        ("g", make("channel_shuffle", groups=2), ("f",)),
    ]
    for name, layer, sources in steps:
        network.add(Node(name, layer, sources, layer.infer(*network.types_of(sources)), None, name, ()))
    network.outputs["out"] = "g"
    rng = np.random.default_rng(3)
    values = {key: rng.integers(-1, 2, value.shape).astype(np.float32) for key, value in values_of(network).items()}
    inputs = {"x": rng.integers(-1, 2, (2, 3, 8, 8)).astype(np.float32)}
    expected = reference(bind(network, values), inputs)["out"]
    assert np.abs(expected).max() < 256
    for precision in PRECISIONS.values():
        program = lower(run(bind(network, values)), network.input_types(), 2)
        found = CupyExecutable(program, FakeDevice(), precision, {}, candidates=[])(inputs)["out"]
        np.testing.assert_array_equal(found, expected, err_msg=precision.name)


BOUNDS = {"float32": 1e-5, "tf32": 1e-2, "float16": 1e-2, "bfloat16": 8e-2}
"""Of the standard deviation of the outputs, after the fifty layers of a small network."""


def test_a_network_of_the_library_in_every_precision() -> None:
    net = netdsl.load("mobilenet_v3_small", shape="3x32x32")
    exact = net.compile("float64", backend="reference")
    exact.initialize(0)
    rng = np.random.default_rng(0)
    values = {
        key: (value + 0.1 * np.abs(rng.normal(size=value.shape)) * (value.ndim == 1)).astype(np.float32)
        if value.dtype.kind == "f"
        else value
        for key, value in exact.weights.items()
    }
    exact.load(values)
    x = rng.normal(size=(2, 3, 32, 32)).astype(np.float32)
    expected = np.asarray(exact(x.astype(np.float64)))
    program = lower(run(bind(net.network, values)), net.network.input_types(), 2)
    errors = {}
    for precision in PRECISIONS.values():
        found = CupyExecutable(program, FakeDevice(), precision, {}, candidates=[], graphs=False)
        (array,) = found({next(iter(net.inputs)): x}).values()
        errors[precision.name] = np.abs(array - expected).max() / expected.std()
    assert all(errors[key] <= bound for key, bound in BOUNDS.items()), errors
    assert errors["float32"] < errors["tf32"] < errors["bfloat16"]
