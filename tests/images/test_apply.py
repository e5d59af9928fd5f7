"""What the preprocessing steps compute: against torchvision's output and against plain arithmetic."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from netdsl.images.apply import preprocess, to_array
from netdsl.images.errors import ImageError
from netdsl.images.steps import CenterCrop, Grayscale, Invert, Normalize, PadTo, Rescale, Resize, Step

# Made by make_torchvision_fixture.py: image/NAME, and NAME/CHAIN for what torchvision makes of it.
TORCHVISION = np.load(Path(__file__).parent / "fixtures" / "torchvision.npz")
IMAGENET = Normalize(statistics="imagenet")
CHAINS: list[list[Step]] = [
    [Resize(size=24)],
    [Resize(size=24, interpolation="bicubic")],
    [Resize(size=24, interpolation="nearest")],
    [Resize(size=(17, 31))],
    [Resize(size=29)],
    [CenterCrop(size=20)],
    [CenterCrop(size=21)],
    [CenterCrop(size=(8, 13))],
    [CenterCrop(size=(45, 46))],
    [Grayscale()],
    [Grayscale(channels=3)],
    [Resize(size=24), CenterCrop(size=21), IMAGENET],
]


def spelled(chain: list[Step]) -> str:
    return " -> ".join(map(str, chain))


def test_the_fixture_holds_these_chains_and_no_others() -> None:
    stored = {key.partition("/")[2] for key in TORCHVISION.files if not key.startswith("image/")}
    assert stored == set(map(spelled, CHAINS))


@pytest.mark.parametrize("name", ["wide", "tall", "square", "tiny"])
@pytest.mark.parametrize("chain", CHAINS, ids=spelled)
def test_steps_do_what_torchvision_does(name: str, chain: list[Step]) -> None:
    expected = TORCHVISION[f"{name}/{spelled(chain)}"]
    found = preprocess(Image.fromarray(TORCHVISION[f"image/{name}"]), chain)
    assert found.dtype == np.float32 and found.shape == expected.shape
    if expected.dtype == np.uint8:
        np.testing.assert_array_equal(np.rint(found * 255), expected)
        np.testing.assert_allclose(found, expected / 255, rtol=1e-6)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["wide", "tall", "square", "tiny"])
@pytest.mark.parametrize("chain", CHAINS, ids=spelled)
def test_floating_point_pictures_go_the_same_way(name: str, chain: list[Step]) -> None:
    """Without rounding to bytes in between, so up to the roundings of the two passes of a resize."""
    image = Image.fromarray(TORCHVISION[f"image/{name}"])
    exact = preprocess(to_array(image), chain)
    rounded = preprocess(image, chain)
    assert exact.shape == rounded.shape
    bytes_off = np.abs(exact - rounded).max() * 255 * (0.229 if IMAGENET in chain else 1)
    # Bicubic overshoots beyond black and white, where bytes are clipped; everything else stays within the roundings.
    assert bytes_off < (40 if "bicubic" in spelled(chain) else 1.6)


def gray(*rows: list[int]) -> Image.Image:
    return Image.fromarray(np.array(rows, np.uint8))


def pixel(*color: int) -> Image.Image:
    return Image.new("RGB", (1, 1), color)


def test_no_steps_scale_bytes_to_one() -> None:
    found = preprocess(gray([0, 51], [102, 255]), [])
    assert found.shape == (1, 2, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], [[0, 0.2], [0.4, 1]], rtol=1e-6)
    assert preprocess(pixel(255, 0, 51), []).ravel().tolist() == pytest.approx([1, 0, 0.2])


def test_named_statistics() -> None:
    red = pixel(255, 0, 0)
    np.testing.assert_allclose(
        preprocess(red, [IMAGENET]).ravel(), [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6
    )
    assert preprocess(red, [Normalize(statistics="inception")]).ravel().tolist() == [1, -1, -1]
    # Blue first, values of bytes, nothing divided.
    np.testing.assert_allclose(
        preprocess(red, [Normalize(statistics="caffe")]).ravel(), [-103.939, -116.779, 255 - 123.68], rtol=1e-6
    )


def test_means_and_deviations() -> None:
    found = preprocess(pixel(255, 0, 51), [Normalize(mean=(0.5, 0.25, 0.2), std=(0.5, 0.25, 2))])
    np.testing.assert_allclose(found.ravel(), [1, -1, 0], atol=1e-6)
    np.testing.assert_allclose(preprocess(gray([255]), [Normalize(mean=0.1307, std=0.3081)]), (1 - 0.1307) / 0.3081)
    np.testing.assert_allclose(preprocess(gray([255]), [Normalize(mean=0.25)]), 0.75)


def test_rescale_and_invert() -> None:
    assert preprocess(gray([0, 255]), [Rescale(scale=255)]).ravel().tolist() == [0, 255]
    assert preprocess(gray([0, 255]), [Rescale(scale=2, offset=-1)]).ravel().tolist() == [-1, 1]
    np.testing.assert_array_equal(preprocess(gray([0, 100, 255]), [Invert()]), preprocess(gray([255, 155, 0]), []))
    np.testing.assert_allclose(preprocess(np.full((3, 1, 1), 0.25, np.float32), [Invert()]), 0.75)


def test_grayscale_is_the_luma_of_bt601() -> None:
    for color, luma in (((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114), ((255, 255, 255), 1.0)):
        assert preprocess(pixel(*color), [Grayscale()]).item() == pytest.approx(luma, abs=0.5 / 255)
        exact = preprocess(to_array(pixel(*color)), [Grayscale(channels=3)])
        assert exact.shape == (3, 1, 1)
        np.testing.assert_allclose(exact, luma, rtol=1e-6)


def test_grayscale_leaves_gray_alone() -> None:
    image = gray([0, 7, 200])
    np.testing.assert_array_equal(preprocess(image, [Grayscale()]), preprocess(image, []))
    assert preprocess(to_array(image), [Grayscale(channels=3)]).shape == (3, 1, 3)


def test_padding_puts_the_odd_pixel_last() -> None:
    for picture in (gray([255]), to_array(gray([255]))):
        padded = preprocess(picture, [PadTo(size=(2, 4))])
        assert padded.tolist() == [[[0, 1, 0, 0], [0, 0, 0, 0]]]
        white = preprocess(picture, [PadTo(size=3, value=1.0)])
        assert white.tolist() == [[[1] * 3] * 3]


def test_mnist_on_the_input_of_lenet() -> None:
    digit = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    found = preprocess(Image.fromarray(digit), [PadTo(size=32)])
    np.testing.assert_allclose(found[0, 2:30, 2:30], digit / 255, rtol=1e-6)
    assert found.sum() == pytest.approx(digit.sum() / 255, rel=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    size=st.integers(1, 40),
    array=st.booleans(),
    gray=st.booleans(),
)
def test_sizes(height: int, width: int, size: int, array: bool, gray: bool) -> None:
    """The shorter side of a resize is exact, the longer one proportional; a crop is always as asked."""
    picture = Image.new("L" if gray else "RGB", (width, height), 128 if gray else (128, 128, 128))
    resized = preprocess(to_array(picture) if array else picture, [Resize(size=size)])
    assert min(resized.shape[1:]) == size
    assert max(resized.shape[1:]) == size * max(height, width) // min(height, width)
    assert (resized.shape[1] >= resized.shape[2]) == (height >= width) or min(resized.shape[1:]) == max(
        resized.shape[1:]
    )
    np.testing.assert_allclose(resized, 128 / 255, atol=1e-6)  # a flat image stays flat
    cropped = preprocess(to_array(picture) if array else picture, [CenterCrop(size=size)])
    assert cropped.shape == (1 if gray else 3, size, size)
    assert cropped.max() == pytest.approx(128 / 255)


# ------------------------------------------------------------------------------------------------------------- refused


def refused(picture: Image.Image, step: Step, code: str, *words: str) -> None:
    with pytest.raises(ImageError) as caught:
        preprocess(picture, [step])
    assert caught.value.code == code
    for word in (str(step), *words):
        assert word in str(caught.value), str(caught.value)


def test_statistics_for_other_channels() -> None:
    refused(gray([1]), IMAGENET, "E0725", "3 means", "1 channel", "1x1x1")
    refused(pixel(1, 2, 3), Normalize(mean=(0.5, 0.5)), "E0725", "2 means", "3 channels")


def test_padding_to_less() -> None:
    refused(gray([1] * 40), PadTo(size=32), "E0725", "1x1x40", "resize(32x32)")


def test_a_thin_image_cannot_be_blown_up() -> None:
    """1 x 60,000 pixels with a shorter side of 256 would be 256 x 15,360,000."""
    refused(Image.new("L", (60_000, 1)), Resize(size=256), "E0723", "256x15360000")
    refused(gray([1]), PadTo(size=60_000), "E0723")
    refused(gray([1]), CenterCrop(size=60_000), "E0723")
