"""Scales, shifts and brightness: values worked out by hand, and the names and shapes that checkpoints use."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

import netdsl
from netdsl.ir.layer import Cost, Layer, LayerError, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.scale import Affine, Grayscale, LayerScale, Scalar, Scale, Shift

SHAPES = [(3,), (3, 5), (3, 4, 2), (3, 2, 2, 2)]


def run(layer: Layer, x: np.ndarray, **weights: np.ndarray) -> np.ndarray:
    """Runs a layer and checks that it keeps its promises about shape, type, weights and its input."""
    before = x.copy()
    type_ = TensorType(x.shape[1:])
    assert {w.name: w.shape for w in layer.weights(type_)} == {name: w.shape for name, w in weights.items()}
    out = layer.forward(np, [x], weights)
    assert out.shape == (len(x), *layer.infer(type_).shape)
    assert out.dtype == x.dtype
    np.testing.assert_array_equal(x, before)
    return out


def refusal(layer: Layer, type_: TensorType) -> LayerError:
    with pytest.raises(LayerError) as caught:
        layer.infer(type_)
    return caught.value


def by_channel(x: np.ndarray, factor: list[float], term: list[float]) -> np.ndarray:
    out = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        out[place] = x[place] * factor[place[1]] + term[place[1]]
    return out


def sample(*shape: int, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(dtype)


class TestLayerScale:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("layout", ["channels_first", "vector"])
    def test_a_factor_for_each_channel(self, shape: tuple[int, ...], layout: str) -> None:
        values = [0.5, -2.0, 3.0]
        layer = LayerScale(shape=layout)
        stored = np.array(values, np.float32)
        if layout == "channels_first":
            stored = stored.reshape(3, *[1] * (len(shape) - 1))
        for dtype in (np.float32, np.float64):
            x = sample(*shape, dtype=dtype)
            out = run(layer, x, **{"": stored})
            np.testing.assert_allclose(out, by_channel(x, values, [0, 0, 0]), rtol=1e-6)

    def test_the_parameter_bears_the_name_of_the_step(self) -> None:
        # torchvision: features.1.0.layer_scale of shape (96, 1, 1); timm: stages.0.blocks.0.gamma of shape (96).
        assert LayerScale().weights(TensorType((96, 56, 56))) == (Weight("", (96, 1, 1), initial=1e-6),)
        vector = LayerScale(initial=1, shape="vector", trainable=False).weights(TensorType((96, 56, 56)))
        assert vector == (Weight("", (96,), trainable=False, initial=1.0),)

    def test_refusals_and_cost(self) -> None:
        assert refusal(LayerScale(), TensorType((None, 7, 7))).code == "E0309"
        assert refusal(LayerScale(), TensorType(())).code == "E0315"
        assert LayerScale().cost([], TensorType((96, 2, 2))) == Cost(flops=384)
        with pytest.raises(ValidationError):
            LayerScale(shape="channels_last")


class TestConstants:
    def test_scale_and_shift(self) -> None:
        x = np.array([[1.0, -2.0]], np.float32)
        np.testing.assert_array_equal(run(Scale(by=0.5), x), [[0.5, -1]])
        np.testing.assert_array_equal(run(Shift(by=3), x), [[4, 1]])
        assert Scale(by=2).cost([], TensorType((3, 4))) == Cost(flops=12)
        assert Shift(by=2).cost([], TensorType((3, None))) is None

    def test_the_number_is_needed(self) -> None:
        for layer in (Scale, Shift):
            for wrong in ({}, {"by": float("inf")}, {"by": True}, {"by": "2"}):
                with pytest.raises(ValidationError):
                    layer(**wrong)


class TestAffine:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_learned(self, shape: tuple[int, ...]) -> None:
        x = sample(*shape)
        factor, term = [2.0, 0.5, -1.0], [1.0, 0.0, -3.0]
        out = run(Affine(), x, weight=np.array(factor), bias=np.array(term))
        np.testing.assert_allclose(out, by_channel(x, factor, term), rtol=1e-14)

    def test_one_term_only(self) -> None:
        x = sample(3, 2, 2)
        out = run(Affine(shift=False), x, weight=np.array([2.0, 3.0, 4.0]))
        np.testing.assert_allclose(out, by_channel(x, [2, 3, 4], [0, 0, 0]))
        out = run(Affine(scale=False), x, bias=np.array([2.0, 3.0, 4.0]))
        np.testing.assert_allclose(out, by_channel(x, [1, 1, 1], [2, 3, 4]))
        np.testing.assert_array_equal(run(Affine(scale=False, shift=False), x), x)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_transform_input_of_googlenet(self, dtype: type) -> None:
        # torchvision: x_c * (std_c / 0.5) + (mean_c - 0.5) / 0.5. An image normalised with ImageNet's mean and
        # standard deviation becomes one normalised with 0.5 and 0.5.
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        layer = Affine(scale=tuple(s / 0.5 for s in std), shift=tuple((m - 0.5) / 0.5 for m in mean), trainable=False)
        image = np.random.default_rng(0).uniform(size=(2, 3, 4, 4)).astype(dtype)
        normalised = np.stack([(image[:, c] - mean[c]) / std[c] for c in range(3)], axis=1).astype(dtype)
        np.testing.assert_allclose(run(layer, normalised), (image - 0.5) / 0.5, rtol=1e-5, atol=1e-6)
        assert layer.weights(TensorType((3, 4, 4))) == ()

    def test_one_number_for_all_channels(self) -> None:
        x = sample(3, 2)
        out = run(Affine(scale=2, shift=-1, trainable=False), x)
        np.testing.assert_allclose(out, 2 * x - 1)
        assert out.dtype == x.dtype

    def test_given_values_are_start_values_of_a_parameter(self) -> None:
        vector = TensorType((2,))
        assert Affine(scale=(1, 2), shift=0.5).weights(vector) == (
            Weight("weight", (2,), initial=(1.0, 2.0)),
            Weight("bias", (2,), initial=0.5),
        )
        assert Affine().weights(vector) == (
            Weight("weight", (2,), initial="ones"),
            Weight("bias", (2,), initial="zeros"),
        )
        frozen = Affine(trainable=False).weights(vector)
        assert [(w.name, w.trainable) for w in frozen] == [("weight", False), ("bias", False)]

    def test_refusals(self) -> None:
        error = refusal(Affine(scale=(1, 2, 3), shift=False, trainable=False), TensorType((1, 8, 8)))
        assert error.code == "E0318"
        assert error.message == "affine has values for 3 channels, and its input is 1x8x8, which has 1"
        assert refusal(Affine(), TensorType((None, 8))).code == "E0309"
        assert Affine(scale=2, shift=False, trainable=False).infer(TensorType((None, 8))).shape == (None, 8)
        for wrong in ({"scale": "2"}, {"scale": [1.0]}, {"shift": (float("nan"),)}, {"scale": None}):
            with pytest.raises(ValidationError):
                Affine(**wrong)

    def test_cost(self) -> None:
        assert Affine().cost([], TensorType((3, 4))) == Cost(flops=24)
        assert Affine(shift=False).cost([], TensorType((3, 4))) == Cost(flops=12)
        assert Affine(scale=False, shift=False).cost([], TensorType((3, 4))) == Cost()


class TestGrayscale:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_luma(self, shape: tuple[int, ...]) -> None:
        x = sample(*shape)
        out = run(Grayscale(), x)
        for n, _, *place in np.ndindex(*out.shape):
            r, g, b = (x[(n, c, *place)] for c in range(3))
            assert out[(n, 0, *place)] == pytest.approx(0.299 * r + 0.587 * g + 0.114 * b, rel=1e-13, abs=1e-15)
        run(Grayscale(), x.astype(np.float32))

    def test_colours(self) -> None:
        # White stays white; the luma of pure red, green, blue on a scale to 255 is 76, 150, 29 (ITU-R BT.601).
        pixels = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.float32)
        assert run(Grayscale(), pixels).round().ravel().tolist() == [255, 76, 150, 29]

    def test_other_coefficients(self) -> None:
        assert run(Grayscale(coefficients=(1, 1)), np.array([[3.0, 4.0]]))[0, 0] == 7

    def test_shape_cost_and_refusals(self) -> None:
        assert Grayscale().infer(TensorType((3, None, None))).shape == (1, None, None)
        assert Grayscale().cost([], TensorType((1, 4, 5))) == Cost(flops=5 * 20)
        assert Grayscale().weights(TensorType((3, 4, 5))) == ()
        error = refusal(Grayscale(), TensorType((4, 8, 8)))
        assert error.code == "E0318"
        assert error.message == "grayscale has values for 3 channels, and its input is 4x8x8, which has 4"
        assert refusal(Grayscale(), TensorType((None, 8, 8))).code == "E0309"
        with pytest.raises(ValidationError):
            Grayscale(coefficients=())


class TestScalar:
    @pytest.mark.parametrize("shape", [(), *SHAPES], ids=str)
    @pytest.mark.parametrize(("layout", "stored"), [("vector", (1,)), ("scalar", ())])
    def test_one_number_for_everything(self, shape: tuple[int, ...], layout: str, stored: tuple[int, ...]) -> None:
        for dtype in (np.float32, np.float64):
            x = sample(*shape, dtype=dtype)
            out = run(Scalar(shape=layout), x, **{"": np.full(stored, -0.5, np.float32)})
            np.testing.assert_array_equal(out, x * dtype(-0.5))

    def test_the_parameter_bears_the_name_of_the_step(self) -> None:
        assert Scalar().weights(TensorType((None, 3))) == (Weight("", (1,), initial=1.0),)
        skipinit = Scalar(initial=0, shape="scalar", trainable=False)
        assert skipinit.weights(TensorType((4,))) == (Weight("", (), trainable=False, initial=0.0),)
        net = netdsl.loads(
            "block unit { residual { conv(3, 1x1) -> alpha: scalar(0) } }\nnetwork n { input 3x4x4 -> layer: unit }"
        )
        model = net.compile()
        model.initialize(0)
        assert model.weights["layer.alpha"].shape == (1,)

    def test_a_residual_branch_that_starts_at_zero_is_switched_off(self) -> None:
        net = netdsl.loads("network n { input 3x4x4 -> residual { conv(3, 1x1) -> alpha: scalar(0) } }")
        model = net.compile()
        model.initialize(0)
        x = sample(3, 4, 4, dtype=np.float32)
        np.testing.assert_array_equal(model(x), x)

    def test_cost(self) -> None:
        assert Scalar().cost([], TensorType((3, 4))) == Cost(flops=12)
        with pytest.raises(ValidationError):
            Scalar(initial=float("nan"))
