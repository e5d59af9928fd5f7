"""What networks read: the steps of `preprocess` around an augmentation, sizes, memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netdsl.data.augment import Pipeline
from netdsl.data.augment.steps import (
    Color,
    Lighting,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Rotate,
    Translate,
)  # fmt: skip
from netdsl.data.dataset import ArrayDataset, Dataset
from netdsl.data.errors import DataError
from netdsl.data.inputs import Inputs, plan
from netdsl.data.open import DataLimits, open_data
from netdsl.data.sources import Folder
from netdsl.images.errors import ImageError
from netdsl.images.load import load_input
from netdsl.images.steps import CenterCrop, Grayscale, Invert, Normalize, PadTo, Rescale, Resize, Step
from netdsl.ir.types import TensorType

RNG = np.random.default_rng(4)
IMAGENET = (Resize(size=20), CenterCrop(size=16), Normalize(statistics="imagenet"))
NOTHING = Pipeline((RandomFlip(probability=0.0),))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for n, size in enumerate([(30, 24), (24, 31), (40, 22), (25, 25)]):
        (tmp_path / "photos" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        )
    return tmp_path


def dataset(photos: Path, **more: object) -> Dataset:
    return open_data(Folder(path="photos", **more), photos, limits=DataLimits(checked_bytes=0)).training.dataset


def arrays(count: int = 6, size: tuple[int, int] = (8, 8), channels: int = 1) -> ArrayDataset:
    images = RNG.integers(0, 256, (count, *size, channels), dtype=np.uint8)
    return ArrayDataset(images, np.arange(count) % 2, ("a", "b"))


CHAINS: list[tuple[Step, ...]] = [
    IMAGENET,
    (Resize(size=(16, 16)), Rescale(scale=255)),
    (Resize(size=20), CenterCrop(size=16), Grayscale(channels=3), Invert(), Normalize(statistics="caffe")),
    (Resize(size=20), Normalize(statistics="inception"), CenterCrop(size=16)),
    (CenterCrop(size=40), Resize(size=(16, 16), interpolation="bicubic")),
]


@pytest.mark.parametrize("steps", CHAINS, ids=str)
def test_evaluation_reads_what_run_reads(photos: Path, steps: tuple[Step, ...]) -> None:
    found = dataset(photos)
    made, numbers = Inputs(found, (3, 16, 16), steps).make(np.arange(4))
    assert made.dtype == np.float32 and made.flags.c_contiguous and numbers.tolist() == [0, 1, 2, 3]
    for n in range(4):
        assert (made[n] == load_input(photos / "photos" / found.name(n), TensorType((3, 16, 16)), steps)[0]).all()


@pytest.mark.parametrize("steps", CHAINS[:4], ids=str)
def test_an_augmentation_that_does_nothing_changes_nothing(photos: Path, steps: tuple[Step, ...]) -> None:
    found = dataset(photos)
    plain, _ = Inputs(found, (3, 16, 16), steps).make(np.arange(4))
    flipped, _ = Inputs(found, (3, 16, 16), steps, NOTHING).make(np.arange(4), 3, 5)
    np.testing.assert_allclose(flipped, plain, atol=1e-6)


def test_values_are_normalized_behind_the_augmentation() -> None:
    found = ArrayDataset(np.full((1, 8, 8, 3), 255, np.uint8), np.zeros(1, np.int64), ("a", "b"))
    pipeline = Pipeline((Translate(fraction=0.5), RandomCrop(size=8, padding=3)))
    made, _ = Inputs(found, (3, 8, 8), (Normalize(mean=0.5, std=0.25),), pipeline).make(np.zeros(1, np.int64), 1)
    assert set(np.unique(made).tolist()) == {-2.0, 2.0}  # black and white, normalized


# ------------------------------------------------------------------------------------------------------------ plans


def test_crops_of_the_augmentation_replace_those_of_preprocess() -> None:
    resize, crop, normalize = IMAGENET
    flip, color = RandomFlip(), Color(brightness=0.1)
    cases = [
        ((), (resize, crop, normalize), None, ()),
        ((flip,), (resize,), crop, (normalize,)),
        ((color,), (resize, crop), None, (normalize,)),
        ((color, flip), (resize, crop), None, (normalize,)),
        ((RandomCrop(size=16),), (resize,), None, (normalize,)),
        ((RandomCrop(size=16, padding=2),), (resize,), crop, (normalize,)),
        ((flip, RandomResizedCrop(size=16)), (), None, (normalize,)),
    ]
    for steps, before, view, after in cases:
        found = plan(IMAGENET, Pipeline(steps))
        assert (found.before, found.view, found.after) == (before, view, after), steps
    gray = (PadTo(size=32), Grayscale(), Invert())
    assert plan(gray, Pipeline((RandomResizedCrop(size=16),))).before == (Grayscale(), Invert())
    assert plan(gray, Pipeline((flip,))) == (gray, None, ())


def test_a_random_crop_is_cut_from_the_resized_image(photos: Path) -> None:
    """Image b/1.png is 24x31: resized to 20x25. The crop of 16 lies at one of 5 x 10 places, and shifts by whole pixels."""
    found = dataset(photos)
    whole, _ = Inputs(found, (3, 20, 25), (Resize(size=20),)).make(np.array([2]))
    assert found.name(2) == "b/1.png"
    inputs = Inputs(found, (3, 16, 16), (Resize(size=20), CenterCrop(size=16)), Pipeline((RandomCrop(size=16),)))
    places = set()
    for epoch in range(60):
        piece = inputs.make(np.array([2]), 0, epoch)[0][0]
        match = [(y, x) for y in range(5) for x in range(10) if (whole[0, :, y : y + 16, x : x + 16] == piece).all()]
        assert len(match) == 1
        places.add(match[0])
    assert len(places) > 25


# ------------------------------------------------------------------------------------------------------------ sizes


def error(*arguments: object, make: bool = True, **more: object) -> str:
    with pytest.raises(DataError) as caught:
        inputs = Inputs(*arguments, **more)  # type: ignore[arg-type]
        assert make
        inputs.make(np.arange(2))
    assert caught.value.code == "E0912"
    return str(caught.value)


def test_sizes_that_do_not_fit(photos: Path) -> None:
    assert "random_crop(12)` makes images of 12x12, the network reads 3x16x16" in error(
        dataset(photos), (3, 16, 16), IMAGENET, Pipeline((RandomCrop(size=12),)), make=False
    )
    text = error(dataset(photos), (3, 16, 16))
    assert "a/0.png has 3x30x24 pixels" in text and "preprocess resize(16x16)" in text
    text = error(dataset(photos), (3, 16, 16), (), Pipeline((RandomFlip(),)))
    assert "random_resized_crop(16x16)" in text
    assert "different sizes" in error(dataset(photos), (3, None, None))


def test_any_size_where_the_network_takes_any(photos: Path) -> None:
    inputs = Inputs(dataset(photos), (3, None, None))
    assert [inputs.make(np.array([n]))[0].shape for n in range(2)] == [(1, 3, 30, 24), (1, 3, 40, 22)]


def test_steps_that_do_not_fit_an_image_name_it(photos: Path) -> None:
    with pytest.raises(DataError, match=r"a/0\.png") as caught:
        Inputs(dataset(photos), (3, 10, 10), (PadTo(size=10),)).make(np.arange(2))
    assert caught.value.code == "E0725"


def test_lighting_on_gray_is_told_before_anything_is_read() -> None:
    with pytest.raises(DataError) as caught:
        Inputs(arrays(), (1, 8, 8), (), Pipeline((Lighting(),)))
    assert caught.value.code == "E0913"


# ----------------------------------------------------------------------------------------------------------- memory


class Counting(ArrayDataset):
    """Counts how often each image is read."""

    def __init__(self, found: ArrayDataset) -> None:
        super().__init__(found.images, found.labels, found.classes)
        self.reads = [0] * len(found)

    def picture(self, index: int) -> object:
        self.reads[index] += 1
        return super().picture(index)


@pytest.mark.parametrize("pipeline", [None, Pipeline((RandomVerticalFlip(), Rotate(degrees=20)))])
def test_small_data_is_read_once(pipeline: Pipeline | None) -> None:
    found = Counting(arrays())
    inputs = Inputs(found, (1, 8, 8), (), pipeline)
    first, again = inputs.make(np.arange(6), 1, 2)[0], inputs.make(np.arange(6), 1, 2)[0]
    assert found.reads == [1] * 6 and (first == again).all() and inputs.holds(np.arange(6))


def test_memory_has_a_limit() -> None:
    found = Counting(arrays(6))
    inputs = Inputs(found, (1, 8, 8), (), NOTHING, memory=3 * 64)
    for _ in range(2):
        made, _ = inputs.make(np.arange(6), 1, 2)
    assert found.reads == [1, 1, 1, 2, 2, 2]
    assert (made == Inputs(found, (1, 8, 8), (), NOTHING).make(np.arange(6), 1, 2)[0]).all()


# -------------------------------------------------------------------------------------------------------- damage


@pytest.fixture
def broken(photos: Path) -> Path:
    file = photos / "photos" / "a" / "2.png"
    file.write_bytes(file.read_bytes()[:-200])
    return photos


def test_a_damaged_image_is_an_error_that_names_it(broken: Path) -> None:
    with pytest.raises(ImageError, match=r"a/2\.png is damaged"):
        Inputs(dataset(broken), (3, 16, 16), IMAGENET).make(np.arange(4))


def test_a_damaged_image_is_left_out_as_asked(broken: Path) -> None:
    inputs = Inputs(dataset(broken, corrupt="skip"), (3, 16, 16), IMAGENET)
    made, numbers = inputs.make(np.arange(4))
    assert numbers.tolist() == [0, 2, 3] and len(made) == 3
    assert list(inputs.damage.found) == ["a/2.png"]
