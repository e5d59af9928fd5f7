"""Pooling against loops, the course's numbers, identities, and PyTorch where it is installed."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import pool, positions, run, sample
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Global, LayerError, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool, GemPool, GlobalAvgPool, GlobalMaxPool
from netdsl.layers.pool import AvgPool, MaxPool


def small(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)[None, None]


# ------------------------------------------------------------------------------------------------- the course's numbers


def test_max_pooling_of_the_lecture():
    x = small([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]])
    assert run(MaxPool(kernel=2), x)[0, 0].tolist() == [[9, 2], [6, 3]]
    x = small([[1, 3, 2, 1, 3], [2, 9, 1, 1, 5], [1, 3, 2, 3, 2], [8, 3, 5, 1, 0], [5, 6, 1, 2, 9]])
    assert run(MaxPool(kernel=3, stride=1), x)[0, 0].tolist() == [[9, 9, 5], [9, 9, 5], [8, 6, 9]]


def test_average_pooling_of_the_lecture():
    x = small([[1, 3, 2, 1], [2, 9, 1, 1], [1, 4, 2, 3], [5, 6, 1, 2]])
    assert run(AvgPool(kernel=(2, 2)), x)[0, 0].tolist() == [[3.75, 1.25], [4, 2]]


@pytest.mark.parametrize(
    ("layer", "given_", "made"),
    [
        (MaxPool(kernel=2), (10, 4, 4), (10, 2, 2)),
        (AvgPool(kernel=7), (1024, 7, 7), (1024, 1, 1)),
        # The SIGNS network: 8x8 and 4x4 windows with `same`.
        (MaxPool(kernel=8, padding="same"), (8, 64, 64), (8, 8, 8)),
        (MaxPool(kernel=4, padding="same"), (16, 8, 8), (16, 2, 2)),
        # Inception's pooling lane keeps the size; ResNet's stem halves it.
        (MaxPool(kernel=3, stride=1, padding="same"), (192, 28, 28), (192, 28, 28)),
        (MaxPool(kernel=3, stride=2, padding=1), (64, 112, 112), (64, 56, 56)),
        (MaxPool(kernel=3, stride=2), (96, 55, 55), (96, 27, 27)),
        # GoogLeNet at 224: 112, 56, 28, 14, 7 with ceil_mode; SqueezeNet 1.1 at 100: 49, 24, 12, 6.
        (MaxPool(kernel=3, stride=2, ceil_mode=True), (64, 112, 112), (64, 56, 56)),
        (MaxPool(kernel=3, stride=2, ceil_mode=True), (64, 49, 24), (64, 24, 12)),
        (MaxPool(kernel=3, stride=2, ceil_mode=True), (64, 12, 54), (64, 6, 27)),
        (MaxPool(kernel=3, stride=2), (64, 12, 54), (64, 5, 26)),
        # The smallest input of SqueezeNet, 17, ends in a window that hangs over a map of 2x2.
        (MaxPool(kernel=3, stride=2, ceil_mode=True), (64, 2, 2), (64, 1, 1)),
        # A window that would begin in the padding behind is left out.
        (MaxPool(kernel=2, stride=2, padding=1, ceil_mode=True), (1, 3, 3), (1, 2, 2)),
        (MaxPool(kernel=(2, 2, 2)), (3, 4, 5, 6), (3, 2, 2, 3)),
        (AvgPool(kernel=2), (3, None, 6), (3, None, 3)),
        (MaxPool(kernel=2), (None, 6), (None, 3)),
        (GlobalAvgPool(), (3, 5, 7), (3, 1, 1)),
        (GlobalMaxPool(), (3, None), (3, 1)),
        (AdaptiveAvgPool(size=6), (256, 13, 13), (256, 6, 6)),
        (AdaptiveAvgPool(size=(7, 7)), (512, 3, None), (512, 7, 7)),
        (AdaptiveMaxPool(size=(2, None)), (8, 9, 5), (8, 2, 5)),
    ],
)
def test_shapes(layer, given_, made):
    assert layer.infer(TensorType(given_)) == TensorType(made)
    assert layer.weights(TensorType(given_)) == ()


# ----------------------------------------------------------------------------------------------------- against the loops


def geometry(choose: random.Random, dilated: bool) -> dict:
    rank = choose.choice([1, 2, 2, 3])
    f = [choose.randint(1, 4) for _ in range(rank)]
    sides = [(choose.randint(0, k // 2), choose.randint(0, k // 2)) for k in f]
    return {
        "f": f,
        "s": [choose.randint(1, 3) for _ in range(rank)],
        "d": [choose.randint(1, 2) if dilated else 1 for _ in range(rank)],
        "sides": sides,
        "ceil_mode": choose.choice([True, False]),
        "spatial": [choose.randint(1, 7) for _ in range(rank)],
    }


def options(g: dict) -> dict:
    return {
        "kernel": tuple(g["f"]),
        "stride": tuple(g["s"]),
        "padding": tuple(margin for side in g["sides"] for margin in side),
        "ceil_mode": g["ceil_mode"],
    }


def windows_see_input(g: dict) -> bool:
    """None of the windows, of which there are some, lies in the padding altogether."""
    seen = [
        any(all(0 <= i < n for i, n in zip(p, g["spatial"], strict=True)) for p in places.values())
        for _, places in positions(g["spatial"], g["f"], g["s"], g["sides"], g["d"], g["ceil_mode"])
    ]
    return bool(seen) and all(seen)


@settings(deadline=None, max_examples=150)
@given(st.randoms(use_true_random=False))
def test_max_pool_is_the_largest_of_each_window(choose: random.Random):
    g = geometry(choose, dilated=True)
    layer = MaxPool(**options(g), dilation=tuple(g["d"]))
    x = sample(2, 2, *g["spatial"]) - 10  # so that zeros in the padding would win
    if not windows_see_input(g):
        with pytest.raises(LayerError) as caught:
            layer.infer(TensorType(x.shape[1:]))
        assert caught.value.code in ("E0301", "E0306")
        return
    expected = pool(x, g["f"], g["s"], g["sides"], g["d"], g["ceil_mode"], lambda values, _: max(values))
    np.testing.assert_array_equal(run(layer, x), expected)


@settings(deadline=None, max_examples=150)
@given(st.randoms(use_true_random=False), st.sampled_from([None, True, False]))
def test_avg_pool_is_the_mean_of_each_window(choose: random.Random, count):
    g = geometry(choose, dilated=False)
    layer = AvgPool(**options(g), count_include_pad=count)
    x = sample(2, 2, *g["spatial"])
    if not windows_see_input(g):
        with pytest.raises(LayerError) as caught:
            layer.infer(TensorType(x.shape[1:]))
        assert caught.value.code in ("E0301", "E0306")
        return

    def mean(values: list[float], covered: int) -> float:
        return math.fsum(values) / (len(values) if count is False else covered)

    expected = pool(x, g["f"], g["s"], g["sides"], g["d"], g["ceil_mode"], mean)
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-12)
    np.testing.assert_allclose(run(layer, x.astype(np.float32)), expected, atol=1e-5)


def test_same_padding_does_not_count_as_tensorflow_does():
    # tf.nn.avg_pool of ones is ones, whatever the padding.
    ones = np.ones((1, 1, 5, 4))
    assert (run(AvgPool(kernel=3, stride=2, padding="same"), ones) == 1).all()
    assert run(AvgPool(kernel=3, stride=2, padding="same", count_include_pad=True), ones).min() < 1
    assert run(AvgPool(kernel=3, stride=2, padding=1), ones)[0, 0, 0, 0] == pytest.approx(4 / 9)  # PyTorch


def test_nan_is_not_hidden():
    x = np.array([[[1.0, np.nan, 3.0, 4.0]]])
    assert np.isnan(run(MaxPool(kernel=2), x)).tolist() == [[[True, False]]]


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_adaptive_pools_by_their_definition(choose: random.Random):
    rank = choose.randint(1, 3)
    spatial, size = ([choose.randint(1, 6) for _ in range(rank)] for _ in range(2))
    x = sample(2, 2, *spatial)
    mean, largest = run(AdaptiveAvgPool(size=tuple(size)), x), run(AdaptiveMaxPool(size=tuple(size)), x)
    for output in np.ndindex(*size):
        box = tuple(
            slice(math.floor(Fraction(i * n, o)), math.ceil(Fraction((i + 1) * n, o)))
            for i, n, o in zip(output, spatial, size, strict=True)
        )
        part = x[(slice(None), slice(None), *box)].reshape(2, 2, -1)
        np.testing.assert_allclose(mean[(..., *output)], part.mean(axis=2), atol=1e-12)
        np.testing.assert_array_equal(largest[(..., *output)], part.max(axis=2))


def test_identities():
    x = sample(2, 3, 6, 8)
    np.testing.assert_allclose(run(AdaptiveAvgPool(size=(3, 2)), x), run(AvgPool(kernel=(2, 4)), x))
    np.testing.assert_array_equal(run(AdaptiveMaxPool(size=(6, 8)), x), x)
    np.testing.assert_allclose(run(GlobalAvgPool(), x), x.mean(axis=(2, 3))[:, :, None, None])
    np.testing.assert_array_equal(run(GlobalMaxPool(), x), run(MaxPool(kernel=(6, 8)), x))
    np.testing.assert_array_equal(run(GlobalMaxPool(), x), run(AdaptiveMaxPool(size=1), x))
    assert run(GlobalAvgPool(), x.astype(np.float32)).dtype == np.float32


# ----------------------------------------------------------------------------------------------------- costs and windows


def test_costs():
    x = TensorType((3, 6, 8))
    for layer, flops in [
        (MaxPool(kernel=2), 3 * 3 * 4 * 3),  # outputs times 3 comparisons
        (AvgPool(kernel=2), 3 * 3 * 4 * 4),  # outputs times 3 additions and a division
        (GlobalAvgPool(), 3 * 48),  # 47 additions and a division
        (GlobalMaxPool(), 3 * 47),
        (AdaptiveAvgPool(size=(4, 4)), 3 * (4 * 2) * 8),  # windows of 2, overlapping, along 6; of 2 along 8
        (AdaptiveMaxPool(size=(4, 4)), 3 * (4 * 2) * 8 - 3 * 16),
    ]:
        assert layer.cost([x], layer.infer(x)) == Cost(flops=flops)
        unknown = TensorType((3, None, 8))
        assert layer.cost([unknown], layer.infer(unknown)) is None


def test_windows():
    x = TensorType((3, 6, 8))
    assert MaxPool(kernel=3, stride=2, padding=1).window([x]) == Window((3, 3), (2, 2), (1, 1))
    assert MaxPool(kernel=3, stride=1, dilation=2).window([x]) == Window((5, 5), (1, 1), (0, 0))
    assert GlobalAvgPool().window([x]) == Global()
    assert AdaptiveAvgPool(size=1).window([x]) == Global()
    assert AdaptiveAvgPool(size=(3, 8)).window([x]) == Window((2, 1), (2, 1), (0, 0))
    assert AdaptiveAvgPool(size=(4, 8)).window([x]) == Window((2, 1), (Fraction(3, 2), 1), (0, 0))
    assert AdaptiveAvgPool(size=4).window([TensorType((3, None, 8))]) == Global()


# ---------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("layer", "given_", "code", "said"),
    [
        (MaxPool(kernel=3), (8, 2, 2), "E0301", "max_pool has a kernel of 3x3, which is larger than its input of 2x2"),
        (MaxPool(kernel=3, stride=2, ceil_mode=True), (8, 1, 1), "E0301", "larger than its input"),
        (GlobalAvgPool(), (8,), "E0303", "at least one spatial axis"),
        (AdaptiveAvgPool(size=1), (8,), "E0303", "at least one spatial axis"),
        (AvgPool(kernel=(2, 2)), (8, 9), "E0305", "which has 1 spatial axis"),
        (AdaptiveAvgPool(size=(2, None, 2)), (8, 9, 9), "E0305", r"adaptive_avg_pool has size 2x\?x2"),
        (MaxPool(kernel=2, padding=2), (8, 9, 9), "E0306", "a window would see nothing but padding"),
        (AvgPool(kernel=2, padding=(0, 0, 0, 3)), (8, 9, 9), "E0306", "pads 8x9x9 by 3"),
        (MaxPool(kernel=4, padding="half"), (8, 9, 9), "E0306", "not a whole number"),
    ],
)
def test_what_does_not_fit(layer, given_, code, said):
    with pytest.raises(LayerError, match=said) as caught:
        layer.infer(TensorType(given_))
    assert caught.value.code == code
    assert caught.value.help


@pytest.mark.parametrize("attributes", [{"kernel": 0}, {"kernel": 2, "stride": 0}, {"kernel": 2, "ceil_mode": 1}])
def test_attributes_that_make_no_sense(attributes):
    for layer in (MaxPool, AvgPool):
        with pytest.raises(ValidationError):
            layer(**attributes)
    with pytest.raises(ValidationError):
        AdaptiveAvgPool(size=0)


# ---------------------------------------------------------------------------------------------------------------- a peer


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_pytorch(seed):
    torch = pytest.importorskip("torch")
    choose = random.Random(seed)
    rank = choose.randint(1, 3)
    f, s = ([choose.randint(1, most) for _ in range(rank)] for most in (4, 3))
    p = [choose.randint(0, k // 2) for k in f]
    spatial = [k + choose.randint(0, 4) for k in f]
    size = [choose.randint(1, 8) for _ in range(rank)]
    ceil_mode, count = choose.choice([True, False]), choose.choice([True, False])
    x = sample(2, 2, *spatial)
    given_ = {
        "kernel": tuple(f), "stride": tuple(s), "padding": p[0] if rank == 1 else tuple(p), "ceil_mode": ceil_mode,
    }  # fmt: skip

    def peer(name: str, *arguments: object) -> np.ndarray:
        return getattr(torch.nn.functional, f"{name}{rank}d")(torch.from_numpy(x), *arguments).numpy()

    np.testing.assert_array_equal(run(MaxPool(**given_), x), peer("max_pool", f, s, p, 1, ceil_mode))
    np.testing.assert_allclose(
        run(AvgPool(**given_, count_include_pad=count), x), peer("avg_pool", f, s, p, ceil_mode, count), atol=1e-12
    )
    np.testing.assert_allclose(run(AdaptiveAvgPool(size=tuple(size)), x), peer("adaptive_avg_pool", size), atol=1e-12)
    np.testing.assert_array_equal(run(AdaptiveMaxPool(size=tuple(size)), x), peer("adaptive_max_pool", size))


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5), (2, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("p", [1.0, 3.0, 2.5])
def test_generalised_mean(shape, p):
    x = sample(2, *shape)
    y = run(GemPool(eps=1e-3), x, p=np.array([p]))
    assert y.shape == (2, shape[0], *(1,) * (len(shape) - 1))
    for image, channel in np.ndindex(2, shape[0]):
        values = [max(float(v), 1e-3) ** p for v in x[image, channel].ravel()]
        assert y[image, channel].item() == pytest.approx((math.fsum(values) / len(values)) ** (1 / p), rel=1e-12)
    single = run(GemPool(eps=1e-3), x.astype(np.float32), p=np.array([p], np.float32))
    np.testing.assert_allclose(single, y, rtol=1e-4)


def test_generalised_mean_lies_between_the_mean_and_the_maximum():
    x = np.abs(sample(2, 3, 4, 4))
    mean, largest = run(GlobalAvgPool(), x), run(GlobalMaxPool(), x)
    np.testing.assert_allclose(run(GemPool(), x, p=np.array([1.0])), mean, rtol=1e-12)
    np.testing.assert_allclose(run(GemPool(), x, p=np.array([300.0])), largest, rtol=2e-2)
    middle = run(GemPool(), x, p=np.array([3.0]))
    assert (mean < middle).all() and (middle < largest).all()


def test_generalised_mean_weights_cost_and_refusals():
    x = TensorType((8, 4, 5))
    assert GemPool().weights(x) == (Weight("p", (1,), initial=3.0),)
    assert GemPool(p=2, trainable=False).weights(x) == (Weight("p", (1,), trainable=False, initial=2.0),)
    # For each map of 20: 20 comparisons, 20 powers, 19 additions, a division, a root.
    assert GemPool().cost([x], TensorType((8, 1, 1))) == Cost(flops=8 * (20 + 20 + 19 + 1 + 1))
    assert GemPool().cost([TensorType((8, None, 5))], TensorType((8, 1, 1))) is None
    assert GemPool().window([x]) == Global()
    with pytest.raises(LayerError) as caught:
        GemPool().infer(TensorType((8,)))
    assert caught.value.code == "E0303"
    for attributes in ({"p": 0}, {"eps": 0}, {"p": -1}):
        with pytest.raises(ValidationError):
            GemPool(**attributes)


@pytest.mark.peer
def test_generalised_mean_agrees_with_pytorch():
    # filipradenovic/cnnimageretrieval-pytorch, layers/functional.py: gem.
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x, p = sample(2, 3, 4, 5), np.array([2.7])
    t, exponent = torch.from_numpy(x), torch.from_numpy(p)
    peer = f.avg_pool2d(t.clamp(min=1e-6).pow(exponent), (4, 5)).pow(1.0 / exponent)
    np.testing.assert_allclose(run(GemPool(), x, p=p), peer, rtol=1e-12)
