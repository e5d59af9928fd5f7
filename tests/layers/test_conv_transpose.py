"""Transposed convolution against loops, the course's numbers, its adjoint, and PyTorch where it is installed."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import run, sample, scatter

from netdsl.ir.layer import Cost, LayerError, Window
from netdsl.ir.types import TensorType
from netdsl.layers.conv import Conv
from netdsl.layers.conv_transpose import ConvTranspose


def test_the_example_of_the_course():
    x = np.array([[[[2.0, 1.0], [3.0, 2.0]]]])
    w = np.array([[[[1.0, 2, 1], [2, 0, 1], [0, 2, 1]]]])
    layer = ConvTranspose(filters=1, kernel=3, stride=2, padding=1, output_padding=1, bias=False)
    assert run(layer, x, weight=w)[0, 0].tolist() == [[0, 4, 0, 1], [10, 7, 6, 3], [0, 7, 0, 2], [6, 3, 4, 2]]


@pytest.mark.parametrize(
    ("layer", "given_", "made", "params"),
    [
        # U-Net's up-convolutions halve the channels and double the map.
        (ConvTranspose(filters=512, kernel=2, stride=2), (1024, 28, 28), (512, 56, 56), 1024 * 512 * 4 + 512),
        (ConvTranspose(filters=8, kernel=4, stride=2, padding=1, bias=False), (8, 5), (8, 10), 256),
        (ConvTranspose(filters=8, kernel=3, stride=2, padding="same"), (8, 5, 6, 7), (8, 10, 12, 14), 8 * 8 * 27 + 8),
        (ConvTranspose(filters=4, kernel=2, stride=3, padding="same"), (2, 5), (4, 15), 20),
        (ConvTranspose(filters=4, kernel=5, padding="half"), (2, 5, 6), (4, 5, 6), 204),
        (ConvTranspose(filters=4, kernel=5, padding="valid", groups=2), (2, 5, 6), (4, 9, 10), 104),
        (ConvTranspose(filters=4, kernel=3, stride=2), (2, None, 6), (4, None, 13), 76),
    ],
)
def test_shapes_and_parameters(layer, given_, made, params):
    x = TensorType(given_)
    assert layer.infer(x) == TensorType(made)
    assert sum(weight.size for weight in layer.weights(x)) == params


def test_cost_counts_inputs_times_the_weights_they_meet():
    x = TensorType((6, 4, 5))
    layer = ConvTranspose(filters=4, kernel=(2, 3), stride=2, groups=2)
    y = layer.infer(x)
    assert y == TensorType((4, 8, 11))
    macs = 6 * 4 * 5 * 2 * 2 * 3
    assert layer.cost([x], y) == Cost(macs, 4 * 8 * 11, macs + 4 * 8 * 11)
    assert layer.cost([TensorType((6, None, 5))], TensorType((4, None, 11))) is None


@settings(deadline=None, max_examples=60)
@given(st.randoms(use_true_random=False))
def test_every_input_adds_its_multiple_of_the_kernel(choose: random.Random):
    rank, groups = choose.choice([1, 2, 2, 3]), choose.randint(1, 2)
    each_in, each_out = choose.randint(1, 2), choose.randint(1, 2)
    f, s, d = ([choose.randint(1, most) for _ in range(rank)] for most in (3, 3, 2))
    spatial = [choose.randint(2, 3) for _ in range(rank)]
    sides = [(choose.randint(0, 1), choose.randint(0, 1)) for _ in range(rank)]
    extra = [choose.randrange(max(s_, d_)) for s_, d_ in zip(s, d, strict=True)]
    made = [
        (n - 1) * s_ + d_ * (f_ - 1) + 1 - sum(side) + e
        for n, s_, d_, f_, side, e in zip(spatial, s, d, f, sides, extra, strict=True)
    ]
    layer = ConvTranspose(
        filters=groups * each_out,
        kernel=tuple(f),
        stride=tuple(s),
        padding=tuple(margin for side in sides for margin in side),
        output_padding=tuple(extra),
        dilation=tuple(d),
        groups=groups,
    )
    x, w = sample(2, groups * each_in, *spatial), sample(groups * each_in, each_out, *f, seed=1)
    b = sample(groups * each_out, seed=2)
    if min(made) < 1:
        with pytest.raises(LayerError) as caught:
            layer.infer(TensorType(x.shape[1:]))
        assert caught.value.code == "E0307"
        return
    expected = scatter(x, w, s, sides, d, extra, groups, b)
    np.testing.assert_allclose(run(layer, x, weight=w, bias=b), expected, atol=1e-12)
    single = run(layer, *(v.astype(np.float32) for v in (x,)), weight=w.astype("f4"), bias=b.astype("f4"))
    np.testing.assert_allclose(single, expected, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 6), f=st.integers(1, 4), s=st.integers(1, 3), d=st.integers(1, 2), p=st.integers(0, 2),
    groups=st.integers(1, 2),
)  # fmt: skip
def test_is_the_adjoint_of_convolution(n, f, s, d, p, groups):
    # <conv(x), y> = <x, conv_transpose(y)> for the same weights, whatever they are.
    extent = (n - 1) * s + d * (f - 1) + 1 - 2 * p
    if extent < 1:
        return
    options = {"kernel": f, "stride": s, "dilation": d, "padding": p, "groups": groups, "bias": False}
    x, y = sample(1, 2 * groups, extent, extent), sample(1, 3 * groups, n, n, seed=1)
    w = sample(3 * groups, 2, f, f, seed=2)
    forward = run(Conv(filters=3 * groups, **options), x, weight=w)
    back = run(ConvTranspose(filters=2 * groups, **options), y, weight=w)
    assert np.sum(forward * y) == pytest.approx(np.sum(x * back))


def test_padding_same_is_the_adjoint_of_tensorflows_same():
    for n, f, s in [(4, 3, 2), (3, 4, 3), (5, 2, 1), (4, 2, 3), (3, 5, 2)]:
        options = {"kernel": f, "stride": s, "padding": "same", "bias": False}
        x, y, w = sample(1, 1, n * s), sample(1, 1, n, seed=1), sample(1, 1, f, seed=2)
        forward = run(Conv(filters=1, **options), x, weight=w)
        back = run(ConvTranspose(filters=1, **options), y, weight=w)
        assert np.sum(forward * y) == pytest.approx(np.sum(x * back))


def test_window_bounds_what_an_output_depends_on():
    for f, s, p in [(2, 2, 0), (3, 2, 1), (4, 2, 1), (5, 3, 2), (3, 1, 1), (2, 3, 0)]:
        layer = ConvTranspose(filters=1, kernel=f, stride=s, padding=p, bias=False)
        size, stride, padding = (numbers[0] for numbers in layer.window([TensorType((1, 9))]))
        assert stride == Fraction(1, s)
        seen: dict[int, list[int]] = {}
        for i in range(9):
            impulse = np.zeros((1, 1, 9))
            impulse[0, 0, i] = 1
            for output in np.flatnonzero(run(layer, impulse, weight=np.ones((1, 1, f)))[0, 0]):
                seen.setdefault(int(output), []).append(i)
        assert max(len(inputs) for inputs in seen.values()) == size
        # Where an output lies above an input (at a multiple of the stride), the window begins a whole number before.
        assert {min(inputs) - output // s for output, inputs in seen.items() if output in (3 * s, 4 * s)} == {-padding}
    assert ConvTranspose(filters=1, kernel=2, stride=2).window([TensorType((1, 9, 9))]) == Window(
        (1, 1), (Fraction(1, 2),) * 2, (0, 0)
    )


def test_stated_weight():
    kernel = ((1, 2), (3, 4))
    x = TensorType((3, 5, 5))
    assert ConvTranspose(filters=2, kernel=2, weight=kernel).weights(x)[0].initial == kernel
    with pytest.raises(LayerError, match="values of shape 2x2 for its weight, which has shape 3x2x3x3") as caught:
        ConvTranspose(filters=2, kernel=3, weight=kernel).infer(x)
    assert caught.value.code == "E0304"


@pytest.mark.parametrize(
    ("options", "given_", "code", "said"),
    [
        ({"kernel": 3, "groups": 2}, (3, 5, 5), "E0302", "2 groups, which do not divide the 3 channels"),
        ({"kernel": 3}, (3,), "E0303", "needs channels and at least one spatial axis"),
        ({"kernel": (3, 3, 3)}, (3, 5, 5), "E0305", "which has 2 spatial axes"),
        ({"kernel": 3, "output_padding": (1, 0, 0, 0), "stride": 2}, (3, 5, 5), "E0305", "output_padding"),
        ({"kernel": 3, "stride": 2, "output_padding": 2}, (3, 5, 5), "E0306", "output_padding 2, stride 2"),
        ({"kernel": 3, "padding": 2}, (3, 2, 2), "E0307", "makes 4 positions along an axis, and padding cuts off 4"),
        ({"kernel": 3}, (None, 2, 2), "E0309", "number of channels"),
    ],
)
def test_what_does_not_fit(options, given_, code, said):
    with pytest.raises(LayerError, match=said) as caught:
        ConvTranspose(filters=4, **options).infer(TensorType(given_))
    assert caught.value.code == code
    assert caught.value.help


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_pytorch(seed):
    torch = pytest.importorskip("torch")
    choose = random.Random(seed)
    rank, groups = choose.randint(1, 3), choose.randint(1, 3)
    f, s, d = ([choose.randint(1, 3) for _ in range(rank)] for _ in range(3))
    extra = [choose.randrange(max(s_, d_)) for s_, d_ in zip(s, d, strict=True)]
    x, w, b = sample(2, 2 * groups, *[4] * rank), sample(2 * groups, 3, *f), sample(3 * groups)
    function = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    expected = function(*map(torch.from_numpy, (x, w, b)), s, 1, extra, groups, d).numpy()
    layer = ConvTranspose(
        filters=3 * groups, kernel=tuple(f), stride=tuple(s), padding=1, output_padding=tuple(extra), groups=groups,
        dilation=tuple(d),
    )  # fmt: skip
    np.testing.assert_allclose(run(layer, x, weight=w, bias=b), expected, atol=1e-10)
