"""Rearrangements, element by element: where each number goes, and that it comes back."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from netdsl.ir.layer import Cost, Global, Layer, LayerError, Window
from netdsl.ir.types import TensorType
from netdsl.layers import reshape as family
from netdsl.layers.reshape import (
    ChannelShuffle,
    Decimate,
    DepthToSpace,
    Flatten,
    Identity,
    PadChannels,
    Permute,
    Reshape,
    Slice,
    SpaceToDepth,
)


def t(*shape: int | None) -> TensorType:
    return TensorType(shape)


def numbered(*shape: int, batch: int = 2) -> np.ndarray:
    """A batch in which no two numbers are equal."""
    return np.arange(batch * int(np.prod(shape)), dtype=np.float32).reshape(batch, *shape)


def run(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Runs a layer and checks that it keeps its promises about shape, type, cost and its input."""
    before = x.copy()
    inferred = layer.infer(TensorType(x.shape[1:]))
    out = layer.forward(np, [x], {})
    assert out.shape == (len(x), *inferred.shape)
    assert out.dtype == x.dtype
    assert layer.cost([TensorType(x.shape[1:])], inferred) == Cost()
    np.testing.assert_array_equal(x, before)
    empty = layer.forward(np, [x[:0]], {})
    assert empty.shape == (0, *inferred.shape)
    return out


def refusal(layer: Layer, type_: TensorType) -> LayerError:
    with pytest.raises(LayerError) as caught:
        layer.infer(type_)
    return caught.value


def test_identity() -> None:
    x = numbered(2, 3)
    np.testing.assert_array_equal(run(Identity(), x), x)
    assert Identity().window([t(2, 3)]) is None


class TestFlatten:
    @pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (2, 3, 1, 2)], ids=str)
    def test_the_last_axis_runs_fastest(self, shape: tuple[int, ...]) -> None:
        x = numbered(*shape)
        out = run(Flatten(), x)
        for n in range(2):
            assert out[n].tolist() == [float(x[(n, *place)]) for place in np.ndindex(*shape)]

    def test_the_course_network_has_400_values_behind_its_last_pool(self) -> None:
        # 5 x 5 x 16 = 400 in the LeNet-like example; VGG-16 has 7 * 7 * 512 = 25088 before its classifier.
        assert Flatten().infer(t(16, 5, 5)).shape == (400,)
        assert Flatten().infer(t(512, 7, 7)).shape == (25088,)

    def test_open_extents_and_window(self) -> None:
        assert Flatten().infer(t(3, None, 2)).shape == (None,)
        assert Flatten().infer(t()).shape == (1,)
        assert isinstance(Flatten().window([t(16, 5, 5)]), Global)
        assert Flatten().window([t(512, 1, 1)]) is None
        assert Flatten().window([t(512)]) is None


class TestReshape:
    @pytest.mark.parametrize(
        ("stated", "shape"),
        [
            ((4, 6), (4, 6)),
            (24, (24,)),
            (-1, (24,)),
            ((2, -1, 2), (2, 6, 2)),
            ((None, 8), (3, 8)),
            ((24, 1, 1), (24, 1, 1)),
        ],
    )
    def test_order_is_kept(self, stated: Any, shape: tuple[int, ...]) -> None:
        x = numbered(2, 3, 4)
        out = run(Reshape(shape=stated), x)
        assert out.shape[1:] == shape
        np.testing.assert_array_equal(out.reshape(2, -1), x.reshape(2, -1))

    def test_open_extents(self) -> None:
        assert Reshape(shape=(3, -1)).infer(t(3, None, None)).shape == (3, None)
        assert refusal(Reshape(shape=(3, 100)), t(3, None, None)).code == "E0309"

    def test_both_counts_are_named(self) -> None:
        error = refusal(Reshape(shape=(64, 7, 7)), t(64, 6, 6))
        assert error.code == "E0314"
        assert error.message == "reshape to 64x7x7 needs 3136 elements, and its input is 64x6x6, which has 2304"
        error = refusal(Reshape(shape=(8, 3, 3)), t(16, 6, 6))
        assert error.help == "64x3x3 would fit"
        error = refusal(Reshape(shape=(-1, 7)), t(64, 6, 6))
        assert error.message == "reshape to ?x7 needs a multiple of 7 elements, and its input is 64x6x6, which has 2304"

    @pytest.mark.parametrize("wrong", [(-1, -1), (None, -1), (0, 3), (-2, 3), 0, [3, 4], (2.0, 3), (True, 2)])
    def test_impossible_shapes(self, wrong: Any) -> None:
        with pytest.raises(ValidationError):
            Reshape(shape=wrong)

    def test_window(self) -> None:
        assert Reshape(shape=(-1, 1, 1)).window([t(64)]) is None
        assert isinstance(Reshape(shape=-1).window([t(64, 2, 2)]), Global)


class TestPermute:
    @pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0)])
    def test_every_element_goes_to_its_place(self, axes: tuple[int, ...]) -> None:
        x = numbered(2, 3, 4)
        out = run(Permute(axes=axes), x)
        for n, *place in np.ndindex(*x.shape):
            assert out[(n, *(place[axis] for axis in axes))] == x[(n, *place)]

    def test_there_and_back(self) -> None:
        x = numbered(2, 3, 4)
        np.testing.assert_array_equal(run(Permute(axes=(2, 0, 1)), run(Permute(axes=(1, 2, 0)), x)), x)

    @pytest.mark.parametrize("axes", [(0, 1), (0, 1, 1), (1, 2, 3), (0, 1, 2, 3), (-1, 0, 1), ()])
    def test_what_is_no_permutation(self, axes: tuple[int, ...]) -> None:
        error = refusal(Permute(axes=axes), t(8, 4, 4))
        assert error.code == "E0316"
        assert "8x4x4" in error.message
        assert error.help == "name each of 0, 1, 2 once"

    def test_window(self) -> None:
        assert Permute(axes=(0, 2, 1)).window([t(8, 4, 4)]) is None
        assert isinstance(Permute(axes=(1, 2, 0)).window([t(8, 4, 4)]), Global)


class TestSlice:
    @given(st.data())
    def test_python_agrees(self, data: st.DataObject) -> None:
        shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple))
        axis = data.draw(st.integers(0, len(shape) - 1))
        start = data.draw(st.integers(0, shape[axis] - 1))
        stop = data.draw(st.integers(start + 1, shape[axis]) | st.none())
        x = numbered(*shape)
        out = run(Slice(start=start, stop=stop, axis=axis), x)
        kept = list(range(shape[axis]))[start:stop]
        for position, source in enumerate(kept):
            np.testing.assert_array_equal(out.take(position, 1 + axis), x.take(source, 1 + axis))
        assert out.shape[1 + axis] == len(kept)

    def test_two_halves_make_the_whole(self) -> None:
        x = numbered(4, 3, 3)
        halves = [run(Slice(stop=2), x), run(Slice(start=2), x)]
        np.testing.assert_array_equal(np.concatenate(halves, axis=1), x)

    def test_open_extents(self) -> None:
        assert Slice(start=1, axis="height").infer(t(3, None, 5)).shape == (3, None, 5)
        assert Slice(start=1, stop=2).infer(t(3, None, 5)).shape == (1, None, 5)
        assert refusal(Slice(stop=4, axis="height"), t(3, None, 5)).code == "E0309"

    def test_out_of_range(self) -> None:
        error = refusal(Slice(start=32, stop=128), t(64, 7, 7))
        assert error.code == "E0313"
        assert error.message == "slice from 32 to 128 along the channels, and its input is 64x7x7, which has 64 there"
        assert error.help == "stop is at most 64"
        assert refusal(Slice(start=64), t(64, 7, 7)).help == "start is at most 63"
        assert refusal(Slice(axis="depth"), t(64, 7, 7)).code == "E0315"
        for wrong in ({"start": 3, "stop": 3}, {"start": -1}, {"stop": 0}):
            with pytest.raises(ValidationError):
                Slice(**wrong)

    def test_window(self) -> None:
        assert Slice(stop=2).window([t(4, 5, 6)]) is None
        assert Slice(start=2, axis="width").window([t(4, 5, 6)]) == Window((1, 1), (1, 1), (0, -2))


class TestShortcutOfOptionA:
    @pytest.mark.parametrize("stride", [1, 2, 3, 9])
    def test_decimate_keeps_every_stride_th_position(self, stride: int) -> None:
        x = numbered(2, 5, 6)
        out = run(Decimate(stride=stride), x)
        kept = [(i, j) for i in range(5) for j in range(6) if i % stride == 0 and j % stride == 0]
        assert out[0, 1].ravel().tolist() == [float(x[0, 1, i, j]) for i, j in kept]

    def test_other_ranks(self) -> None:
        assert run(Decimate(stride=2), numbered(2, 5)).shape == (2, 2, 3)
        assert run(Decimate(stride=(1, 2, 3)), numbered(2, 5, 5, 5)).shape == (2, 2, 5, 3, 2)
        assert Decimate(stride=2).infer(t(2, None, 5)).shape == (2, None, 3)
        assert Decimate(stride=2).window([t(2, 5, 5)]) == Window((1, 1), (2, 2), (0, 0))
        assert refusal(Decimate(stride=2), t(8)).code == "E0315"
        assert refusal(Decimate(stride=(2, 2)), t(8, 5)).code == "E0315"

    def test_zero_channels(self) -> None:
        x = numbered(3, 2, 2) + 1
        out = run(PadChannels(before=1, after=2), x)
        np.testing.assert_array_equal(out[:, 1:4], x)
        assert out.shape[1] == 6 and not out[:, 0].any() and not out[:, 4:].any()
        out = run(PadChannels(to=5), x)
        np.testing.assert_array_equal(out[:, :3], x)
        assert out.shape[1] == 5 and not out[:, 3:].any()
        np.testing.assert_array_equal(run(PadChannels(to=3), x), x)

    def test_refusals(self) -> None:
        error = refusal(PadChannels(to=32), t(64, 8, 8))
        assert error.code == "E0319"
        assert "32" in error.message and "64x8x8" in error.message
        assert refusal(PadChannels(to=32), t(None, 8)).code == "E0309"
        assert refusal(PadChannels(before=1), t()).code == "E0315"
        assert PadChannels(before=1).infer(t(None, 8)).shape == (None, 8)
        for wrong in ({"to": 4, "after": 1}, {"before": -1}, {"to": 0}):
            with pytest.raises(ValidationError):
                PadChannels(**wrong)


class TestChannelShuffle:
    def test_figure_1_of_shufflenet(self) -> None:
        # Three groups of four channels are dealt round: 0 4 8, 1 5 9, ...
        x = np.arange(12, dtype=np.float64).reshape(1, 12)
        assert run(ChannelShuffle(groups=3), x)[0].tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]

    @given(st.integers(1, 4), st.integers(1, 4))
    def test_the_shuffle_by_the_other_factor_undoes_it(self, groups: int, width: int) -> None:
        x = numbered(groups * width, 2, 3)
        there = run(ChannelShuffle(groups=groups), x)
        for g in range(groups):
            for c in range(width):
                np.testing.assert_array_equal(there[:, c * groups + g], x[:, g * width + c])
        np.testing.assert_array_equal(run(ChannelShuffle(groups=width), there), x)

    def test_refusals(self) -> None:
        error = refusal(ChannelShuffle(groups=3), t(116, 28, 28))
        assert error.code == "E0312"
        assert error.help == "choose groups from the divisors of 116: 1, 2, 4, 29, 58, 116"
        assert refusal(ChannelShuffle(groups=2), t(None, 4)).code == "E0309"
        assert refusal(ChannelShuffle(groups=2), t()).code == "E0315"


class TestBlocks:
    @pytest.mark.parametrize("order", ["crd", "dcr"])
    def test_every_element_goes_to_its_place(self, order: str) -> None:
        b, channels = 2, 3
        x = numbered(channels, 4, 6)
        out = run(SpaceToDepth(block=b, order=order), x)
        for n, c, i, j in np.ndindex(*x.shape):
            place = (i % b) * b + j % b
            deep = c * b * b + place if order == "crd" else place * channels + c
            assert out[n, deep, i // b, j // b] == x[n, c, i, j]

    @given(st.sampled_from(["crd", "dcr"]), st.integers(1, 3), st.integers(1, 3), st.data())
    def test_there_and_back(self, order: str, block: int, channels: int, data: st.DataObject) -> None:
        spatial = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
        x = numbered(channels, *(block * n for n in spatial))
        deep = run(SpaceToDepth(block=block, order=order), x)
        assert deep.shape[1:] == (channels * block ** len(spatial), *spatial)
        np.testing.assert_array_equal(run(DepthToSpace(block=block, order=order), deep), x)

    def test_figure_from_pytorch(self) -> None:
        # torch.nn.functional.pixel_unshuffle(arange(16) as (1, 1, 4, 4), 2)
        x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        expected = [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15]
        assert run(SpaceToDepth(block=2), x).ravel().tolist() == expected

    def test_example_of_the_onnx_operators(self) -> None:
        # DepthToSpace of the ONNX operator page, mode DCR and mode CRD: 8 channels of 2x3 to 2 channels of 4x6.
        x = np.array([[[[9 * c + 3 * i + j for j in range(3)] for i in range(2)] for c in range(8)]], np.float32)
        dcr = run(DepthToSpace(block=2, order="dcr"), x)[0, 0]
        assert dcr.tolist() == [
            [0, 18, 1, 19, 2, 20],
            [36, 54, 37, 55, 38, 56],
            [3, 21, 4, 22, 5, 23],
            [39, 57, 40, 58, 41, 59],
        ]
        crd = run(DepthToSpace(block=2, order="crd"), x)[0, 0]
        assert crd.tolist() == [
            [0, 9, 1, 10, 2, 11],
            [18, 27, 19, 28, 20, 29],
            [3, 12, 4, 13, 5, 14],
            [21, 30, 22, 31, 23, 32],
        ]

    def test_open_extents_and_windows(self) -> None:
        assert SpaceToDepth(block=2).infer(t(3, None, 8)).shape == (12, None, 4)
        assert SpaceToDepth(block=2).infer(t(None, 8, 8)).shape == (None, 4, 4)
        assert DepthToSpace(block=2).infer(t(12, None, 4)).shape == (3, None, 8)
        assert SpaceToDepth(block=4).window([t(3, 8, 8)]) == Window((4, 4), (4, 4), (0, 0))
        assert DepthToSpace(block=2).window([t(12, 8, 8)]) == Window((1, 1), (Fraction(1, 2),) * 2, (0, 0))

    def test_refusals(self) -> None:
        error = refusal(SpaceToDepth(block=4), t(3, 224, 225))
        assert error.code == "E0312"
        assert error.message == "space_to_depth divides 225 positions by 4, which leaves 1"
        assert refusal(DepthToSpace(block=2), t(10, 4, 4)).code == "E0312"
        assert refusal(DepthToSpace(block=2), t(None, 4, 4)).code == "E0309"
        assert refusal(DepthToSpace(block=2), t(8)).code == "E0315"
        assert refusal(SpaceToDepth(block=2), t(8)).code == "E0315"
        for wrong in ({"block": 0}, {"block": 2, "order": "rcd"}):
            with pytest.raises(ValidationError):
                SpaceToDepth(**wrong)


def test_no_layer_of_the_family_owns_weights() -> None:
    arguments: dict[str, dict[str, Any]] = {
        "reshape": {"shape": -1}, "permute": {"axes": (0, 1, 2)}, "decimate": {"stride": 2},
        "channel_shuffle": {"groups": 2}, "space_to_depth": {"block": 2}, "depth_to_space": {"block": 2},
    }  # fmt: skip
    for layer in family.LAYERS:
        assert layer(**arguments.get(layer.kind, {})).weights(t(4, 4, 4)) == ()


@pytest.mark.peer
def test_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x = numbered(12, 4, 6)
    p = torch.from_numpy(x)
    np.testing.assert_array_equal(run(SpaceToDepth(block=2), x), f.pixel_unshuffle(p, 2))
    np.testing.assert_array_equal(run(DepthToSpace(block=2), x), f.pixel_shuffle(p, 2))
    np.testing.assert_array_equal(run(ChannelShuffle(groups=3), x), torch.nn.ChannelShuffle(3)(p))
    np.testing.assert_array_equal(run(Flatten(), x), torch.flatten(p, 1))
    np.testing.assert_array_equal(run(Permute(axes=(2, 0, 1)), x), p.permute(0, 3, 1, 2))
    shortcut = run(PadChannels(before=6, after=6), run(Decimate(stride=2), x))
    np.testing.assert_array_equal(shortcut, f.pad(p[:, :, ::2, ::2], (0, 0, 0, 0, 6, 6)))
