"""Padding and cropping against places looked up one by one, their inverse, and PyTorch where it is installed."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import run, sample, value
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Global, LayerError, Window
from netdsl.ir.types import TensorType
from netdsl.layers.pad import Crop, Pad


def flat(sides: list[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(margin for side in sides for margin in side)


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_every_place_is_looked_up(choose: random.Random):
    rank = choose.randint(1, 3)
    mode = choose.choice(["zeros", "reflect", "replicate", "circular"])
    sides = [(choose.randint(0, 3), choose.randint(0, 3)) for _ in range(rank)]
    spatial = [choose.randint(1, 4) for _ in range(rank)]
    x = sample(1, 2, *spatial)
    layer = Pad(amount=flat(sides), mode=mode)
    most = {"reflect": -1, "circular": 0}.get(mode, 100)
    if any(max(side) > n + most for n, side in zip(spatial, sides, strict=True)):
        with pytest.raises(LayerError) as caught:
            layer.infer(TensorType(x.shape[1:]))
        assert caught.value.code == "E0306"
        return
    y = run(layer, x)
    for c, *place in product(*(range(n) for n in y.shape[1:])):
        source = tuple(i - side[0] for i, side in zip(place, sides, strict=True))
        assert y[(0, c, *place)] == value(x, 0, c, source, mode)


def test_value_of_constant_padding():
    y = run(Pad(amount=(1, 0, 0, 2), value=7), np.zeros((1, 1, 1, 1)))
    assert y[0, 0].tolist() == [[7, 7, 7], [0, 7, 7]]  # one above, two to the right


@pytest.mark.parametrize(
    ("layer", "given_", "made"),
    [
        (Pad(amount=3), (3, 64, 64), (3, 70, 70)),  # the course's ZeroPadding2D(3)
        (Pad(amount=(1, 2)), (3, 5, 5), (3, 7, 9)),
        (Pad(amount=(1, 2)), (3, 5), (3, 8)),
        (Pad(amount=(0, 1, 0, 1)), (3, None, 5), (3, None, 6)),
        (Crop(amount=2), (3, 8, 9), (3, 4, 5)),
        (Crop(amount=(1, 0, 0, 0)), (3, 8, None), (3, 7, None)),
        (Crop(size=(392, 392)), (64, 568, 568), (64, 392, 392)),  # U-Net's last skip
        (Crop(size=5), (64, None, 8), (64, 5, 5)),
    ],
)
def test_shapes(layer, given_, made):
    x = TensorType(given_)
    assert layer.infer(x) == TensorType(made)
    assert layer.cost([x], layer.infer(x)) == Cost()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3))
def test_cropping_takes_away_what_padding_added(sides):
    x = sample(2, 3, *[2] * len(sides))
    np.testing.assert_array_equal(run(Crop(amount=flat(sides)), run(Pad(amount=flat(sides), value=9), x)), x)


@given(n=st.integers(1, 9), size=st.integers(1, 9))
def test_centre_crop_leaves_the_odd_position_behind(n, size):
    layer = Crop(size=size)
    x = np.arange(float(n))[None, None]
    if size > n:
        with pytest.raises(LayerError, match=f"crop keeps {size} positions along an axis of {n}") as caught:
            layer.infer(TensorType((1, n)))
        assert caught.value.code == "E0307"
        return
    kept = run(layer, x)[0, 0]
    before, after = kept[0], n - 1 - kept[-1]
    assert after - before in (0, 1)


def test_windows():
    x = TensorType((3, 8, 8))
    assert Pad(amount=(1, 2, 3, 4)).window([x]) == Window((1, 1), (1, 1), (1, 3))
    assert Crop(amount=(1, 2, 3, 4)).window([x]) == Window((1, 1), (1, 1), (-1, -3))
    assert Crop(size=5).window([x]) == Window((1, 1), (1, 1), (-1, -1))
    assert Crop(size=5).window([TensorType((3, None, 8))]) == Global()


@pytest.mark.parametrize(
    ("layer", "given_", "code", "said"),
    [
        (Pad(amount=1), (3,), "E0303", "pad needs channels and at least one spatial axis"),
        (Crop(size=1), (3,), "E0303", "crop needs channels and at least one spatial axis"),
        (Pad(amount=(1, 2, 3)), (3, 8, 8), "E0305", "pad has amount 1x2x3"),
        (Crop(amount=(1, 2, 3)), (3, 8, 8), "E0305", "crop has amount 1x2x3"),
        (Pad(amount=4, mode="reflect"), (3, 4, 8), "E0306", "pads 3x4x8 by 4 in mode reflect"),
        (Crop(amount=4), (3, 8, 9), "E0307", "takes 4 and 4 positions away along an axis of 8"),
    ],
)
def test_what_does_not_fit(layer, given_, code, said):
    with pytest.raises(LayerError, match=said) as caught:
        layer.infer(TensorType(given_))
    assert caught.value.code == code
    assert caught.value.help


@pytest.mark.parametrize(
    ("layer", "attributes"),
    [
        (Pad, {}),
        (Pad, {"amount": -1}),
        (Pad, {"amount": 2**16 + 1}),
        (Pad, {"amount": 1, "mode": "reflect", "value": 1}),
        (Pad, {"amount": 1, "mode": "zeros", "value": 1}),
        (Pad, {"amount": 1, "value": float("inf")}),
        (Crop, {}),
        (Crop, {"amount": 1, "size": 2}),
        (Crop, {"size": 0}),
    ],
)
def test_attributes_that_make_no_sense(layer, attributes):
    with pytest.raises(ValidationError):
        layer(**attributes)


@pytest.mark.peer
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_agrees_with_pytorch(mode, rank):
    torch = pytest.importorskip("torch")
    x = sample(2, 2, *[4, 5, 6][:rank])
    sides = [(1, 2), (0, 3), (2, 1)][:rank]
    backwards = [margin for side in reversed(sides) for margin in side]
    expected = torch.nn.functional.pad(torch.from_numpy(x), backwards, mode=mode).numpy()
    np.testing.assert_array_equal(run(Pad(amount=flat(sides), mode=mode), x), expected)
