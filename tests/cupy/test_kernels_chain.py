"""Generated chains of functions of one element: every layer and its derivative, broadcasting, slices, casts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from host_kernels import Guarded, Host, array_of, close, empty, needs_compiler, read

from netdsl.backends.cupy.kernels.chain import Operand, chain, channels
from netdsl.backends.cupy.kernels.functions import function_text, has_function, literal, slope_text
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.backends.cupy.kernels.view import View, dense, vector
from netdsl.ir.layer import Layer, Passed
from netdsl.layers import activation, arithmetic, scale
from netdsl.layers.norm import LayerNorm

pytestmark = needs_compiler

FUNCTIONS: list[Layer] = [
    activation.Relu(), activation.Relu6(), activation.LeakyRelu(slope=0.1), activation.Elu(alpha=0.7), activation.Selu(),
    activation.Gelu(), activation.Gelu(approximate="tanh"), activation.Silu(), activation.Sigmoid(),
    activation.HardSigmoid(), activation.HardSwish(), activation.Mish(), activation.Softplus(), activation.Tanh(),
    activation.ScaledTanh(), arithmetic.Abs(), arithmetic.Square(), arithmetic.Sqrt(), arithmetic.Exp(),
    arithmetic.Power(exponent=-1), arithmetic.Power(exponent=0.5), arithmetic.Power(exponent=0), arithmetic.Clip(low=-1),
    arithmetic.Clip(low=-1, high=2.5), scale.Scale(by=-0.3), scale.Shift(by=1.25),
]  # fmt: skip
VIEW = dense((1, 1, 1, 1001))


def values(layer: Layer) -> np.ndarray:
    """Numbers near 0, where functions bend, and far from it; the edges of clamps among them."""
    x = np.concatenate(
        [np.linspace(-6, 6, 961), [-3.0, 3.0, 0.0, -0.0], np.geomspace(7, 80, 18), -np.geomspace(7, 80, 18)]
    )
    x = x.astype(np.float32).astype(np.float64)
    if isinstance(layer, arithmetic.Sqrt | arithmetic.Power):
        x = np.abs(x) + 0.01
    return x.reshape(1, 1, 1, -1).astype(np.float32).astype(np.float64)


def forward(layer: Layer) -> Work:
    return chain([Operand("x", VIEW)], [Operand("y", VIEW)], ["y = f(x);"], texts=[function_text("f", layer)])


def back(layer: Layer) -> Work:
    operands = [Operand(name, VIEW) for name in ("dy", "x", "value")]
    return chain(operands, [Operand("dx", VIEW)], ["dx = dy * slope(x, value);"], texts=[slope_text("slope", layer)])


@pytest.fixture(scope="module")
def host() -> Host:
    works = [work for layer in FUNCTIONS for work in (forward(layer), back(layer))]
    return Host(kernel for work in [*works, *(case[0] for case in BROADCASTS.values())] for kernel in work.kernels)


@pytest.mark.parametrize("layer", FUNCTIONS, ids=lambda layer: repr(layer))
def test_functions_and_their_derivatives(host: Host, layer: Layer) -> None:
    x = values(layer)
    found = host.run(forward(layer), {"x": array_of(VIEW, x)}, {"y": empty(VIEW)})
    wanted = layer.forward(np, [x], {})
    np.testing.assert_allclose(read(VIEW, found["y"]), wanted, rtol=3e-6, atol=1e-6)
    dy = np.random.default_rng(0).standard_normal(x.shape)
    given = {"dy": array_of(VIEW, dy), "x": array_of(VIEW, x), "value": array_of(VIEW, wanted)}
    found = host.run(back(layer), given, {"dx": empty(VIEW)})
    slope = layer.derive(
        np, dy.astype(np.float32).astype(np.float64), Passed((x,), wanted, (), {}, (True,), frozenset())
    )
    np.testing.assert_allclose(read(VIEW, found["dx"]), slope.inputs[0], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("layer", [activation.Relu(), activation.Relu6(), activation.HardSwish(), activation.Silu()])
def test_what_is_no_number_stays_none(host: Host, layer: Layer) -> None:
    x = np.full(VIEW.size, np.nan, np.float32)
    found = host.run(forward(layer), {"x": x}, {"y": np.zeros(VIEW.size, np.float32)})
    assert np.isnan(found["y"]).all()


def view(*shape: int, dtype: str = "float32", gap: int = 0, offset: int = 0) -> View:
    n, h, w, c = shape
    return View((n, h, w, c), (h * w * (c + gap), w * (c + gap), c + gap), dtype, offset)


def sum_of(out: View, *operands: View) -> tuple[Work, tuple[View, ...], View]:
    letters = "abcd"[: len(operands)]
    made = chain(
        [Operand(letter, operand) for letter, operand in zip(letters, operands, strict=True)],
        [Operand("y", out)],
        [f"y = {' + '.join(letters)};"],
    )
    return made, operands, out


BROADCASTS = {
    "flat": sum_of(view(2, 3, 5, 7), view(2, 3, 5, 7), view(2, 3, 5, 7)),
    "gate": sum_of(view(3, 4, 5, 8, dtype="float16"), view(3, 4, 5, 8, dtype="float16"), view(3, 1, 1, 8, dtype="float16")),
    "channel": sum_of(view(2, 3, 4, 12, dtype="bfloat16"), view(2, 3, 4, 12, dtype="bfloat16"), channels("b", 12).view),
    "mask": sum_of(view(2, 3, 5, 6), view(2, 3, 5, 6), view(2, 3, 5, 1)),
    "number": sum_of(view(2, 1, 1, 9), view(2, 1, 1, 9), view(1, 1, 1, 1)),
    "rows": sum_of(view(2, 3, 5, 4), view(2, 3, 1, 4), view(2, 1, 5, 4)),
    "slices": sum_of(view(2, 3, 5, 4, gap=8), view(2, 3, 5, 4, gap=4), view(2, 3, 5, 4)),
    "odd slices": sum_of(view(2, 3, 5, 3, gap=2), view(2, 3, 5, 3, gap=1)),
    "cut rows": sum_of(view(2, 2, 3, 4), View((2, 2, 3, 4), (60, 20, 4))),
    "gate of one map": sum_of(view(3, 1, 1, 8), view(3, 1, 1, 8), view(3, 1, 1, 8, gap=4)),
    "cast": sum_of(view(2, 2, 3, 16, dtype="bfloat16"), view(2, 2, 3, 16), view(2, 2, 3, 16, dtype="float16")),
    "one map": sum_of(view(17, 1, 1, 1), view(17, 1, 1, 1), view(1, 1, 1, 1)),
    "batch of gates": sum_of(view(2, 1, 1, 8), view(2, 1, 1, 8), view(1, 1, 1, 8), view(2, 1, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", BROADCASTS)
def test_operands_broadcast(host: Host, name: str) -> None:
    work, operands, out = BROADCASTS[name]
    draw = np.random.default_rng(1)
    given = {
        letter: array_of(operand, draw.standard_normal(operand.shape))
        for letter, operand in zip("abcd", operands, strict=False)
    }
    found = host.run(work, given, {"y": empty(out)})
    wanted: Any = sum(read(operand, given[letter]) for letter, operand in zip("abcd", operands, strict=False))
    close(read(out, found["y"]), np.broadcast_to(wanted, out.shape), out.dtype)


def test_parameters_may_lie_anywhere(host: Host) -> None:
    """The vectors of a network lie behind each other: a GPU would fault at a word that begins between two."""
    work, (x, vector_view), out = BROADCASTS["channel"]
    (kernel,) = work.kernels
    draw = np.random.default_rng(2)
    values, parameters = array_of(x, draw.standard_normal(x.shape)), draw.standard_normal(13).astype(np.float32)
    held = {"a": Guarded(values), "b": Guarded(parameters), "y": Guarded(empty(out))}
    addresses = {name: guarded.address for name, guarded in held.items()}
    host.launch(kernel, addresses | {"b": addresses["b"] + 4})
    close(read(out, held["y"].array), read(x, values) + parameters[1:], out.dtype)
    with pytest.raises(AssertionError, match="multiple"):
        host.launch(kernel, addresses | {"a": addresses["a"] + 4})
    assert vector_view.channels == 12


def test_what_does_not_broadcast_is_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        sum_of(view(2, 3, 5, 7), view(2, 3, 4, 7))


def test_vectors_are_as_wide_as_alignment_allows() -> None:
    assert vector([view(2, 3, 5, 16, dtype="float16")]) == 8
    assert vector([view(2, 3, 5, 16)]) == 4
    assert vector([view(2, 3, 5, 16, dtype="float16", gap=2)]) == 2
    assert vector([view(2, 3, 5, 16, dtype="float16", offset=4)]) == 4
    assert vector([view(2, 3, 5, 13)]) == 1
    assert vector([View((1, 1, 1, 8), (3, 3, 3), "float16")]) == 8  # strides over one index are never walked


def test_literals_are_exact() -> None:
    assert float.fromhex(literal(0.1)[:-1]) == np.float32(0.1)
    assert literal(1e300) == "infinity()"
    assert literal(-1e300) == "(-infinity())"


def test_layers_that_look_around_have_no_expression() -> None:
    assert not has_function(LayerNorm())
    assert has_function(None)
