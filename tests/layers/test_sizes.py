"""The output size against counting windows, the lecture's cases, and what is said where nothing fits."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from loops import starts

from netdsl.ir.layer import LayerError
from netdsl.ir.types import TensorType
from netdsl.layers.sizes import divisors, margins, output_extent, per_axis, same, slides


@given(
    n=st.integers(1, 40),
    f=st.integers(1, 7),
    s=st.integers(1, 5),
    d=st.integers(1, 4),
    side=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    ceil_mode=st.booleans(),
)
def test_formula_is_the_number_of_windows(n, f, s, d, side, ceil_mode):
    found = starts(n, f, s, side, d, ceil_mode)
    span = d * (f - 1) + 1
    assert max(output_extent(n, span, s, *side, ceil_mode), 0) == len(found)
    if found:
        (slide,) = slides("conv", TensorType((1, n)), (f,), s, side, d, ceil_mode)
        assert (slide.o, slide.span, slide.before, slide.after) == (len(found), span, *side)
    else:
        with pytest.raises(LayerError) as caught:
            slides("conv", TensorType((1, n)), (f,), s, side, d, ceil_mode)
        assert caught.value.code == "E0301"


@given(n=st.integers(1, 60), f=st.integers(1, 9), s=st.integers(1, 6), d=st.integers(1, 3))
def test_same_makes_ceil_n_over_s_with_as_little_padding_as_possible(n, f, s, d):
    (slide,) = slides("conv", TensorType((1, n)), f, s, "same", d)
    assert slide.o == (n + s - 1) // s
    assert slide.after - slide.before in (0, 1)  # the odd one behind
    total = slide.before + slide.after
    if total:
        assert len(starts(n, f, s, (0, total - 1), d)) < slide.o


# deeplearning.ai, Convolutional Neural Networks, week 1: padding and strided convolutions.
@pytest.mark.parametrize(
    ("n", "f", "valid", "pad"),
    [(6, 3, 4, 1), (6, 5, 2, 2), (5, 3, 3, 1), (28, 5, 24, 2), (32, 5, 28, 2), (39, 3, 37, 1), (224, 7, 218, 3)],
)
def test_lecture_padding(n, f, valid, pad):
    x = TensorType((3, n, n))
    assert [axis.o for axis in slides("conv", x, f, padding="valid")] == [valid, valid]
    for padding in ("half", "same", pad):
        assert [(axis.o, axis.before, axis.after) for axis in slides("conv", x, f, padding=padding)] == [
            (n, pad, pad)
        ] * 2


@pytest.mark.parametrize(
    ("n", "f", "p", "s", "out"),
    [
        (7, 3, 0, 2, 3),
        (6, 3, 0, 2, 2),
        (63, 7, 0, 2, 29),
        (63, 7, 2, 2, 31),
        (15, 3, 0, 2, 7),
        (128, 5, 0, 2, 62),
        (227, 11, 0, 4, 55),
        (224, 7, 3, 2, 112),
    ],
)
def test_lecture_strides(n, f, p, s, out):
    assert [axis.o for axis in slides("conv", TensorType((1, n, n)), f, s, p)] == [out, out]


def test_tensorflow_same_puts_the_odd_pixel_behind():
    # The course's SIGNS network: 4x4 pads 1 and 2, 2x2 pads 0 and 1; timm's tf_ networks: 224, 3x3 / 2 pads 0 and 1.
    assert same(64, 4, 1) == (1, 2)
    assert same(8, 2, 1) == (0, 1)
    assert same(224, 3, 2) == (0, 1)
    assert same(225, 3, 2) == (1, 1)


def test_padding_is_written_for_all_sides_each_axis_or_each_side():
    image, sequence, volume = TensorType((3, 9, 9)), TensorType((3, 9)), TensorType((3, 9, 9, 9))
    assert margins("conv", "padding", 2, image) == ((2, 2), (2, 2))
    assert margins("conv", "padding", (1, 2), image) == ((1, 1), (2, 2))
    assert margins("conv", "padding", (1, 2, 3, 4), image) == ((1, 2), (3, 4))  # top, bottom, left, right
    assert margins("conv", "padding", (1, 2), sequence) == ((1, 2),)
    assert margins("conv", "padding", (1, 2, 3), volume) == ((1, 1), (2, 2), (3, 3))
    assert per_axis("conv", "stride", 2, volume) == (2, 2, 2)


@pytest.mark.parametrize("value", [(1, 2, 3), (1,), (1, 2, 3, 4, 5)])
def test_padding_of_another_length(value):
    with pytest.raises(LayerError) as caught:
        margins("conv", "padding", value, TensorType((3, 9, 9)))
    assert caught.value.code == "E0305"
    assert "4 numbers (top, bottom, left, right)" in caught.value.help


def test_kernel_of_another_length():
    with pytest.raises(LayerError) as caught:
        slides("conv", TensorType((3, 9, 9)), (3, 3, 3))
    assert caught.value.code == "E0305"
    assert caught.value.message == "conv has kernel 3x3x3 and its input is 3x9x9, which has 2 spatial axes"
    assert caught.value.help == "kernel is one number, or 2 numbers (height, width)"


def test_unknown_extents_flow_through():
    x = TensorType((3, None, 10))
    assert [axis.o for axis in slides("conv", x, 3)] == [None, 8]
    assert [axis.o for axis in slides("conv", x, 3, 2, "same")] == [None, 5]
    with pytest.raises(LayerError, match="larger than its input of"):
        slides("conv", x, (3, 11))


@given(
    n=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    f=st.integers(1, 15),
    s=st.integers(1, 4),
    d=st.integers(1, 3),
    ceil_mode=st.booleans(),
)
def test_help_names_the_smallest_padding_that_fits(n, f, s, d, ceil_mode):
    x = TensorType((1, *n))
    try:
        slides("conv", x, f, s, 0, d, ceil_mode)
    except LayerError as error:
        least = int(error.help.split(";")[0].removeprefix("padding = ").removesuffix(" is the least that fits"))
    else:
        assume(False)
    slides("conv", x, f, s, least, d, ceil_mode)
    with pytest.raises(LayerError):
        slides("conv", x, f, s, least - 1, d, ceil_mode)


def test_kernel_larger_than_its_input_names_both():
    with pytest.raises(LayerError) as caught:
        slides("conv", TensorType((16, 3, 3)), (5, 5))
    assert caught.value.code == "E0301"
    assert caught.value.message == "conv has a kernel of 5x5, which is larger than its input of 3x3 (padding is 0)"
    with pytest.raises(LayerError) as caught:
        slides("conv", TensorType((16, 4, 4)), 3, padding=(0, 1, 0, 0), dilation=3)
    assert "3x3 (it spans 7x7 with its dilation)" in caught.value.message
    assert "4x4 (5x4 with its padding)" in caught.value.message


def test_half_padding_of_an_even_kernel():
    with pytest.raises(LayerError) as caught:
        slides("conv", TensorType((3, 9, 9)), 4, padding="half")
    assert caught.value.code == "E0306"
    assert slides("conv", TensorType((3, 9, 9)), 4, padding="half", dilation=2)[0].o == 9  # spans 7


def test_vector_has_no_spatial_axes():
    with pytest.raises(LayerError) as caught:
        slides("max_pool", TensorType((400,)), 2)
    assert caught.value.code == "E0303"
    assert "reshape(400x1x1)" in caught.value.help


@given(st.integers(1, 5000))
def test_divisors(number):
    expected = [d for d in range(1, number + 1) if number % d == 0]
    assert divisors(number) == expected[:16]
