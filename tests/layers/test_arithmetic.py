"""Functions of one element against Python's own, and what IEEE 754 says where there is no real result."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from loops import run, sample
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Layer
from netdsl.ir.types import TensorType
from netdsl.layers.arithmetic import Abs, Clip, Exp, Power, Sqrt, Square

FUNCTIONS: list[tuple[Layer, Callable[[float], float], bool]] = [
    (Abs(), lambda v: -v if v < 0 else v, False),
    (Square(), lambda v: v * v, False),
    (Sqrt(), math.sqrt, True),
    (Exp(), math.exp, False),
    (Power(exponent=3), lambda v: v * v * v, False),
    (Power(exponent=0.5), math.sqrt, True),
    (Power(exponent=-1), lambda v: 1 / v, True),
    (Clip(low=-0.5, high=1), lambda v: sorted([-0.5, v, 1])[1], False),
    (Clip(low=0.25), lambda v: max(v, 0.25), False),
    (Clip(high=0.25), lambda v: min(v, 0.25), False),
]


@pytest.mark.parametrize(
    ("layer", "function", "positive"), FUNCTIONS, ids=lambda value: str(getattr(value, "kind", ""))
)
@pytest.mark.parametrize("shape", [(5,), (3, 4, 5)], ids=str)
def test_each_element_by_itself(
    layer: Layer, function: Callable[[float], float], positive: bool, shape: tuple[int, ...]
) -> None:
    x = np.abs(sample(2, *shape)) + 0.1 if positive else sample(2, *shape)
    y = run(layer, x)
    for place in np.ndindex(*x.shape):
        assert y[place] == pytest.approx(function(float(x[place])), rel=1e-14, abs=1e-15)
    np.testing.assert_allclose(run(layer, x.astype(np.float32)), y, rtol=1e-5, atol=1e-6)
    assert layer.cost([], TensorType(shape)) == Cost(flops=math.prod(shape))
    assert layer.window([TensorType(shape)]) is None
    assert layer.infer(TensorType((None, 3))) == TensorType((None, 3))


def test_no_real_result() -> None:
    x = np.array([[-4.0, 0.0]])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(run(Sqrt(), x), [[math.nan, 0]])
        np.testing.assert_array_equal(run(Power(exponent=0.5), x), [[math.nan, 0]])
        np.testing.assert_array_equal(run(Power(exponent=-2), x), [[1 / 16, math.inf]])
        np.testing.assert_array_equal(run(Exp(), np.array([[1000.0, -1000.0]], np.float32)), [[math.inf, 0]])
    np.testing.assert_array_equal(run(Clip(low=0, high=1), np.array([[math.nan, math.inf]])), [[math.nan, 1]])


def test_identities() -> None:
    x = sample(2, 3, 4)
    np.testing.assert_allclose(run(Sqrt(), run(Square(), x)), run(Abs(), x), rtol=1e-14)
    np.testing.assert_allclose(run(Power(exponent=2), x), run(Square(), x), rtol=1e-14)
    np.testing.assert_array_equal(run(Clip(low=0, high=6), x), np.where(x < 0, 0, np.where(x > 6, 6, x)))


@pytest.mark.parametrize("wrong", [{}, {"low": 1, "high": 0}, {"low": math.inf}, {"high": "1"}])
def test_limits_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Clip(**wrong)
    with pytest.raises(ValidationError):
        Power(**wrong)


@pytest.mark.peer
def test_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = sample(2, 3, 4, 5).astype(np.float32)
    t = torch.from_numpy(x)
    np.testing.assert_array_equal(run(Abs(), x), t.abs())
    np.testing.assert_array_equal(run(Square(), x), t.square())
    np.testing.assert_allclose(run(Exp(), x), t.exp(), rtol=1e-6)
    np.testing.assert_allclose(run(Power(exponent=3), x), t.pow(3), rtol=1e-6)
    np.testing.assert_array_equal(run(Clip(low=-1, high=2), x), t.clamp(-1, 2))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(run(Sqrt(), x), t.sqrt(), rtol=1e-6)
        np.testing.assert_allclose(run(Power(exponent=1.5), x), t.pow(1.5), rtol=1e-6)
