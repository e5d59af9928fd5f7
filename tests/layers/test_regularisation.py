"""Regularisation does nothing in evaluation and accepts only probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Layer, LayerError
from netdsl.ir.types import TensorType
from netdsl.layers.regularisation import Dropout, StochasticDepth

LAYERS = [Dropout(), Dropout(rate=0.2, spatial=True), StochasticDepth(rate=0.2), StochasticDepth(rate=1, mode="batch")]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_identity_at_no_cost(layer: Layer, dtype: type) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(dtype)
    out = layer.forward(np, [x], {})
    np.testing.assert_array_equal(out, x)
    assert out.dtype == dtype
    type_ = TensorType((3, None, 5))
    assert layer.infer(type_) == type_
    assert layer.cost([type_], type_) == Cost()
    assert layer.weights(type_) == ()
    assert layer.window([type_]) is None


def test_defaults_and_whole_numbers() -> None:
    assert Dropout().rate == 0.5
    assert Dropout(rate=0).rate == 0.0
    assert StochasticDepth(rate=0).mode == "row"
    with pytest.raises(ValidationError):
        StochasticDepth()


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "0.5", True, None])
@pytest.mark.parametrize("layer", [Dropout, StochasticDepth])
def test_rates_are_probabilities(layer: type[Layer], rate: object) -> None:
    with pytest.raises(ValidationError):
        layer(rate=rate)


def test_channels_of_a_vector_cannot_be_dropped_as_maps() -> None:
    with pytest.raises(LayerError) as caught:
        Dropout(spatial=True).infer(TensorType((4096,)))
    assert caught.value.code == "E0315"
    with pytest.raises(ValidationError):
        StochasticDepth(rate=0.1, mode="column")
