"""Colours against colorsys, pixel by pixel, and against what the formulas say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_by_pixel import hue_turned

from netdsl.data.augment import Pipeline
from netdsl.data.augment.apply import augment
from netdsl.data.augment.color import color, lighting, luma, turn
from netdsl.data.augment.steps import Color, Lighting
from netdsl.data.errors import DataError

RNG = np.random.default_rng(1)


def draws(**values: float) -> np.ndarray:
    """Uniform numbers for one image: which one stands for what."""
    order = ("chance", "brightness", "contrast", "saturation", "hue")
    return np.array([[values.get(name, 0.5)] for name in order])


def turned(image: np.ndarray, part: np.ndarray) -> np.ndarray:
    made = image.copy()
    turn(made, part)
    return made


def photo(n: int = 1) -> np.ndarray:
    return RNG.random((3, n, 6, 5)).astype(np.float32)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=12), st.floats(-0.5, 0.5))
def test_hue_as_colorsys(pixels: list[tuple[int, int, int]], part: float) -> None:
    image = (np.array(pixels, np.float32) / 255).T[:, None, None]
    expected = [hue_turned(tuple(float(v) for v in pixel / np.float32(255)), part) for pixel in np.array(pixels)]
    np.testing.assert_allclose(turned(image, np.array([part]))[:, 0, 0].T, expected, atol=2e-6)


def test_hue_of_gray_and_half_a_circle() -> None:
    gray = np.full((3, 1, 2, 2), 0.4, np.float32)
    np.testing.assert_allclose(turned(gray, np.array([0.3])), gray, atol=1e-7)
    red = np.array([1, 0, 0], np.float32).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(turned(red, np.array([0.5]))[:, 0, 0, 0], (0, 1, 1), atol=1e-6)  # cyan


def test_nothing_turned_keeps_its_bits() -> None:
    image = photo()
    assert (turned(image, np.array([0.0])) == image).all()


def test_brightness() -> None:
    image = photo()
    for u, factor in ((0.0, 0.6), (0.5, 1.0), (0.75, 1.2)):
        found = color(image.copy(), Color(brightness=0.4), draws(brightness=u))
        np.testing.assert_allclose(found, (image * factor).clip(0, 1), atol=1e-6)
    assert (
        color(image.copy(), Color(brightness=3), draws(brightness=0.0)) == 0
    ).all()  # the factor stays at 0 or above


def test_contrast_mixes_with_the_mean_gray() -> None:
    image = photo()
    gray = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    found = color(image.copy(), Color(contrast=0.5), draws(contrast=0.0))
    np.testing.assert_allclose(found, 0.5 * image + 0.5 * gray.mean(), atol=1e-6)


def test_saturation_mixes_with_gray() -> None:
    image = photo()
    gray = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    found = color(image.copy(), Color(saturation=1), draws(saturation=0.0))
    np.testing.assert_allclose(found, np.stack([gray] * 3), atol=1e-6)
    np.testing.assert_allclose(luma(found), gray, atol=1e-6)


def test_gray_images_have_no_saturation_and_hue() -> None:
    image = photo()[:1]
    assert (color(image.copy(), Color(saturation=0.5, hue=0.5), draws(saturation=0.1, hue=0.1)) == image).all()


def test_the_chance_of_nothing() -> None:
    image = photo()
    step = Color(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5, probability=0.5)
    assert (color(image.copy(), step, draws(chance=0.5, brightness=0.1, contrast=0.1, hue=0.1)) == image).all()
    assert (color(image.copy(), step, draws(chance=0.4, brightness=0.1)) != image).any()


def test_each_image_of_a_batch_by_itself() -> None:
    images, step = photo(4), Color(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.3)
    u = RNG.random((5, 4))
    together = color(images.copy(), step, u)
    for n in range(4):
        assert (together[:, n : n + 1] == color(images[:, n : n + 1].copy(), step, u[:, n : n + 1])).all()


def test_lighting_moves_along_imagenets_colors() -> None:
    """Eigenvalues and eigenvectors as fb.resnet.torch publishes them; the shift is the same at every pixel."""
    values = np.array([0.2175, 0.0188, 0.0045])
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-3)
    u = RNG.random((4, 1))
    image = np.full((3, 1, 2, 2), 0.5, np.float32)
    shift = lighting(image.copy(), Lighting(std=0.1), u)[:, 0] - image[:, 0]
    assert (np.ptp(shift.reshape(3, -1), axis=1) == 0).all()
    normal = [
        np.sqrt(-2 * np.log(1 - u[i, 0])) * trig(2 * np.pi * u[i + 1, 0])
        for i, trig in ((0, np.cos), (0, np.sin), (2, np.cos))
    ]
    np.testing.assert_allclose(shift[:, 0, 0], vectors @ (values * 0.1 * np.array(normal)), atol=1e-6)


def test_lighting_has_its_deviation() -> None:
    """Brightness moves by the first eigenvector: deviation std * 0.2175 * 0.577 * sqrt(3)."""
    images = np.full((2000, 1, 1, 3), 128, np.uint8)
    made = augment(images, Pipeline((Lighting(std=0.1),)), np.arange(2000), 3)
    shift = made[:, :, 0, 0].mean(axis=0) - 128 / 255
    assert shift.std() == pytest.approx(0.1 * 0.2175 / np.sqrt(3), rel=0.08)
    assert abs(shift.mean()) < 0.002


def test_lighting_of_gray_images_is_an_error() -> None:
    with pytest.raises(DataError, match="gray") as caught:
        augment(np.zeros((1, 4, 4, 1), np.uint8), Pipeline((Lighting(),)), np.zeros(1, np.int64))
    assert caught.value.code == "E0913"


def test_values_beyond_black_and_white_are_an_error() -> None:
    images = np.full((3, 4, 4, 1), 0.5, np.float32)
    images[1] = 7
    with pytest.raises(DataError, match="image 11") as caught:
        augment(images, Pipeline((Color(brightness=0.1),)), np.array([10, 11, 12]), name=lambda n: f"image {n}")
    assert caught.value.code == "E0913"
