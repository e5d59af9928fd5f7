"""Augmentation against torchvision, with the same numbers drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from netdsl.data.augment import affine
from netdsl.data.augment.color import color
from netdsl.data.augment.sample import sample
from netdsl.data.augment.steps import Color

pytestmark = pytest.mark.peer

RNG = np.random.default_rng(6)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="compares with PyTorch")


@pytest.fixture(scope="module")
def functional(torch: Any) -> Any:
    try:
        from torchvision.transforms import functional
    except (ImportError, RuntimeError):  # a torchvision that was built for another torch
        pytest.skip("compares with torchvision")
    return functional


def one(value: float) -> np.ndarray:
    return np.array([value], float)


@pytest.mark.parametrize(
    ("name", "draw", "function", "factor"),
    [
        ("brightness", 1, "adjust_brightness", 1.3), ("brightness", 1, "adjust_brightness", 0.65),
        ("contrast", 2, "adjust_contrast", 1.45), ("contrast", 2, "adjust_contrast", 0.5),
        ("saturation", 3, "adjust_saturation", 1.5), ("saturation", 3, "adjust_saturation", 0.55),
        ("hue", 4, "adjust_hue", 0.21), ("hue", 4, "adjust_hue", -0.34),
    ],
)  # fmt: skip
def test_colors(torch: Any, functional: Any, name: str, draw: int, function: str, factor: float) -> None:
    image = RNG.random((3, 1, 20, 30)).astype(np.float32)
    u = np.full((5, 1), 0.5)
    u[draw] = factor + 0.5 if name == "hue" else (factor - 0.5) / 1.0
    found = color(image.copy(), Color(**{name: 0.5}), u)
    expected = getattr(functional, function)(torch.from_numpy(image[:, 0]), factor).numpy()
    # torchvision's gray is 0.2989, 0.587, 0.114 on tensors.
    np.testing.assert_allclose(found[:, 0], expected, atol=3e-4)


@pytest.mark.parametrize("angle", [0.0, 20.0, -135.0])
@pytest.mark.parametrize("zoom", [1.0, 0.8, 1.7])
def test_affine_maps(torch: Any, functional: Any, angle: float, zoom: float) -> None:
    """torchvision turns with the clock, about the middle, and shifts at the end."""
    image = RNG.random((3, 1, 21, 32)).astype(np.float32)
    middle = (15.5, 10.0)
    turned = affine.rotation(one(-angle), middle).then(affine.zoom(one(zoom), middle))
    found = sample(image, turned.then(affine.shift(one(-3), one(2))), (21, 32), ("constant", 0.0))
    expected = functional.affine(
        torch.from_numpy(image[:, 0]), angle, [3, -2], zoom, [0.0, 0.0],
        interpolation=functional.InterpolationMode.BILINEAR,
    ).numpy()  # fmt: skip
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)


def test_resized_crops(functional: Any) -> None:
    image = RNG.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    box = affine.box(one(13), one(7), one(101), one(90), (32, 48))
    found = sample(image.transpose(2, 0, 1)[:, None], box, (32, 48), ("constant", 0.0))
    expected = np.asarray(functional.resized_crop(Image.fromarray(image), 7, 13, 90, 101, [32, 48]))
    assert (np.rint(found[:, 0].transpose(1, 2, 0) * 255) == expected).all()
