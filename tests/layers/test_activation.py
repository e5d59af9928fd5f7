"""Activations against `math`, published figures and PyTorch; softmax against sums written out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Global, Layer, LayerError, Weight
from netdsl.ir.types import TensorType
from netdsl.layers import activation as act
from netdsl.layers.gaussian import normal_cdf

SHAPES = [(5,), (5, 7), (5, 4, 3), (3, 2, 4, 2)]


def selu(v: float) -> float:
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return scale * (v if v > 0 else alpha * math.expm1(v))


def gelu_tanh(v: float) -> float:
    return 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))


def logistic(v: float) -> float:
    return 1 / (1 + math.exp(-v))


NAIVE: dict[str, tuple[Layer, Callable[[float], float]]] = {
    "relu": (act.Relu(), lambda v: v if v > 0 else 0.0),
    "relu6": (act.Relu6(), lambda v: min(max(v, 0.0), 6.0)),
    "leaky_relu": (act.LeakyRelu(), lambda v: v if v > 0 else 0.01 * v),
    "leaky_relu(0.1)": (act.LeakyRelu(slope=0.1), lambda v: v if v > 0 else 0.1 * v),
    "elu": (act.Elu(), lambda v: v if v > 0 else math.expm1(v)),
    "elu(2)": (act.Elu(alpha=2), lambda v: v if v > 0 else 2 * math.expm1(v)),
    "selu": (act.Selu(), selu),
    "gelu": (act.Gelu(), lambda v: 0.5 * v * math.erfc(-v / math.sqrt(2))),
    "gelu_tanh": (act.Gelu(approximate="tanh"), gelu_tanh),
    "silu": (act.Silu(), lambda v: v * logistic(v)),
    "sigmoid": (act.Sigmoid(), logistic),
    "hard_sigmoid": (act.HardSigmoid(), lambda v: min(max(v + 3, 0), 6) / 6),
    "hard_swish": (act.HardSwish(), lambda v: v * min(max(v + 3, 0), 6) / 6),
    "mish": (act.Mish(), lambda v: v * math.tanh(math.log1p(math.exp(v)))),
    "softplus": (act.Softplus(), lambda v: math.log1p(math.exp(v))),
    "tanh": (act.Tanh(), math.tanh),
    "scaled_tanh": (act.ScaledTanh(), lambda v: 1.7159 * math.tanh(2 / 3 * v)),
}

# Computed with PyTorch 2.13 in float64 at these points.
POINTS = [-4.5, -1.0, -0.25, 0.5, 3.25]
PYTORCH = {
    "relu6": [0.0, 0.0, 0.0, 0.5, 3.25],
    "leaky_relu": [-0.045, -0.01, -0.0025, 0.5, 3.25],
    "elu": [-0.9888910034617577, -0.6321205588285577, -0.22119921692859512, 0.5, 3.25],
    "selu": [-1.7385686213560172, -1.1113307378125625, -0.388890197478119, 0.5253504936777402, 3.4147782089053114],
    "gelu": [
        -1.5289529061324192e-05, -0.15865525393145702, -0.10032341857926907, 0.34573123063700656, 3.24812466861223,
    ],
    "gelu_tanh": [
        -5.136737411925996e-06, -0.15880800939172324, -0.100324649298315, 0.34571400982514394, 3.2484313728552525,
    ],
    "silu": [-0.04944124183766931, -0.2689414213699951, -0.10945587477855048, 0.3112296656009273, 3.1286876161315793],
    "sigmoid": [0.01098694263059318, 0.2689414213699951, 0.43782349911420193, 0.6224593312018546, 0.9626731126558706],
    "hard_sigmoid": [0.0, 0.3333333333333333, 0.4583333333333333, 0.5833333333333334, 1.0],
    "hard_swish": [0.0, -0.3333333333333333, -0.11458333333333333, 0.2916666666666667, 3.25],
    "mish": [-0.049712829307341215, -0.30340146137410895, -0.129926963679141, 0.3752452113048951, 3.2409561733599657],
    "softplus": [0.011047744848593817, 0.31326168751822286, 0.5759394198788436, 0.9740769841801067, 3.288041371687783],
    "tanh": [-0.9997532108480275, -0.7615941559557649, -0.24491866240370913, 0.4621171572600098, 0.996997635486526],
}  # fmt: skip


def run(layer: Layer, x: np.ndarray, **weights: np.ndarray) -> np.ndarray:
    """Runs a layer and checks that it keeps its promises about shape, type and its input."""
    before = x.copy()
    out = layer.forward(np, [x], weights)
    assert out.shape[1:] == layer.infer(TensorType(x.shape[1:])).shape
    assert out.dtype == x.dtype
    np.testing.assert_array_equal(x, before)
    return out


@pytest.mark.parametrize("name", NAIVE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_element_is_the_function_of_the_definition(name: str, shape: tuple[int, ...]) -> None:
    layer, function = NAIVE[name]
    x = np.random.default_rng(1).uniform(-9, 9, (2, *shape))
    expected = np.array([function(float(v)) for v in x.ravel()]).reshape(x.shape)
    np.testing.assert_allclose(run(layer, x), expected, rtol=2e-14, atol=4e-15)
    np.testing.assert_allclose(run(layer, x.astype(np.float32)), expected, rtol=3e-6, atol=2e-6)


@pytest.mark.parametrize("name", PYTORCH)
def test_agrees_with_figures_from_pytorch(name: str) -> None:
    out = run(NAIVE[name][0], np.array([POINTS]))
    np.testing.assert_allclose(out[0], PYTORCH[name], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", NAIVE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_large_arguments_neither_overflow_nor_become_nan(name: str, dtype: type, size: float) -> None:
    x = np.array([[-size, 0.0, size]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        low, middle, high = run(NAIVE[name][0], x)[0]
    grows = name not in ("relu6", "sigmoid", "hard_sigmoid", "tanh", "scaled_tanh")
    assert high == pytest.approx(x[0, 2] * (1.0507009873554805 if name == "selu" else 1) if grows else high)
    assert np.isfinite([low, middle, high]).all()
    if grows and not name.startswith("leaky"):
        assert -4 < low <= 0


@pytest.mark.parametrize("name", NAIVE)
def test_nan_is_not_hidden(name: str) -> None:
    assert np.isnan(run(NAIVE[name][0], np.array([[np.nan]]))).all()


def test_normal_distribution_function_against_the_complementary_error_function() -> None:
    x = np.concatenate([np.linspace(-9, 9, 6001), np.linspace(-37, 37, 1001)])
    expected = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    found = normal_cdf(np, x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-16)
    np.testing.assert_allclose(found, expected, rtol=3e-13, atol=0)
    np.testing.assert_allclose(normal_cdf(np, x.astype(np.float32)), expected, rtol=0, atol=4e-7)
    np.testing.assert_allclose(found + normal_cdf(np, -x), 1, rtol=0, atol=3e-16)


def test_selu_keeps_mean_0_and_variance_1() -> None:
    # Klambauer et al. 2017: the constants are chosen so. Gauss-Hermite quadrature on each side of the kink.
    z, w = np.polynomial.legendre.leggauss(200)
    mean = square = 0.0
    for low, high in ((-12, 0), (0, 12)):
        x = (high - low) / 2 * z + (high + low) / 2
        density = w * (high - low) / 2 * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        y = run(act.Selu(), x[None])[0]
        mean += float((density * y).sum())
        square += float((density * y * y).sum())
    assert mean == pytest.approx(0, abs=1e-12)
    assert square == pytest.approx(1, abs=1e-12)


def test_the_squashing_function_of_lenet_fixes_plus_and_minus_one() -> None:
    # LeCun et al. 1998, appendix A, with A = 1.7159 and S = 2/3 given to five digits.
    assert run(act.ScaledTanh(), np.array([[1.0, -1.0]]))[0] == pytest.approx([1, -1], abs=2e-5)


def test_tanh_form_of_gelu_is_close_but_not_equal() -> None:
    x = np.linspace(-6, 6, 2001)[None]
    gap = np.abs(run(act.Gelu(), x) - run(act.Gelu(approximate="tanh"), x)).max()
    assert 4e-4 < gap < 5e-4
    np.testing.assert_array_equal(run(act.Gelu(approximate="none"), x), run(act.Gelu(approximate=None), x))


@given(st.floats(-40, 40))
def test_identities_between_functions(v: float) -> None:
    x = np.array([[v, -v]])
    s = run(act.Sigmoid(), x)[0]
    assert s.sum() == pytest.approx(1, abs=1e-15)
    assert 2 * s[0] - 1 == pytest.approx(math.tanh(v / 2), abs=1e-15)
    plus, minus = run(act.Softplus(), x)[0]
    assert plus - minus == pytest.approx(v, abs=1e-13)
    for odd_about_half in (act.Gelu(), act.Silu(), act.HardSwish()):
        a, b = run(odd_about_half, x)[0]
        assert a - b == pytest.approx(v, abs=1e-13)


class TestPrelu:
    def test_each_channel_has_its_slope(self) -> None:
        x = np.random.default_rng(2).normal(size=(2, 3, 4, 5)).astype(np.float32)
        slope = np.array([0.1, -0.5, 2.0], np.float32)
        out = run(act.Prelu(), x, weight=slope)
        for n, c, i, j in np.ndindex(2, 3, 4, 5):
            v = x[n, c, i, j]
            assert out[n, c, i, j] == pytest.approx(v if v > 0 else slope[c] * v)

    def test_one_slope_for_all(self) -> None:
        x = np.array([[[-2.0, 1.0], [-4.0, 3.0]]])
        out = run(act.Prelu(per_channel=False), x, weight=np.array([0.5]))
        np.testing.assert_array_equal(out, [[[-1, 1], [-2, 3]]])

    def test_weights(self) -> None:
        image = TensorType((64, 7, 7))
        assert act.Prelu().weights(image) == (Weight("weight", (64,), initial=0.25),)
        assert act.Prelu(per_channel=False).weights(image)[0].shape == (1,)
        assert not act.Prelu(trainable=False).weights(image)[0].trainable

    def test_a_slope_for_each_channel_needs_their_number(self) -> None:
        with pytest.raises(LayerError) as caught:
            act.Prelu().infer(TensorType((None, 7, 7)))
        assert caught.value.code == "E0309"
        assert act.Prelu(per_channel=False).infer(TensorType((None, 7))).shape == (None, 7)


class TestSoftmax:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_over_the_channels_of_each_position(self, shape: tuple[int, ...]) -> None:
        x = np.random.default_rng(3).normal(size=(2, *shape))
        out, logarithm = run(act.Softmax(), x), run(act.LogSoftmax(), x)
        for n in range(2):
            for place in np.ndindex(*shape[1:]):
                values = [float(x[(n, c, *place)]) for c in range(shape[0])]
                total = math.fsum(math.exp(v) for v in values)
                for c, v in enumerate(values):
                    assert out[(n, c, *place)] == pytest.approx(math.exp(v) / total, rel=1e-13)
                    assert logarithm[(n, c, *place)] == pytest.approx(v - math.log(total), rel=1e-12)

    def test_along_a_named_axis(self) -> None:
        x = np.random.default_rng(4).normal(size=(1, 2, 3, 4))
        np.testing.assert_allclose(run(act.Softmax(axis="height"), x).sum(axis=2), 1)
        np.testing.assert_array_equal(run(act.Softmax(axis="width"), x), run(act.Softmax(axis=2), x))
        assert isinstance(act.Softmax(axis="width").window([TensorType((2, 3, 4))]), Global)
        assert act.Softmax().window([TensorType((2, 3, 4))]) is None

    def test_groups_compete_slice_against_slice(self) -> None:
        x = np.random.default_rng(5).normal(size=(2, 6, 2))
        out = run(act.Softmax(groups=3), x)
        for n, i, j in np.ndindex(2, 2, 2):
            total = sum(math.exp(x[n, 2 * r + i, j]) for r in range(3))
            for r in range(3):
                assert out[n, 2 * r + i, j] == pytest.approx(math.exp(x[n, 2 * r + i, j]) / total)

    def test_two_groups_of_one_are_a_sigmoid_of_the_difference(self) -> None:
        a, b = 0.3, -1.1
        out = run(act.Softmax(groups=2), np.array([[a, b]]))
        assert out[0, 0] == pytest.approx(1 / (1 + math.exp(b - a)))

    @pytest.mark.parametrize("layer", [act.Softmax(), act.LogSoftmax(), act.Softmax(groups=2)], ids=str)
    def test_large_arguments_and_shifts(self, layer: Layer) -> None:
        x = np.random.default_rng(6).normal(size=(3, 4))
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            np.testing.assert_allclose(run(layer, x + 1e4), run(layer, x), rtol=1e-10)
            far = run(layer, np.array([[-1e4, 1e4, 0, 5]], np.float32))
        assert np.isfinite(far).all()

    def test_cost(self) -> None:
        # n values: n exponentials, n - 1 additions, n divisions.
        assert act.Softmax().cost([], TensorType((10,))) == Cost(flops=10 + 9 + 10)
        assert act.Softmax().cost([], TensorType((10, 2, 3))) == Cost(flops=6 * 29)
        assert act.Softmax(groups=2).cost([], TensorType((6, 1, 1))) == Cost(flops=3 * (2 + 1 + 2))
        assert act.LogSoftmax().cost([], TensorType((10,))) == Cost(flops=10 + 9 + 1 + 10)
        assert act.Softmax().cost([], TensorType((10, None, 3))) is None

    def test_refusals(self) -> None:
        with pytest.raises(LayerError) as caught:
            act.Softmax(groups=4).infer(TensorType((10, 1, 1)))
        assert caught.value.code == "E0312"
        assert caught.value.help is not None and "1, 2, 5, 10" in caught.value.help
        with pytest.raises(LayerError) as caught:
            act.Softmax(axis="width").infer(TensorType((10,)))
        assert caught.value.code == "E0315"
        with pytest.raises(LayerError) as caught:
            act.Softmax(axis=3).infer(TensorType((10, 2, 2)))
        assert caught.value.code == "E0315"
        with pytest.raises(LayerError) as caught:
            act.Softmax(groups=2).infer(TensorType((None, 1, 1)))
        assert caught.value.code == "E0309"
        with pytest.raises(ValidationError):
            act.Softmax(groups=2, axis="height")
        with pytest.raises(ValidationError):
            act.Softmax(groups=1)


def test_attributes_are_checked() -> None:
    assert act.LeakyRelu(slope=1).slope == 1.0
    for wrong in (float("nan"), float("inf"), "0.1", True):
        with pytest.raises(ValidationError):
            act.LeakyRelu(slope=wrong)
    with pytest.raises(ValidationError):
        act.Gelu(approximate="erf")
    with pytest.raises(ValidationError):
        act.Relu(slope=0.1)


def test_one_flop_for_each_element() -> None:
    for layer, _ in NAIVE.values():
        assert layer.cost([TensorType((3, 4, 5))], TensorType((3, 4, 5))) == Cost(flops=60)
        assert layer.cost([TensorType((3, None, 5))], TensorType((3, None, 5))) is None
        assert layer.window([TensorType((3, 4, 5))]) is None


@pytest.mark.peer
def test_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    peers = {
        "relu": f.relu, "relu6": f.relu6, "leaky_relu": f.leaky_relu, "elu": f.elu, "selu": f.selu, "gelu": f.gelu,
        "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"), "silu": f.silu, "sigmoid": torch.sigmoid,
        "hard_sigmoid": f.hardsigmoid, "hard_swish": f.hardswish, "mish": f.mish, "tanh": torch.tanh,
        "softplus": lambda x: f.softplus(x, threshold=100),
    }  # fmt: skip
    x = np.random.default_rng(7).normal(scale=4, size=(2, 6, 5, 3))
    for name, peer in peers.items():
        for dtype, tolerance in ((np.float64, 2e-15), (np.float32, 2e-6)):
            y = x.astype(dtype)
            np.testing.assert_allclose(run(NAIVE[name][0], y), peer(torch.from_numpy(y)), rtol=1e-12, atol=tolerance)
    t = torch.from_numpy(x)
    slope = np.random.default_rng(8).normal(size=6)
    np.testing.assert_allclose(run(act.Prelu(), x, weight=slope), f.prelu(t, torch.from_numpy(slope)))
    np.testing.assert_allclose(run(act.Softmax(), x), f.softmax(t, 1), rtol=1e-12)
    np.testing.assert_allclose(run(act.LogSoftmax(), x), f.log_softmax(t, 1), rtol=1e-12)
    radix = f.softmax(t.reshape(2, 3, 2, 5, 3), 1).reshape(2, 6, 5, 3)
    np.testing.assert_allclose(run(act.Softmax(groups=3), x), radix, rtol=1e-12)
