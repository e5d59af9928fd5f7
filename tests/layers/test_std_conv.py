"""Convolutions with standardised weights against loops that standardise by hand, and PyTorch's batch normalization."""

from __future__ import annotations

import math

import numpy as np
import pytest
from loops import correlate, run, sample
from pydantic import ValidationError

from netdsl.ir.layer import LayerError, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.conv import Conv, Convolution
from netdsl.layers.std_conv import ScaledStdConv, StdConv


def standardised(w: np.ndarray, eps: float) -> np.ndarray:
    made = np.empty_like(w)
    for k, filter_ in enumerate(w):
        values = [float(v) for v in filter_.ravel()]
        mean = math.fsum(values) / len(values)
        variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
        made[k] = (filter_ - mean) / math.sqrt(variance + eps)
    return made


@pytest.mark.parametrize(("groups", "depth"), [(1, 4), (2, 2)])
def test_filters_are_standardised_before_they_are_applied(groups: int, depth: int) -> None:
    x, w, b = sample(2, 4, 6, 5), sample(6, depth, 3, 2, seed=1), sample(6, seed=2)
    layer = StdConv(filters=6, kernel=(3, 2), stride=2, padding=1, groups=groups, eps=1e-2)
    expected = correlate(x, standardised(w, 1e-2), (2, 2), [(1, 1), (1, 1)], (1, 1), groups, b)
    np.testing.assert_allclose(run(layer, x, weight=w, bias=b), expected, rtol=1e-11, atol=1e-12)
    single = run(layer, x.astype(np.float32), weight=w.astype(np.float32), bias=b.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4)


def test_scale_and_gain() -> None:
    x, w, gain = sample(2, 4, 5), sample(6, 4, 3, seed=1), sample(6, 1, 1, seed=2)
    layer = ScaledStdConv(filters=6, kernel=3, gamma=1.7, eps=1e-3, bias=False)
    factor = gain * 1.7 / math.sqrt(4 * 3)
    expected = correlate(x, standardised(w, 1e-3) * factor, (1,), [(0, 0)], (1,))
    np.testing.assert_allclose(run(layer, x, weight=w, gain=gain), expected, rtol=1e-11, atol=1e-12)


def test_shift_and_scale_of_a_filter_do_not_matter() -> None:
    x, w = sample(1, 3, 4, 4), sample(2, 3, 3, 3, seed=1)
    layer = StdConv(filters=2, kernel=3, bias=False, eps=1e-12)
    np.testing.assert_allclose(run(layer, x, weight=7 * w - 3), run(layer, x, weight=w), rtol=1e-8, atol=1e-9)


def test_shape_cost_and_window_are_those_of_a_convolution() -> None:
    x = TensorType((64, 56, None))
    options = {"filters": 32, "kernel": 3, "stride": 2, "padding": "same", "groups": 2}
    same = Conv(**options)
    for layer in (StdConv(**options), ScaledStdConv(**options)):
        assert layer.infer(x) == same.infer(x)
        assert layer.weights(x)[:2] == same.weights(x)
        assert layer.window([x]) == same.window([x])
        known = TensorType((64, 56, 56))
        assert layer.cost([known], same.infer(known)) == same.cost([known], same.infer(known))
        # Passes that change the weights of a Convolution must leave these alone.
        assert not isinstance(layer, Convolution)
    assert ScaledStdConv(**options, gain=0.5).weights(x)[2:] == (Weight("gain", (32, 1, 1, 1), initial=0.5),)
    image = TensorType((64, 8, 8))
    board = ScaledStdConv(filters=8, kernel=1).board([image], TensorType((8, 8, 8)))
    assert board["parameters"][-2:] == ["bias: 8", "gain: 8"]


def test_refusals() -> None:
    with pytest.raises(LayerError) as caught:
        StdConv(filters=4, kernel=3, groups=3).infer(TensorType((6, 9, 9)))
    assert caught.value.code == "E0302"
    for wrong in ({"eps": 0}, {"gamma": 2}, {"connections": ((0,),)}):
        with pytest.raises(ValidationError):
            StdConv(filters=4, kernel=3, **wrong)


@pytest.mark.peer
def test_agrees_with_pytorch() -> None:
    # PyTorch Image Models standardise by a batch normalization in training, one channel for each filter.
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x, w, b, gain = sample(2, 4, 6, 5), sample(6, 2, 3, 3, seed=1), sample(6, seed=2), sample(6, 1, 1, 1, seed=3)
    tx, tw, tb, tg = (torch.from_numpy(v) for v in (x, w, b, gain))
    made = f.batch_norm(tw.reshape(1, 6, -1), None, None, training=True, momentum=0.0, eps=1e-6).reshape_as(tw)
    layer = StdConv(filters=6, kernel=3, padding=1, groups=2)
    np.testing.assert_allclose(
        run(layer, x, weight=w, bias=b), f.conv2d(tx, made, tb, padding=1, groups=2), rtol=1e-10, atol=1e-12
    )
    scale = (tg * (1.5 * w[0].size ** -0.5)).view(-1)
    made = f.batch_norm(tw.reshape(1, 6, -1), None, None, scale, training=True, momentum=0.0, eps=1e-5).reshape_as(tw)
    scaled = ScaledStdConv(filters=6, kernel=3, groups=2, gamma=1.5, eps=1e-5)
    np.testing.assert_allclose(
        run(scaled, x, weight=w, bias=b, gain=gain), f.conv2d(tx, made, tb, groups=2), rtol=1e-10, atol=1e-12
    )
