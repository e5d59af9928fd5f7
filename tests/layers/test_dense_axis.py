"""A dense layer along one axis: the same at every position of the others."""

from __future__ import annotations

import numpy as np
import pytest

from netdsl.ir.layer import Cost, Global, LayerError
from netdsl.ir.types import TensorType
from netdsl.layers.dense import Dense


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def test_along_the_channels_it_is_a_1x1_convolution() -> None:
    """Every pixel by itself, as PyTorch's Linear on channels-last images: worked out pixel by pixel."""
    layer, x = Dense(units=4, axis="channels"), image(2, 3, 5, 6)
    weight, bias = image(4, 3), image(4)
    found = layer.forward(np, [x], {"weight": weight, "bias": bias})
    assert found.shape == (2, 4, 5, 6)
    for n, row, column in np.ndindex(2, 5, 6):
        for unit in range(4):
            expected = bias[unit] + sum(weight[unit, c] * x[n, c, row, column] for c in range(3))
            assert found[n, unit, row, column] == pytest.approx(expected)


def test_along_another_axis() -> None:
    layer, x, weight = Dense(units=2, axis="width", bias=False), image(1, 3, 4, 5), image(2, 5)
    found = layer.forward(np, [x], {"weight": weight})
    np.testing.assert_allclose(found, np.einsum("nchw,uw->nchu", x, weight))
    assert layer.infer(TensorType((3, 4, 5))) == TensorType((3, 4, 2))


def test_without_an_axis_it_wants_a_vector() -> None:
    with pytest.raises(LayerError) as caught:
        Dense(units=4).infer(TensorType((3, 5, 6)))
    assert caught.value.code == "E0303"


def test_type_weights_and_cost() -> None:
    layer, x = Dense(units=384, axis="channels"), TensorType((96, 56, 56))
    output = layer.infer(x)
    assert output == TensorType((384, 56, 56))
    assert [(weight.name, weight.shape) for weight in layer.weights(x)] == [("weight", (384, 96)), ("bias", (384,))]
    # ConvNeXt-T's first dense layer: 384 * 96 at each of 3,136 pixels.
    assert layer.cost([x], output) == Cost(115_605_504, 1_204_224, 116_809_728)


def test_open_extents() -> None:
    layer, x = Dense(units=4, axis="channels"), TensorType((3, None, None))
    assert layer.infer(x) == TensorType((4, None, None))
    assert layer.cost([x], layer.infer(x)) is None
    with pytest.raises(LayerError) as caught:
        Dense(units=4, axis="width").infer(x)
    assert caught.value.code == "E0309"
    with pytest.raises(LayerError) as caught:
        Dense(units=4, axis="width").infer(TensorType((3,)))
    assert caught.value.code == "E0315"


def test_what_an_output_sees() -> None:
    assert Dense(units=4, axis="channels").window([TensorType((3, 5, 6))]) is None
    assert Dense(units=4, axis="height").window([TensorType((3, 5, 6))]) == Global()
    assert Dense(units=4).window([TensorType((3,))]) == Global()
