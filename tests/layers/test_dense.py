"""Dense layers against sums, the course's numbers, and what is said where the input is no vector."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import run, sample
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Global, LayerError, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.dense import Dense


@given(n=st.integers(1, 6), units=st.integers(1, 5), batch=st.integers(1, 3), bias=st.booleans())
def test_every_output_is_a_weighted_sum(n, units, batch, bias):
    x, w, b = sample(batch, n), sample(units, n, seed=1), sample(units, seed=2)
    weights = {"weight": w, "bias": b} if bias else {"weight": w}
    y = run(Dense(units=units, bias=bias), x, **weights)
    for image in range(batch):
        for unit in range(units):
            total = math.fsum([float(x[image, i]) * float(w[unit, i]) for i in range(n)] + [float(b[unit])] * bias)
            assert y[image, unit] == pytest.approx(total, abs=1e-12)
    single = run(Dense(units=units, bias=bias), x.astype("f4"), **{name: v.astype("f4") for name, v in weights.items()})
    np.testing.assert_allclose(single, y, atol=1e-4)


# Lecture "CNN example" with the errata: 48,120, 10,164 and 850 parameters; "Why convolutions": 14,450,688 weights.
@pytest.mark.parametrize(
    ("n", "units", "bias", "params"),
    [
        (400, 120, True, 48_120),
        (120, 84, True, 10_164),
        (84, 10, True, 850),
        (3072, 4704, False, 14_450_688),
        (9216, 4096, True, 37_752_832),
        (1960, 1, True, 1961),
    ],
)
def test_counts_of_the_course(n, units, bias, params):
    x = TensorType((n,))
    layer = Dense(units=units, bias=bias)
    assert sum(weight.size for weight in layer.weights(x)) == params
    assert layer.infer(x) == TensorType((units,))
    assert layer.cost([x], layer.infer(x)) == Cost(n * units, units * bias, params)
    assert layer.window([x]) == Global()


def test_stated_weights():
    x = TensorType((3,))
    assert Dense(units=2, weight=((1, 2, 3), (4, 5, 6)), bias=(7, 8), trainable=False).weights(x) == (
        Weight("weight", (2, 3), trainable=False, initial=((1, 2, 3), (4, 5, 6))),
        Weight("bias", (2,), trainable=False, initial=(7, 8)),
    )
    assert Dense(units=2, weight=(1, 2, 3), bias=False).weights(x)[0].initial == (1, 2, 3)
    with pytest.raises(LayerError, match="values of shape 2x2 for its weight, which has shape 2x3") as caught:
        Dense(units=2, weight=((1, 2), (3, 4))).infer(x)
    assert caught.value.code == "E0304"
    with pytest.raises(LayerError, match="1 values for its bias") as caught:
        Dense(units=2, bias=(1,)).infer(x)
    assert caught.value.code == "E0304"


def test_maps_must_be_flattened():
    with pytest.raises(LayerError) as caught:
        Dense(units=10).infer(TensorType((16, 5, 5)))
    assert caught.value.code == "E0303"
    assert caught.value.message == "dense needs a vector, and its input is 16x5x5"
    assert caught.value.help.startswith("flatten first, which makes a vector of 400: flatten -> dense(...)")


def test_length_must_be_known():
    with pytest.raises(LayerError) as caught:
        Dense(units=10).infer(TensorType((None,)))
    assert caught.value.code == "E0309"


@pytest.mark.parametrize("attributes", [{"units": 0}, {"units": 2**24 + 1}, {"units": 2.0}, {"units": 2, "bias": 1}])
def test_attributes_that_make_no_sense(attributes):
    with pytest.raises(ValidationError):
        Dense(**attributes)
