"""Joins against loops over elements, NumPy's own rule of broadcasting, and the messages for lanes that do not fit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from netdsl.ir.layer import MANY, ONE, Arity, Cost, Layer, LayerError
from netdsl.ir.types import TensorType
from netdsl.layers.join import Add, Average, Concat, Divide, Magnitude, Maximum, Minimum, Multiply, Subtract, SumGroups

NAIVE: dict[str, tuple[Layer, Callable[[list[float]], float]]] = {
    "add": (Add(), sum),
    "multiply": (Multiply(), math.prod),
    "subtract": (Subtract(), lambda values: values[0] - values[1]),
    "divide": (Divide(), lambda values: values[0] / values[1]),
    "maximum": (Maximum(), max),
    "minimum": (Minimum(), min),
    "average": (Average(), lambda values: sum(values) / len(values)),
    "magnitude": (Magnitude(), lambda values: math.sqrt(sum(v * v for v in values))),
}
TWO_LANES = {"subtract", "divide"}


def t(*shape: int | None) -> TensorType:
    return TensorType(shape)


def run(layer: Layer, *inputs: np.ndarray) -> np.ndarray:
    """Runs a layer and checks that it keeps its promises about shape, type and its inputs."""
    before = [x.copy() for x in inputs]
    out = layer.forward(np, list(inputs), {})
    assert out.shape == (len(inputs[0]), *layer.infer(*(TensorType(x.shape[1:]) for x in inputs)).shape)
    assert out.dtype == inputs[0].dtype
    for x, old in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, old)
    return out


def lanes(*shapes: tuple[int, ...], batch: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(len(shapes))
    return [rng.normal(size=(batch, *shape)) for shape in shapes]


def refusal(layer: Layer, *types: TensorType) -> LayerError:
    with pytest.raises(LayerError) as caught:
        layer.infer(*types)
    return caught.value


@pytest.mark.parametrize("name", NAIVE)
@pytest.mark.parametrize("shape", [(5,), (2, 7), (3, 4, 5), (2, 3, 2, 2)], ids=str)
def test_each_element_is_the_function_of_the_lanes(name: str, shape: tuple[int, ...]) -> None:
    layer, function = NAIVE[name]
    for count in (2,) if name in TWO_LANES else (1, 2, 3, 4):
        xs = lanes(*[shape] * count)
        out = run(layer, *xs)
        for place in np.ndindex(*out.shape):
            assert out[place] == pytest.approx(function([float(x[place]) for x in xs]), rel=1e-13, abs=1e-15)
        single = run(layer, *(x.astype(np.float32) for x in xs))
        np.testing.assert_allclose(single, out, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAIVE)
def test_extents_of_one_are_repeated(name: str) -> None:
    layer, function = NAIVE[name]
    for shapes in ([(3, 4, 5), (3, 1, 1)], [(1, 4, 5), (3, 4, 5)], [(3, 1, 1), (1, 4, 5)]):
        xs = lanes(*shapes)
        out = run(layer, *xs)
        assert out.shape == (2, 3, 4, 5)
        for n, c, i, j in np.ndindex(*out.shape):
            values = [float(x[n, min(c, x.shape[1] - 1), min(i, x.shape[2] - 1), min(j, x.shape[3] - 1)]) for x in xs]
            assert out[n, c, i, j] == pytest.approx(function(values), rel=1e-13, abs=1e-15)


@given(st.data())
def test_the_shape_rule_is_that_of_numpy_for_equal_ranks(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 4))
    extents = st.sampled_from([1, 2, 3])
    shapes = data.draw(st.lists(st.tuples(*[extents] * rank), min_size=1, max_size=4))
    types = [TensorType(shape) for shape in shapes]
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        assert refusal(Add(), *types).code == "E0311"
    else:
        assert Add().infer(*types).shape == expected
        assert Add().infer(*reversed(types)).shape == expected


@given(st.data())
def test_an_open_extent_never_refuses_what_a_size_for_it_would_allow(data: st.DataObject) -> None:
    shapes = data.draw(st.lists(st.tuples(*[st.sampled_from([1, 4])] * 2), min_size=2, max_size=4))
    types = [TensorType(tuple(data.draw(st.sampled_from([n, None])) for n in shape)) for shape in shapes]
    closed = Multiply().infer(*(TensorType(shape) for shape in shapes)).shape
    for found, size in zip(Multiply().infer(*types).shape, closed, strict=True):
        assert found in (size, None)


def test_open_extents() -> None:
    assert Add().infer(t(3, None, None), t(3, 8, None)).shape == (3, 8, None)
    assert Add().infer(t(3, 1, 1), t(3, None, 1)).shape == (3, None, 1)
    assert Add().infer(t(3, None, 1), t(3, 1, 1), t(1, 1, 7)).shape == (3, None, 7)
    assert Add().cost([], t(3, None, 7)) is None
    assert refusal(Add(), t(3, None, 8), t(3, 5, 8), t(3, 6, 8)).code == "E0311"


def test_one_lane_passes_unchanged() -> None:
    x = lanes((2, 3))[0]
    for layer in (Add(), Multiply(), Maximum(), Minimum(), Average()):
        np.testing.assert_array_equal(run(layer, x), x)
        assert layer.cost([t(2, 3)], t(2, 3)) == Cost(flops=0)
    np.testing.assert_array_equal(run(Magnitude(), x), np.abs(x))


def test_the_same_tensor_twice() -> None:
    x = lanes((2, 3))[0]
    np.testing.assert_array_equal(run(Add(), x, x), 2 * x)
    np.testing.assert_array_equal(run(Subtract(), x, x), 0 * x)


def test_magnitude_of_a_3_4_5_triangle_does_not_overflow() -> None:
    x = np.array([[3e30]], np.float32)
    y = np.array([[4e30]], np.float32)
    with np.errstate(over="raise"):
        assert run(Magnitude(), x, y)[0, 0] == pytest.approx(5e30)


def test_cost_and_arity() -> None:
    three = [t(4, 2, 2)] * 3
    for layer, each in ((Add(), 2), (Multiply(), 2), (Maximum(), 2), (Minimum(), 2), (Average(), 3), (Magnitude(), 6)):
        assert layer.cost(three, t(4, 2, 2)) == Cost(flops=16 * each)
        assert layer.arity == MANY
    for layer in (Subtract(), Divide()):
        assert layer.cost(three[:2], t(4, 2, 2)) == Cost(flops=16)
        assert layer.arity == Arity(2, 2)
    assert Concat().cost(three, t(12, 2, 2)) == Cost()
    assert SumGroups(groups=2).arity == ONE


class TestRefusals:
    def test_both_shapes_and_the_lanes_are_named(self) -> None:
        error = refusal(Add(), t(64, 56, 56), t(64, 56, 56), t(128, 28, 28))
        assert error.code == "E0311"
        assert error.message == (
            "add cannot join lane 1, which is 64x56x56, and lane 3, which is 128x28x28: "
            "channels 64 and 128, height 56 and 28, width 56 and 28"
        )
        assert error.help == ("end lane 3 with conv(64, 1x1), or join with concat; a stride of 2 in lane 1 would fit")

    def test_a_difference_that_repetition_mends_is_not_mentioned(self) -> None:
        error = refusal(Multiply(), t(64, 7, 7), t(32, 1, 1))
        assert error.message.endswith(": channels 64 and 32")

    def test_padding_that_would_fit(self) -> None:
        error = refusal(Add(), t(8, 30, 30), t(8, 28, 28))
        assert error.help == "1 more of padding on each side in lane 2 would fit"

    def test_a_stride_that_rounds_up(self) -> None:
        error = refusal(Add(), t(8, 4, 4), t(8, 7, 7))
        assert error.help == "a stride of 2 in lane 2 would fit"

    def test_vectors(self) -> None:
        assert refusal(Add(), t(10), t(20)).help == "end lane 2 with dense(10), or join with concat"

    def test_ranks(self) -> None:
        error = refusal(Multiply(), t(64, 7, 7), t(64))
        assert error.code == "E0311"
        assert "64x7x7" in error.message and "lane 2, which is 64:" in error.message
        assert error.help == "end lane 2 with reshape((64, 1, 1))"
        assert refusal(Add(), t(64), t(32, 7, 7)).help == "end lane 2 with flatten"
        assert refusal(Concat(), t(3, 4), t(3, 4, 5)).code == "E0311"

    def test_three_lanes_name_the_one_that_fixed_the_extent(self) -> None:
        assert "lane 2, which is 5, and lane 3, which is 6" in refusal(Add(), t(1), t(5), t(6)).message
        assert "lane 2, which is 5x2, and lane 3" in refusal(Add(), t(None, 2), t(5, 2), t(6, 2)).message


class TestConcat:
    @pytest.mark.parametrize(
        ("axis", "shapes"),
        [
            ("channels", [(2, 3, 4), (1, 3, 4), (5, 3, 4)]),
            ("channels", [(2,), (3,)]),
            ("height", [(2, 3, 4), (2, 1, 4)]),
            ("width", [(2, 3, 4), (2, 3, 2)]),
            (2, [(2, 3, 4), (2, 3, 2)]),
            ("length", [(2, 3), (2, 5)]),
            ("depth", [(2, 3, 1, 2), (2, 2, 1, 2)]),
        ],
    )
    def test_every_element_is_found_again(self, axis: str | int, shapes: list[tuple[int, ...]]) -> None:
        xs = lanes(*shapes)
        out = run(Concat(axis=axis), *xs)
        names = {1: ["channels"], 2: ["channels", "length"], 3: ["channels", "height", "width"]}
        index = axis if isinstance(axis, int) else names.get(len(shapes[0]), ["channels", "depth"]).index(axis)
        offset = 0
        for x in xs:
            for place in np.ndindex(*x.shape):
                target = list(place)
                target[1 + index] += offset
                assert out[tuple(target)] == x[place]
            offset += x.shape[1 + index]
        assert out.size == sum(x.size for x in xs)

    def test_open_extents(self) -> None:
        assert Concat().infer(t(3, None, 5), t(4, 6, None)).shape == (7, 6, 5)
        assert Concat().infer(t(3, 6), t(None, 6)).shape == (None, 6)

    def test_refusals(self) -> None:
        error = refusal(Concat(), t(64, 28, 28), t(32, 27, 27))
        assert error.code == "E0311"
        assert error.message == (
            "concat cannot join lane 1, which is 64x28x28, and lane 2, which is 32x27x27: "
            "height 28 and 27, width 28 and 27"
        )
        assert refusal(Concat(), t(3, 1, 1), t(3, 4, 4)).code == "E0311"
        assert refusal(Concat(axis="width"), t(3), t(3)).code == "E0315"
        with pytest.raises(ValidationError):
            Concat(axis="breadth")


class TestSumGroups:
    def test_definition(self) -> None:
        x = lanes((6, 2, 2))[0]
        out = run(SumGroups(groups=3), x)
        for n, c, i, j in np.ndindex(*out.shape):
            assert out[n, c, i, j] == pytest.approx(sum(x[n, 2 * g + c, i, j] for g in range(3)))
        np.testing.assert_array_equal(run(SumGroups(groups=1), x), x)

    def test_undoes_concat_of_summands(self) -> None:
        xs = lanes((2, 3), (2, 3), (2, 3))
        np.testing.assert_allclose(run(SumGroups(groups=3), run(Concat(), *xs)), run(Add(), *xs))

    def test_cost_and_refusals(self) -> None:
        assert SumGroups(groups=3).cost([t(6, 2, 2)], t(2, 2, 2)) == Cost(flops=16)
        assert refusal(SumGroups(groups=4), t(6, 2, 2)).code == "E0312"
        assert refusal(SumGroups(groups=2), t(None, 2)).code == "E0309"


@pytest.mark.peer
def test_selective_kernels_and_split_attention_can_be_written_with_these_joins() -> None:
    # ResNeSt (Zhang et al. 2020), radix r, one group, as in the authors' code: sum of the splits, weights from a
    # softmax over the splits, weighted sum.
    torch = pytest.importorskip("torch")
    from netdsl.layers.activation import Softmax

    radix, width = 3, 4
    x = lanes((radix * width, 5, 5))[0]
    logits = lanes((radix * width, 1, 1))[0]
    gate = run(Softmax(groups=radix), logits)
    found = run(SumGroups(groups=radix), run(Multiply(), x, gate))
    splits = torch.split(torch.from_numpy(x), width, dim=1)
    attention = torch.from_numpy(logits).view(2, 1, radix, width).transpose(1, 2).softmax(dim=1).reshape(2, -1, 1, 1)
    peer = sum(a * s for a, s in zip(torch.split(attention, width, dim=1), splits, strict=True))
    np.testing.assert_allclose(found, peer, rtol=1e-12, atol=1e-14)
