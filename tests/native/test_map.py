"""Joins element by element, and every activation against its definition in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from maps import Map, empty, run

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.steps.map import CHUNK, map_step
from netdsl.backends.native.steps.view import Array
from netdsl.backends.native.target import Target

OPERATIONS: dict[str, tuple[int, Callable[..., Array]]] = {
    "copy": (1, lambda x: x),
    "add": (3, lambda x, y, z: x + y + z),
    "multiply": (2, lambda x, y: x * y),
    "subtract": (2, lambda x, y: x - y),
    "maximum": (2, np.maximum),
    "minimum": (3, lambda x, y, z: np.minimum(np.minimum(x, y), z)),
    "average": (3, lambda x, y, z: (x + y + z) / 3),
    "affine": (3, lambda x, a, b: a * x + b),
    "prelu": (2, lambda x, a: np.where(x > 0, x, a * x)),
}
SHAPES = [(1, 1, 1, 1), (2, 37, 3, 5), (3, 16, 4, 4), (1, 5, 31, 17), (1, 9, CHUNK // 4, 2)]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("gap", [0, 3])
def test_operations(target: Target, name: str, gap: int) -> None:
    count, function = OPERATIONS[name]
    numbers = np.random.default_rng(6)
    for shape in SHAPES:
        operands = [Map(numbers.standard_normal(shape), gap) for _ in range(count)]
        out = empty(*shape, gap=gap)
        run(target, map_step(name, target, name, [operand.view for operand in operands], out.view))
        expected = function(*(operand.values.astype(np.float64) for operand in operands))
        np.testing.assert_allclose(out.values, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "shape",
    [(2, 19, 1, 1), (1, 19, 1, 1), (2, 1, 4, 6), (1, 1, 1, 1), (1, 19, 4, 6)],
    ids=["squeeze-excite", "per channel", "per pixel", "scalar", "per image"],
)
def test_operands_that_repeat(target: Target, shape: tuple[int, ...]) -> None:
    numbers = np.random.default_rng(7)
    whole, part, out = (
        Map(numbers.standard_normal((2, 19, 4, 6))),
        Map(numbers.standard_normal(shape)),
        empty(2, 19, 4, 6),
    )
    run(target, map_step("multiply", target, "multiply", [whole.view, part.view], out.view))
    np.testing.assert_array_equal(out.values, whole.values * part.values)


def test_in_place(target: Target) -> None:
    x = Map(np.arange(-60, 60).reshape(1, 5, 4, 6))
    expected = np.maximum(x.values, 0)
    run(target, map_step("relu", target, "copy", [x.view], x.view, activation=("relu",)))
    np.testing.assert_array_equal(x.values, expected)


ACTIVATIONS: dict[Activation, Callable[[float], float]] = {
    ("relu",): lambda x: max(x, 0.0),
    ("clip", 0.0, 6.0): lambda x: min(max(x, 0.0), 6.0),
    ("leaky_relu", 0.1): lambda x: x if x > 0 else 0.1 * x,
    ("elu", 1.5): lambda x: x if x > 0 else 1.5 * math.expm1(x),
    ("selu",): lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    ("gelu",): lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    ("gelu_tanh",): lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ("silu",): lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0,
    ("sigmoid",): lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    ("hard_sigmoid",): lambda x: min(max(x + 3, 0), 6) / 6,
    ("hard_swish",): lambda x: x * min(max(x + 3, 0), 6) / 6,
    ("mish",): lambda x: x * math.tanh(math.log1p(math.exp(x))) if x < 30 else x,
    ("softplus",): lambda x: math.log1p(math.exp(x)) if x < 30 else x,
    ("tanh",): math.tanh,
    ("scaled_tanh", 1.7159, 2 / 3): lambda x: 1.7159 * math.tanh(2 / 3 * x),
}


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation[0])
def test_activations(target: Target, activation: Activation) -> None:
    numbers = np.random.default_rng(8)
    x = np.concatenate([numbers.normal(0, 3, 1500), np.linspace(-90, 90, 700), [0, 1e-9, -1e-9, 1e4, -1e4]])
    x = x.astype(np.float32)
    source, out = Map(x[None, :, None, None]), empty(1, len(x), 1, 1)
    run(target, map_step("activation", target, "copy", [source.view], out.view, activation=activation))
    expected = np.array([ACTIVATIONS[activation](float(value)) for value in x])
    np.testing.assert_allclose(out.values.reshape(-1), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation[0])
def test_what_is_not_a_number_stays_so(target: Target, activation: Activation) -> None:
    source, out = Map(np.full((1, 3, 1, 1), np.nan)), empty(1, 3, 1, 1)
    out.inside[...] = 0
    run(target, map_step("activation", target, "copy", [source.view], out.view, activation=activation))
    assert np.isnan(out.values).all()


def test_what_does_not_fit_is_refused(target: Target) -> None:
    x, y = empty(2, 3, 4, 5), empty(2, 3, 5, 4)
    with pytest.raises(ValueError, match="does not fit"):
        map_step("add", target, "add", [x.view, y.view], x.view)
    with pytest.raises(ValueError, match="operands"):
        map_step("add", target, "add", [x.view] * 9, x.view)
