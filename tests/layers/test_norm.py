"""Normalisations against loops over the definition, figures from PyTorch, and what must hold of a normalised tensor."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Global, Layer, LayerError, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.norm import BatchNorm, GroupNorm, InstanceNorm, L2Norm, LayerNorm, LocalResponseNorm

SHAPES = [(6,), (6, 5), (6, 4, 3), (6, 2, 3, 2)]


def run(layer: Layer, x: np.ndarray, **weights: np.ndarray) -> np.ndarray:
    """Runs a layer and checks that it keeps its promises about shape, type and its arguments."""
    before = x.copy(), {name: w.copy() for name, w in weights.items()}
    type_ = TensorType(x.shape[1:])
    assert {w.name: w.shape for w in layer.weights(type_)} == {name: w.shape for name, w in weights.items()}
    out = layer.forward(np, [x], weights)
    assert out.shape[1:] == layer.infer(type_).shape
    assert out.dtype == x.dtype
    np.testing.assert_array_equal(x, before[0])
    for name, w in weights.items():
        np.testing.assert_array_equal(w, before[1][name])
    return out


def sample(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, shape)


def naive(x: np.ndarray, members: dict[int, list[tuple[int, ...]]], eps: float) -> np.ndarray:
    """(x - mean) / sqrt(var + eps) for the groups of places of one image that `members` lists."""
    out = np.full(x.shape, np.nan)
    for image in range(len(x)):
        for places in members.values():
            values = [float(x[(image, *place)]) for place in places]
            mean = math.fsum(values) / len(values)
            variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
            for place, v in zip(places, values, strict=True):
                out[(image, *place)] = (v - mean) / math.sqrt(variance + eps)
    return out


def gather(shape: tuple[int, ...], key) -> dict[int, list[tuple[int, ...]]]:
    members: dict[int, list[tuple[int, ...]]] = {}
    for place in product(*(range(n) for n in shape)):
        members.setdefault(key(place), []).append(place)
    return members


def affine(y: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    out = np.empty_like(y)
    for place in np.ndindex(*y.shape):
        out[place] = y[place] * weight[place[1]] + bias[place[1]]
    return out


class TestBatchNorm:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("learned", [True, False])
    def test_definition(self, shape: tuple[int, ...], learned: bool) -> None:
        x, mean, variance = sample(2, *shape), sample(6, seed=1), sample(6, seed=2) ** 2
        weight, bias = sample(6, seed=3), sample(6, seed=4)
        own = {"weight": weight, "bias": bias} if learned else {}
        stats = {"running_mean": mean, "running_var": variance, "num_batches_tracked": np.array(7)}
        layer = BatchNorm(eps=1e-3, affine=learned)
        out = run(layer, x, **own, **stats)
        for place in np.ndindex(*x.shape):
            c = place[1]
            y = (x[place] - mean[c]) / math.sqrt(variance[c] + 1e-3)
            assert out[place] == pytest.approx(y * weight[c] + bias[c] if learned else y, rel=1e-11, abs=1e-12)
        single = {k: v.astype(np.float32) for k, v in {**own, **stats}.items() if v.ndim}
        single["num_batches_tracked"] = np.array(7)
        np.testing.assert_allclose(run(layer, x.astype(np.float32), **single), out, rtol=1e-4, atol=1e-4)

    def test_weights_are_named_and_ordered_as_in_pytorch(self) -> None:
        buffer = {"role": "buffer", "trainable": False}
        assert BatchNorm().weights(TensorType((64, 7, 7))) == (
            Weight("weight", (64,), initial="ones"),
            Weight("bias", (64,), initial="zeros"),
            Weight("running_mean", (64,), initial="zeros", **buffer),
            Weight("running_var", (64,), initial="ones", **buffer),
            Weight("num_batches_tracked", (), initial="zeros", dtype="int64", **buffer),
        )
        assert [w.name for w in BatchNorm(affine=False).weights(TensorType((4,)))] == [
            "running_mean", "running_var", "num_batches_tracked",
        ]  # fmt: skip
        assert not any(w.trainable for w in BatchNorm(trainable=False).weights(TensorType((4,))))

    def test_defaults_and_cost(self) -> None:
        assert (BatchNorm().eps, BatchNorm().momentum) == (1e-5, 0.1)
        assert BatchNorm(eps=1).eps == 1.0
        assert BatchNorm().cost([], TensorType((64, 56, 56))) == Cost(flops=2 * 64 * 56 * 56)
        assert BatchNorm().cost([], TensorType((64, None, 56))) is None
        assert BatchNorm().window([TensorType((64, 56, 56))]) is None

    def test_extents_may_be_open_but_not_the_channels(self) -> None:
        assert BatchNorm().infer(TensorType((3, None, None))).shape == (3, None, None)
        for type_, code in ((TensorType((None, 3, 3)), "E0309"), (TensorType(()), "E0315")):
            with pytest.raises(LayerError) as caught:
                BatchNorm().infer(type_)
            assert caught.value.code == code
            assert "batch_norm" in caught.value.message

    @pytest.mark.parametrize("wrong", [{"eps": 0}, {"eps": -1e-5}, {"momentum": 1.5}, {"affine": 1}, {"track": True}])
    def test_attributes_are_checked(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            BatchNorm(**wrong)


class TestLayerNorm:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_over_the_channels_of_each_position(self, shape: tuple[int, ...]) -> None:
        x, weight, bias = sample(2, *shape), sample(6, seed=3), sample(6, seed=4)
        y = naive(x, gather(shape, lambda place: place[1:]), 1e-6)
        np.testing.assert_allclose(run(LayerNorm(eps=1e-6, affine=False), x), y, rtol=1e-11, atol=1e-13)
        out = run(LayerNorm(eps=1e-6), x, weight=weight, bias=bias)
        np.testing.assert_allclose(out, affine(y, weight, bias), rtol=1e-10, atol=1e-12)
        single = run(
            LayerNorm(eps=1e-6), x.astype(np.float32), weight=weight.astype(np.float32), bias=bias.astype(np.float32)
        )
        np.testing.assert_allclose(single, out, rtol=1e-4, atol=1e-5)

    def test_cost(self) -> None:
        # One position, C channels: C sums, C centrings, 2 C for the variance, C divisions, 2 C for scale and shift.
        assert LayerNorm().cost([], TensorType((10,))) == Cost(flops=7 * 10 + 2)
        assert LayerNorm(affine=False).cost([], TensorType((10, 2, 3))) == Cost(flops=6 * (5 * 10 + 2))
        assert LayerNorm().cost([], TensorType((10, None, 3))) is None
        assert LayerNorm().window([TensorType((10, 2, 3))]) is None


class TestGroupNorm:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("groups", [1, 2, 3, 6])
    def test_over_slices_of_the_channels(self, shape: tuple[int, ...], groups: int) -> None:
        x, weight, bias = sample(2, *shape), sample(6, seed=3), sample(6, seed=4)
        y = naive(x, gather(shape, lambda place: place[0] // (6 // groups)), 1e-5)
        out = run(GroupNorm(groups=groups), x, weight=weight, bias=bias)
        np.testing.assert_allclose(out, affine(y, weight, bias), rtol=1e-9, atol=1e-10)

    def test_agrees_with_figures_from_pytorch(self) -> None:
        # group_norm(arange(24) / 4 - 3 as (1, 6, 2, 2), 3): eight values in equal steps, normalised.
        x = (np.arange(24) / 4 - 3).reshape(1, 6, 2, 2)
        expected = [
            -1.5275019556090108, -1.0910728254350077, -0.6546436952610046, -0.21821456508700154,
            0.21821456508700154, 0.6546436952610046, 1.0910728254350077, 1.5275019556090108,
        ]  # fmt: skip
        out = run(GroupNorm(groups=3, affine=False), x)
        np.testing.assert_allclose(out.reshape(3, 8), [expected] * 3, rtol=1e-12)

    def test_one_channel_a_group_is_instance_norm(self) -> None:
        x = sample(2, 6, 4, 3)
        one = run(GroupNorm(groups=6, affine=False), x)
        np.testing.assert_array_equal(one, run(InstanceNorm(), x))

    def test_groups_must_divide(self) -> None:
        with pytest.raises(LayerError) as caught:
            GroupNorm(groups=32).infer(TensorType((116, 7, 7)))
        assert caught.value.code == "E0312"
        assert caught.value.message == "group_norm divides 116 channels by 32, which leaves 20"
        assert caught.value.help == "choose groups from the divisors of 116: 1, 2, 4, 29, 58, 116"
        with pytest.raises(ValidationError):
            GroupNorm(groups=0)

    def test_the_divisors_of_a_huge_number_are_found_quickly(self) -> None:
        with pytest.raises(LayerError) as caught:
            GroupNorm(groups=7).infer(TensorType((2**200, 7, 7)))
        assert caught.value.help is not None and "1, 2, 4, 8, 16" in caught.value.help

    def test_cost_and_window(self) -> None:
        assert GroupNorm(groups=2).cost([], TensorType((4, 3, 3))) == Cost(flops=7 * 36 + 2 * 2)
        assert isinstance(GroupNorm(groups=2).window([TensorType((4, 3, 3))]), Global)


class TestInstanceNorm:
    @pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
    def test_over_the_positions_of_each_channel(self, shape: tuple[int, ...]) -> None:
        x, weight, bias = sample(2, *shape), sample(6, seed=3), sample(6, seed=4)
        y = naive(x, gather(shape, lambda place: place[0]), 1e-5)
        np.testing.assert_allclose(run(InstanceNorm(), x), y, rtol=1e-10, atol=1e-12)
        out = run(InstanceNorm(affine=True), x, weight=weight, bias=bias)
        np.testing.assert_allclose(out, affine(y, weight, bias), rtol=1e-9, atol=1e-10)

    def test_a_vector_has_no_positions(self) -> None:
        with pytest.raises(LayerError) as caught:
            InstanceNorm().infer(TensorType((8,)))
        assert caught.value.code == "E0315"

    def test_cost(self) -> None:
        assert InstanceNorm().cost([], TensorType((4, 3, 3))) == Cost(flops=5 * 36 + 2 * 4)
        assert isinstance(InstanceNorm().window([TensorType((4, 3, 3))]), Global)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 5), st.floats(-100, 100), st.floats(0.5, 50))
def test_normalised_values_do_not_depend_on_shift_and_scale(
    groups: int, width: int, side: int, shift: float, factor: float
) -> None:
    x = sample(2, groups * width, side, side)
    layer = GroupNorm(groups=groups, affine=False, eps=1e-12)
    y = run(layer, x)
    np.testing.assert_allclose(run(layer, factor * x + shift), y, atol=1e-7)
    parts = y.reshape(2, groups, -1)
    np.testing.assert_allclose(parts.mean(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(parts.var(axis=2), 1, rtol=1e-9)


class TestLocalResponseNorm:
    @staticmethod
    def naive(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
        out = np.empty_like(x)
        channels = x.shape[1]
        for place in np.ndindex(*x.shape):
            n, c, *rest = place
            window = range(max(0, c - size // 2), min(channels - 1, c + (size - 1) // 2) + 1)
            total = sum(float(x[(n, j, *rest)]) ** 2 for j in window)
            out[place] = x[place] / (k + alpha * total) ** beta
        return out

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("size", [1, 2, 3, 5, 4, 11, 40])
    def test_definition(self, shape: tuple[int, ...], size: int) -> None:
        x = sample(2, *shape)
        caffe = run(LocalResponseNorm(size=size, alpha=0.3), x)
        np.testing.assert_allclose(caffe, self.naive(x, size, 0.3 / size, 0.75, 1), rtol=1e-12)
        paper = run(LocalResponseNorm(size=size, alpha=0.3, k=2, beta=0.5, divide_alpha=False), x)
        np.testing.assert_allclose(paper, self.naive(x, size, 0.3, 0.5, 2), rtol=1e-12)

    def test_agrees_with_figures_from_pytorch(self) -> None:
        x = (np.arange(24) / 4 - 3).reshape(1, 6, 2, 2)
        odd = run(LocalResponseNorm(size=5, alpha=0.5, beta=0.75, k=2.0), x)
        expected = [
            -1.077585152505143, -0.5893660744678055, -0.10882375109295797, 0.30763218691173116,
            0.7445614255722983, 1.1717832119310934,
        ]  # fmt: skip
        np.testing.assert_allclose(odd[0, :, 1, 1], expected, rtol=1e-12)
        even = run(LocalResponseNorm(size=4, alpha=0.5, beta=0.75, k=2.0), x)
        expected = [
            -1.0317122031874426, -0.5719887952919047, -0.11231565159511246, 0.3604620537979836,
            0.6979602008837127, 1.098685083684285,
        ]  # fmt: skip
        np.testing.assert_allclose(even[0, :, 1, 1], expected, rtol=1e-12)

    def test_single_precision_is_kept(self) -> None:
        x = sample(1, 9, 3, 3)
        single = run(LocalResponseNorm(), x.astype(np.float32))
        np.testing.assert_allclose(single, run(LocalResponseNorm(), x), rtol=1e-5)

    @pytest.mark.parametrize(("channels", "size"), [(1, 5), (3, 5), (6, 5), (6, 4), (6, 1), (5, 100)])
    def test_cost_counts_the_channels_in_each_window(self, channels: int, size: int) -> None:
        per_position = 0
        for c in range(channels):
            window = sum(0 <= j < channels for j in range(c - size // 2, c + (size - 1) // 2 + 1))
            per_position += 1 + (window - 1) + 4
        assert LocalResponseNorm(size=size).cost([], TensorType((channels, 3, 2))) == Cost(flops=6 * per_position)

    def test_unknown_extents(self) -> None:
        open_type = TensorType((None, 3, 3))
        assert LocalResponseNorm().infer(open_type) == open_type
        assert LocalResponseNorm().cost([open_type], open_type) is None
        with pytest.raises(LayerError) as caught:
            LocalResponseNorm().infer(TensorType(()))
        assert caught.value.code == "E0315"


class TestL2Norm:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_the_channels_of_each_position_have_length_one(self, shape: tuple[int, ...]) -> None:
        x = sample(2, *shape)
        out = run(L2Norm(), x)
        for place in np.ndindex(*x.shape):
            n, _, *rest = place
            length = math.sqrt(math.fsum(float(x[(n, c, *rest)]) ** 2 for c in range(6)))
            assert out[place] == pytest.approx(x[place] / length, rel=1e-12)

    @pytest.mark.parametrize(
        ("axis", "key"),
        [("positions", lambda p: p[0]), ("height", lambda p: (p[0], p[2])), (("channels", 2), lambda p: p[1])],
        ids=["positions", "height", "channels and width"],
    )
    def test_over_other_axes(self, axis, key) -> None:
        x = sample(2, 6, 4, 3)
        out = run(L2Norm(axis=axis), x)
        for image in range(2):
            for places in gather((6, 4, 3), key).values():
                length = math.sqrt(math.fsum(float(x[(image, *place)]) ** 2 for place in places))
                for place in places:
                    assert out[(image, *place)] == pytest.approx(x[(image, *place)] / length, rel=1e-12)

    def test_axes(self) -> None:
        assert L2Norm().window([TensorType((6, 4, 3))]) is None
        assert isinstance(L2Norm(axis="positions").window([TensorType((6, 4, 3))]), Global)
        for axis, shape in (("positions", (6,)), ("height", (6, 4)), ("channels", ())):
            with pytest.raises(LayerError) as caught:
                L2Norm(axis=axis).infer(TensorType(shape))
            assert caught.value.code == "E0315"

    def test_zero_stays_zero(self) -> None:
        with np.errstate(all="raise"):
            np.testing.assert_array_equal(run(L2Norm(), np.zeros((1, 4), np.float32)), 0)

    def test_cost(self) -> None:
        assert L2Norm().cost([], TensorType((10, 2, 2))) == Cost(flops=4 * (10 + 9 + 1 + 1 + 10))
        positions = L2Norm(axis="positions")
        assert positions.cost([], TensorType((10, 2, 2))) == Cost(flops=10 * (4 + 3 + 1 + 1 + 4))
        assert positions.cost([], TensorType((10, None, 2))) is None


@pytest.mark.peer
def test_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    weight, bias, mean, variance = (sample(6, seed=s) for s in range(4))
    variance = variance**2
    tw, tb, tm, tv = (torch.from_numpy(v) for v in (weight, bias, mean, variance))
    own = {"weight": weight, "bias": bias}
    for shape in SHAPES:
        x = sample(3, *shape, seed=9)
        t = torch.from_numpy(x)
        stats = {"running_mean": mean, "running_var": variance, "num_batches_tracked": np.array(0)}
        out = run(BatchNorm(eps=1e-3), x, **own, **stats)
        np.testing.assert_allclose(out, f.batch_norm(t, tm, tv, tw, tb, eps=1e-3), rtol=1e-10, atol=1e-12)
        out = run(LayerNorm(), x, **own)
        peer = f.layer_norm(t.movedim(1, -1), (6,), tw, tb).movedim(-1, 1)
        np.testing.assert_allclose(out, peer, rtol=1e-10, atol=1e-12)
        out = run(GroupNorm(groups=3), x, **own)
        np.testing.assert_allclose(out, f.group_norm(t, 3, tw, tb), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(run(L2Norm(), x), f.normalize(t, dim=1), rtol=1e-12)
        np.testing.assert_allclose(run(L2Norm(axis=len(shape) - 1), x), f.normalize(t, dim=-1), rtol=1e-12)
        if len(shape) > 1:
            np.testing.assert_allclose(run(InstanceNorm(), x), f.instance_norm(t), rtol=1e-9, atol=1e-11)
            for size in (2, 5, 8):
                peer = f.local_response_norm(t, size, alpha=0.1, beta=0.7, k=1.5)
                out = run(LocalResponseNorm(size=size, alpha=0.1, beta=0.7, k=1.5), x)
                np.testing.assert_allclose(out, peer, rtol=1e-10)
    names = [*torch.nn.BatchNorm2d(6).state_dict()]
    assert [w.name for w in BatchNorm().weights(TensorType((6, 2, 2)))] == names
