"""Affine sampling against loops over pixels, and against algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pixel_by_pixel import sampled

from netdsl.data.augment import affine
from netdsl.data.augment.affine import Maps
from netdsl.data.augment.sample import CHUNK, sample

MODES = ("constant", "edge", "reflect", "symmetric")
RNG = np.random.default_rng(0)


def maps(*rows: tuple[float, ...]) -> Maps:
    return Maps(*(np.array(column, float) for column in zip(*rows, strict=True)))


def planes(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (C, 1, H, W)"""
    return image.transpose(2, 0, 1)[:, None]


def reference(image: np.ndarray, row: tuple[float, ...], size: tuple[int, int], mode: str, fill: float) -> np.ndarray:
    scale = 255 if image.dtype == np.uint8 else 1
    made = sampled(image, (row[:3], row[3:]), size, mode, round(fill * 255) if scale == 255 else fill)
    return np.array(made).transpose(2, 0, 1)[:, None] / scale


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(MODES), angle=st.floats(-180, 180), zoom=st.floats(0.72, 4), slant=st.floats(-0.2, 0.2),
    shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)), extents=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.sampled_from((1, 3)), eight_bit=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_bilinear_as_by_hand(mode, angle, zoom, slant, shift, extents, channels, eight_bit, seed) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((*extents, channels)).astype(np.float32)
    if eight_bit:
        image = np.rint(image * 255).astype(np.uint8)
    cos, sin = math.cos(math.radians(angle)) / zoom, math.sin(math.radians(angle)) / zoom
    # The small offset keeps the map from being straight, where images are resized instead.
    row = (cos + slant, -sin + 1e-3, shift[0], sin, cos, shift[1])
    if max(math.hypot(row[0], row[1]), math.hypot(row[3], row[4])) > 1.5:
        return
    found = sample(planes(image), maps(row), (5, 7), (mode, 0.25))
    assert found.dtype == np.float32 and found.shape == (channels, 1, 5, 7)
    np.testing.assert_allclose(found, reference(image, row, (5, 7), mode, 0.25), atol=3e-5)


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(MODES), signs=st.tuples(st.sampled_from((-1, 1)), st.sampled_from((-1, 1))),
    shift=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
    extents=st.tuples(st.integers(1, 7), st.integers(1, 7)), size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    eight_bit=st.booleans(),
)  # fmt: skip
def test_whole_pixels_are_copied_exactly(mode, signs, shift, extents, size, eight_bit) -> None:
    image = RNG.random((*extents, 3)).astype(np.float32)
    if eight_bit:
        image = np.rint(image * 255).astype(np.uint8)
    row = (signs[0], 0, shift[0], 0, signs[1], shift[1])
    found = sample(planes(image), maps(row), size, (mode, 0.5))
    expected = reference(image, row, size, mode, 0.5).astype(np.float32)
    assert (found == expected).all()


@pytest.mark.parametrize("mode", MODES)
def test_images_of_a_batch_do_not_touch_each_other(mode: str) -> None:
    """Each kind of map, in one batch and alone: the same bits."""
    images = RNG.integers(0, 256, (3, 40, 50, 8), dtype=np.uint8).transpose(0, 3, 1, 2)
    rows = [
        (1, 0, 3, 0, 1, -2), (-1, 0, 49, 0, 1, 0), (1.5, 0, 2, 0, 1.2, 1), (0.4, 0, 3, 0, 0.5, 2),
        (0.8, -0.6, 5, 0.6, 0.8, 0), (2.5, 0.3, -20, 0.1, 2.2, -10), (1, 0, 0.5, 0, 1, 0), (3, 0, -40, 0, 3, -40),
    ]  # fmt: skip
    batch = sample(images, maps(*rows), (24, 30), (mode, 0.0))
    for n, row in enumerate(rows):
        alone = sample(images[:, n : n + 1], maps(row), (24, 30), (mode, 0.0))
        assert (batch[:, n : n + 1] == alone).all(), n


def test_a_batch_of_several_chunks() -> None:
    images = RNG.random((1, 5, 256, 256)).astype(np.float32)
    row = (0.9, -0.2, 3, 0.2, 0.9, 1)
    assert CHUNK < 5 * 200 * 200
    batch = sample(images, maps(*[row] * 5), (200, 200), ("reflect", 0.0))
    for n in range(5):
        assert (batch[:, n : n + 1] == sample(images[:, n : n + 1], maps(row), (200, 200), ("reflect", 0.0))).all()


def test_a_straight_reduction_is_pillows() -> None:
    image = RNG.integers(0, 256, (61, 83, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image[11:51, 20:80]).resize((20, 16), Image.Resampling.BILINEAR)) / 255
    box = affine.box(*(np.array([v], float) for v in (20, 11, 60, 40)), (16, 20))
    found = sample(planes(image), box, (16, 20), ("constant", 0.0))
    np.testing.assert_allclose(found[:, 0].transpose(1, 2, 0), expected, atol=1e-7)
    mirrored = sample(planes(image), box.then(affine.mirror(20, True, np.array([True]))), (16, 20), ("constant", 0.0))
    assert (mirrored == found[:, :, :, ::-1]).all()


def test_a_straight_enlargement_does_not_fade_at_the_edge() -> None:
    image = np.full((6, 6, 1), 255, np.uint8)
    box = affine.box(*(np.array([v], float) for v in (0, 0, 6, 6)), (32, 32))
    assert (sample(planes(image), box, (32, 32), ("constant", 0.0)) == 1).all()


@pytest.mark.parametrize("angle", [0.0, 17.0, 90.0])
def test_fine_stripes_turn_gray_when_they_shrink(angle: float) -> None:
    """Stripes of one pixel, an eighth as large: without a filter they would come out as other stripes."""
    image = np.zeros((240, 240, 1), np.uint8)
    image[:, ::2] = 255
    middle = (119.5, 119.5)
    turned = affine.rotation(np.array([angle]), middle).then(affine.zoom(np.array([1 / 8]), middle))
    found = sample(planes(image), turned, (240, 240), ("constant", 0.5))
    assert abs(found[0, 0, 110:130, 110:130] - 0.5).max() < 0.05


def test_a_reduction_keeps_what_is_smooth_in_its_place() -> None:
    """A plane of slowly changing values: sampling it anywhere gives the value of the place."""
    y, x = np.mgrid[0:200, 0:200].astype(np.float32)
    image = (x * 0.003 + y * 0.001)[:, :, None]
    maps_ = affine.rotation(np.array([30.0]), (99.5, 99.5)).then(affine.zoom(np.array([0.5]), (99.5, 99.5)))
    found = sample(planes(image), maps_, (200, 200), ("edge", 0.0))[0, 0]
    ys, xs = np.mgrid[80:120, 80:120]
    a, b, c, d, e, f = maps_.of(0)
    expected = 0.003 * (a * xs + b * ys + c) + 0.001 * (d * xs + e * ys + f)
    np.testing.assert_allclose(found[80:120, 80:120], expected, atol=2e-4)


def test_a_part_of_a_large_image_is_as_the_whole() -> None:
    image = RNG.random((300, 400, 1)).astype(np.float32)
    row = (0.9, -0.2, 103.3, 0.2, 0.9, 51.7)
    for mode in ("constant", "edge"):
        found = sample(planes(image), maps(row), (20, 20), (mode, 0.0))
        np.testing.assert_allclose(found, reference(image, row, (20, 20), mode, 0.0), atol=3e-5)


# ------------------------------------------------------------------------------------------------------- algebra


def matrix(found: Maps) -> np.ndarray:
    a, b, c, d, e, f = found.of(0)
    return np.array([[a, b, c], [d, e, f], [0, 0, 1]])


def one(value: float) -> np.ndarray:
    return np.array([value])


def test_maps_compose_as_matrices() -> None:
    first, second = affine.rotation(one(20), (3, 4)), affine.slant(one(10), one(5), (1, 2))
    np.testing.assert_allclose(matrix(first.then(second)), matrix(first) @ matrix(second), atol=1e-12)


def test_undone_steps_are_the_identity() -> None:
    middle = (11.5, 7.5)
    for there, back in [
        (affine.rotation(one(33), middle), affine.rotation(one(-33), middle)),
        (affine.slant(one(20), one(0), middle), affine.slant(one(-20), one(0), middle)),
        (affine.zoom(one(1.7), middle), affine.zoom(one(1 / 1.7), middle)),
        (affine.shift(one(3), one(-2)), affine.shift(one(-3), one(2))),
        (affine.mirror(24, True, np.array([True])), affine.mirror(24, True, np.array([True]))),
        (affine.mirror(16, False, np.array([True])), affine.mirror(16, False, np.array([True]))),
    ]:
        np.testing.assert_allclose(matrix(there.then(back)), np.eye(3), atol=1e-12)


def test_a_quarter_turn_is_numpys() -> None:
    image = RNG.random((9, 9, 1)).astype(np.float32)
    found = sample(planes(image), affine.rotation(one(90), (4, 4)), (9, 9), ("edge", 0.0))
    np.testing.assert_allclose(found[0, 0], np.rot90(image[:, :, 0]), atol=1e-5)  # against the clock, as np.rot90


def test_a_slant_moves_rows_by_the_tangent() -> None:
    """A column of white leans by 45 degrees: row by row one pixel further."""
    image = np.zeros((9, 9, 1), np.float32)
    image[:, 4] = 1
    found = sample(planes(image), affine.slant(one(45), one(0), (4, 4)), (9, 9), ("constant", 0.0))[0, 0]
    np.testing.assert_allclose(found, np.eye(9), atol=1e-6)


def test_a_zoom_makes_things_larger() -> None:
    image = np.zeros((21, 21, 1), np.float32)
    image[8:13, 8:13] = 1
    found = sample(planes(image), affine.zoom(one(2), (10, 10)), (21, 21), ("constant", 0.0))
    assert found.sum() == pytest.approx(100, abs=1)


def test_no_turn_copies() -> None:
    image = RNG.random((8, 8, 3)).astype(np.float32)
    still = affine.rotation(one(0), (3.5, 3.5)).then(affine.slant(one(0), one(0), (3.5, 3.5)))
    assert (sample(planes(image), still, (8, 8), ("constant", 0.0)) == planes(image)).all()
