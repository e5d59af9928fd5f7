"""The models of the preprocessing steps: what they accept, how they are spelled, and that they import nothing heavy."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from netdsl.images import PREPROCESS, option_words
from netdsl.images.steps import CenterCrop, Grayscale, Invert, Normalize, PadTo, Rescale, Resize


def test_the_vocabulary() -> None:
    assert set(PREPROCESS) == {"resize", "center_crop", "pad_to", "grayscale", "invert", "normalize", "rescale"}
    for name, step in PREPROCESS.items():
        assert step.kind == name
        assert step.__doc__ and step.reference
        assert set(step.positional) <= set(step.model_fields)
        assert all(field.description for field in step.model_fields.values())


def test_bare_words() -> None:
    assert option_words() == {"bilinear", "bicubic", "nearest", "imagenet", "inception", "caffe"}
    assert Resize.option_words() == {"bilinear", "bicubic", "nearest"}
    assert Invert.option_words() == frozenset()


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Resize(size=256), "resize(256)"),
        (Resize(size=(240, 320)), "resize(240x320)"),
        (Resize(size=256, interpolation="bicubic"), "resize(256, bicubic)"),
        (CenterCrop(size=224), "center_crop(224)"),
        (PadTo(size=32, value=1.0), "pad_to(32, 1)"),
        (Grayscale(), "grayscale"),
        (Grayscale(channels=3), "grayscale(3)"),
        (Invert(), "invert"),
        (Normalize(statistics="imagenet"), "normalize(imagenet)"),
        (Normalize(mean=0.5, std=0.25), "normalize(mean = 0.5, std = 0.25)"),
        (Normalize(mean=(0.1, 0.2, 0.3)), "normalize(mean = [0.1, 0.2, 0.3])"),
        (Rescale(scale=255), "rescale(255)"),
        (Rescale(scale=2.0, offset=-1.0), "rescale(2, -1)"),
    ],
)
def test_a_step_is_spelled_as_in_a_spec(step, text: str) -> None:
    assert str(step) == text


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("resize", {}),
        ("resize", {"size": 0}),
        ("resize", {"size": -3}),
        ("resize", {"size": 10**9}),
        ("resize", {"size": 2.5}),
        ("resize", {"size": True}),
        ("resize", {"size": "256"}),
        ("resize", {"size": (1, 2, 3)}),
        ("resize", {"size": 256, "interpolation": "cubic"}),
        ("resize", {"size": 256, "antialias": True}),
        ("center_crop", {"size": (0, 3)}),
        ("pad_to", {"size": 32, "value": 255.0}),
        ("grayscale", {"channels": 2}),
        ("normalize", {}),
        ("normalize", {"statistics": "imagnet"}),
        ("normalize", {"statistics": "imagenet", "mean": 0.5}),
        ("normalize", {"std": 0.5}),
        ("normalize", {"mean": 0.5, "std": 0.0}),
        ("normalize", {"mean": 0.5, "std": (0.5, -0.5, 0.5)}),
        ("normalize", {"mean": float("nan")}),
        ("rescale", {"scale": float("inf")}),
    ],
)
def test_arguments_that_make_no_sense_are_refused(kind: str, arguments: dict) -> None:
    with pytest.raises(ValidationError):
        PREPROCESS[kind](**arguments)


def test_steps_are_frozen_and_hashable() -> None:
    step = Resize(size=256)
    with pytest.raises(ValidationError):
        step.size = 3  # type: ignore[misc]
    assert hash(step) == hash(Resize(size=256))


def test_the_vocabulary_loads_no_array_library() -> None:
    code = "import sys, netdsl.images; print([m for m in ('numpy', 'PIL') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
