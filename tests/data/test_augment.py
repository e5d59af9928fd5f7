"""What pipelines make of images: ranges and statistics of what is drawn, identities, determinism."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.data.augment import AUGMENT, Pipeline
from netdsl.data.augment.apply import augment
from netdsl.data.augment.cover import erase
from netdsl.data.augment.geometry import KINDS, geometry
from netdsl.data.augment.mix import mixed
from netdsl.data.augment.steps import (
    Augmentation,
    Color,
    Cutmix,
    Erase,
    Geometric,
    Lighting,
    Mixup,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Rotate,
    Scale,
    Shear,
    Translate,
)  # fmt: skip

RNG = np.random.default_rng(2)
MANY = np.arange(4000)


def run(images: np.ndarray, *steps: Augmentation, seed: int = 0, epoch: int = 0) -> np.ndarray:
    """(N, H, W, C) -> (N, H, W, C)"""
    return augment(images, Pipeline(steps), np.arange(len(images)), seed, epoch).transpose(1, 2, 3, 0)


def drawn(step: Geometric, size: tuple[int, int] = (40, 60)) -> tuple[np.ndarray, tuple[int, int]]:
    """The matrices (N, 2, 3) of a step for many images."""
    maps, made = geometry((step,), 0, size, MANY, 5, 0)
    return np.array([maps.a, maps.b, maps.c, maps.d, maps.e, maps.f]).T.reshape(-1, 2, 3), made


def photos(count: int = 4, height: int = 20, width: int = 30) -> np.ndarray:
    return RNG.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def evenly(values: np.ndarray, least: float, most: float) -> None:
    """That values spread evenly over a range: within, up to the ends, and with its mean (5 standard errors)."""
    assert values.min() >= least and values.max() <= most
    span = most - least
    assert values.min() < least + 0.02 * span and values.max() > most - 0.02 * span
    assert abs(values.mean() - (least + most) / 2) < 5 * span / math.sqrt(12 * len(values))
    assert abs(values.std() - span / math.sqrt(12)) < 0.03 * span


# ---------------------------------------------------------------------------------------------------------- drawn


@pytest.mark.parametrize("step", [RandomFlip(), RandomVerticalFlip(), RandomFlip(probability=0.1)])
def test_flips_as_often_as_said(step: RandomFlip) -> None:
    matrices, _ = drawn(step)
    flipped = matrices[:, 0, 0] * matrices[:, 1, 1] < 0
    assert flipped.mean() == pytest.approx(step.probability, abs=0.03)


def test_rotation_is_even() -> None:
    matrices, _ = drawn(Rotate(degrees=30))
    evenly(np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])), -30, 30)
    matrices, _ = drawn(Rotate(degrees=(10.0, 20.0)))
    evenly(np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])), 10, 20)


def test_rotation_keeps_the_middle_and_lengths() -> None:
    matrices, _ = drawn(Rotate(degrees=180))
    np.testing.assert_allclose(matrices @ [29.5, 19.5, 1], np.tile([29.5, 19.5], (len(MANY), 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(matrices[:, :, :2]), 1)


def test_shear_is_even() -> None:
    matrices, _ = drawn(Shear(degrees=20))
    evenly(np.degrees(np.arctan(-matrices[:, 0, 1])), -20, 20)
    assert (matrices[:, 1, :2] == [0, 1]).all()
    matrices, _ = drawn(Shear(degrees=0.0, vertical=10))
    evenly(np.degrees(np.arctan(-matrices[:, 1, 0])), -10, 10)


def test_translation_is_whole_and_even() -> None:
    matrices, _ = drawn(Translate(fraction=0.5, vertical=0.25))
    assert (matrices == np.rint(matrices)).all()
    evenly(matrices[:, 0, 2], -30, 30)
    evenly(matrices[:, 1, 2], -10, 10)


def test_scale_is_even() -> None:
    matrices, _ = drawn(Scale(least=0.5, most=1.5))
    evenly(1 / matrices[:, 0, 0], 0.5, 1.5)


def test_every_place_of_a_crop_is_as_likely() -> None:
    matrices, size = drawn(RandomCrop(size=(36, 50), padding=2))
    assert size == (36, 50)
    tops, counts = np.unique(matrices[:, 1, 2], return_counts=True)
    assert tops.tolist() == list(range(-2, 7)) and counts.min() > 0.75 * len(MANY) / 9
    lefts, counts = np.unique(matrices[:, 0, 2], return_counts=True)
    assert lefts.tolist() == list(range(-2, 13)) and counts.min() > 0.7 * len(MANY) / 15


def test_a_small_image_lies_anywhere_in_a_crop() -> None:
    matrices, _ = drawn(RandomCrop(size=64), (60, 63))
    assert set(matrices[:, 1, 2]) == {-4, -3, -2, -1, 0} and set(matrices[:, 0, 2]) == {-1, 0}


def test_resized_crops_have_their_areas_and_proportions() -> None:
    step = RandomResizedCrop(size=(8, 16), scale=(0.1, 0.5), ratio=(0.5, 2.0))
    matrices, size = drawn(step, (600, 600))  # so large that every box fits at once
    assert size == (8, 16)
    width, height = matrices[:, 0, 0] * 16, matrices[:, 1, 1] * 8
    area, ratio = width * height / 600**2, width / height
    assert area.min() > 0.099 and area.max() < 0.501
    evenly(area.clip(0.1, 0.5), 0.1, 0.5)
    evenly(np.log(ratio).clip(-math.log(2), math.log(2)), -math.log(2), math.log(2))
    left, top = matrices[:, 0, 2] + 0.5 - matrices[:, 0, 0] / 2, matrices[:, 1, 2] + 0.5 - matrices[:, 1, 1] / 2
    assert left.min() > -1e-9 and top.min() > -1e-9
    assert (left + width).max() < 600 + 1e-9 and (top + height).max() < 600 + 1e-9


def test_a_resized_crop_that_never_fits_is_the_middle() -> None:
    """A strip 10 times as wide as high has no part of 90 % with proportions up to 2: its middle, 2 : 1."""
    matrices, _ = drawn(RandomResizedCrop(size=10, scale=(0.9, 1.0), ratio=(0.5, 2.0)), (20, 200))
    np.testing.assert_allclose(matrices[:, 0, 0] * 10, 40)
    np.testing.assert_allclose(matrices[:, 1, 1] * 10, 20)
    np.testing.assert_allclose(matrices[:, 0, 2], 80 - 0.5 + 2)


@pytest.mark.parametrize("kind", [Rotate, Shear, Translate, Scale])
def test_the_chance_of_a_step(kind: type) -> None:
    arguments = {"degrees": 30} if kind in (Rotate, Shear) else {"least": 2, "most": 3}
    arguments = {"fraction": 0.4} if kind is Translate else arguments
    matrices, _ = drawn(kind(**arguments, probability=0.25))
    still = (matrices == [[1, 0, 0], [0, 1, 0]]).all(axis=(1, 2))
    assert still.mean() == pytest.approx(0.75, abs=0.03)


# ----------------------------------------------------------------------------------------------------- identities


def test_flips_are_numpys() -> None:
    images = photos()
    always = {"probability": 1.0}
    assert (run(images, RandomFlip(**always)) == (images[:, :, ::-1] / np.float32(255)).astype(np.float32)).all()
    assert (run(images, RandomVerticalFlip(**always)) == (images[:, ::-1] / np.float32(255)).astype(np.float32)).all()
    twice = run(images, RandomFlip(**always), RandomFlip(**always))
    assert (twice == images.astype(np.float32) / np.float32(255)).all()


def test_steps_that_do_nothing_keep_every_bit() -> None:
    images = photos()
    still = run(images, Rotate(degrees=0), Shear(degrees=0), Translate(fraction=0), Scale(least=1, most=1))
    assert (still == images.astype(np.float32) / np.float32(255)).all()
    assert (run(images) == images.astype(np.float32) / np.float32(255)).all()


def test_a_run_is_sampled_once() -> None:
    """Turned there and back in one run, a checkerboard of single pixels survives; in two samplings it turns gray."""
    board = np.zeros((1, 32, 32, 1), np.uint8)
    board[0, ::2, ::2] = board[0, 1::2, 1::2] = 255
    there, back = Rotate(degrees=(30.0, 30.0)), Rotate(degrees=(-30.0, -30.0))
    once = run(board, there, back)
    np.testing.assert_allclose(once[0, 2:-2, 2:-2], board[0, 2:-2, 2:-2] / 255, atol=1e-3)
    twice = run(board, there, Erase(probability=0.0), back)
    assert np.abs(twice[0, 10:-10, 10:-10] - board[0, 10:-10, 10:-10] / 255).mean() > 0.2


def test_padding_of_a_crop_shows_the_border() -> None:
    images = np.full((200, 8, 8, 1), 200, np.uint8)
    black = run(images, RandomCrop(size=8, padding=4))
    assert {0, 200} == set(np.rint(black * 255).astype(int).ravel().tolist())
    assert (run(images, RandomCrop(size=8, padding=4, mode="edge")) == np.float32(200) / np.float32(255)).all()
    filled = run(images, RandomCrop(size=8, padding=4, fill=0.5))
    assert {128, 200} == set(np.rint(filled * 255).astype(int).ravel().tolist())


def test_a_turn_brings_in_what_lies_around_a_view() -> None:
    """A white middle in a gray image: turning the view of the middle shows gray corners, not black ones."""
    image = np.full((1, 40, 40, 1), 100, np.uint8)
    image[0, 10:30, 10:30] = 255
    number = np.zeros(1, np.int64)
    found = augment(image, Pipeline((Rotate(degrees=(45.0, 45.0)),)), number, view=(20, 20))
    assert found.shape == (1, 1, 20, 20)
    assert found[0, 0, 0, 0] == pytest.approx(100 / 255, abs=0.01) and found[0, 0, 10, 10] == 1
    still = augment(image, Pipeline((RandomFlip(probability=0.0),)), number, view=(20, 20))
    assert (still == 1).all()


# ---------------------------------------------------------------------------------------------------------- erase


def test_erased_areas_and_proportions() -> None:
    images = np.full((1500, 30, 50, 1), 255, np.uint8)
    found = run(images, Erase(probability=0.6, scale=(0.1, 0.3), ratio=(0.5, 2.0)))
    covered = (found == 0).sum(axis=(1, 2, 3))
    assert (covered > 0).mean() == pytest.approx(0.6, abs=0.05)
    areas = covered[covered > 0] / 1500
    assert areas.min() > 0.09 and areas.max() < 0.31
    for image in found[covered > 0][:50, :, :, 0] == 0:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()  # one rectangle
        assert 0.45 < len(rows) / len(columns) < 2.2


def test_erasing_with_gray_and_with_noise() -> None:
    images = np.zeros((50, 30, 30, 3), np.uint8)
    assert set(np.unique(run(images, Erase(probability=1.0, value=0.25))).tolist()) == {0, 0.25}
    noise = run(images, Erase(probability=1.0, value="noise"))
    values = noise[noise > 0]
    evenly(values, 0, 1)
    assert len(np.unique(values)) > 0.99 * len(values)


def test_a_rectangle_that_never_fits_covers_nothing() -> None:
    image = np.ones((1, 1, 4, 4), np.float32)
    step = Erase(probability=1.0, scale=(1.0, 1.0))
    u = RNG.random((41, 1))
    assert (erase(image.copy(), step, u, np.zeros(1, np.int64), 0, 0, 0) == 1).all()


# ---------------------------------------------------------------------------------------------------------- mixing


def batch(count: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Images that hold their own number, all labels different."""
    inputs = np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None, None], (count, 2, 12, 16))
    return np.ascontiguousarray(inputs), np.arange(count)


@pytest.mark.parametrize("number", range(8))
def test_mixup_mixes_images_and_labels_alike(number: int) -> None:
    inputs, labels = batch()
    made, soft = mixed(inputs, labels, 16, Pipeline((Mixup(alpha=1.0),)), 3, 1, number)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(made[:, 0, 0, 0], soft @ np.arange(16, dtype=np.float32), rtol=1e-5)
    assert (np.ptp(made.reshape(16, -1), axis=1) == 0).all()
    shares = soft[np.arange(16), labels]
    assert ((soft > 0).sum(axis=1) <= 2).all() and np.ptp(shares[shares < 1]) < 1e-6  # one share for the batch


@pytest.mark.parametrize("number", range(8))
def test_cutmix_labels_are_the_areas(number: int) -> None:
    inputs, labels = batch()
    made, soft = mixed(inputs, labels, 16, Pipeline((Cutmix(),)), 3, 1, number)
    for n in range(16):
        for other in range(16):
            assert (made[n, 0] == other).mean() == pytest.approx(soft[n, other], abs=1e-6)
    foreign = made[:, 0] != labels[:, None, None]
    inside = foreign.any(axis=0)
    if inside.any():
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        assert inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_shares_follow_beta() -> None:
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1))."""
    inputs, labels = batch(4)
    shares = []
    for number in range(600):
        _, soft = mixed(inputs, labels, 4, Pipeline((Mixup(alpha=0.4),)), 0, 0, number)
        changed = np.flatnonzero(soft[np.arange(4), labels] < 1)
        if len(changed):
            shares.append(soft[changed[0], changed[0]])
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.var(shares) == pytest.approx(1 / (4 * 1.8), rel=0.15)


def test_both_kinds_take_turns_and_the_chance_holds() -> None:
    inputs, labels = batch(6)
    kinds = {"none": 0, "mixup": 0, "cutmix": 0}
    pipeline = Pipeline((Mixup(alpha=1.0, probability=0.5), Cutmix(probability=0.5)))
    for number in range(300):
        made, soft = mixed(inputs, labels, 6, pipeline, 1, 0, number)
        assert soft.shape == (6, 6) and soft.dtype == np.float32
        whole = np.isin(made, np.arange(6)).all()
        kinds["none" if (made == inputs).all() else "cutmix" if whole else "mixup"] += 1
    assert kinds["none"] > 100 and kinds["mixup"] > 40 and kinds["cutmix"] > 40


# ---------------------------------------------------------------------------------------------------- determinism

EXAMPLES: dict[str, Augmentation] = {
    "random_flip": RandomFlip(), "random_vertical_flip": RandomVerticalFlip(),
    "random_crop": RandomCrop(size=(18, 24), padding=3), "random_resized_crop": RandomResizedCrop(size=(10, 12)),
    "rotate": Rotate(degrees=40), "shear": Shear(degrees=20, vertical=10), "translate": Translate(fraction=0.2),
    "scale": Scale(least=0.4, most=1.8), "color": Color(brightness=0.4, contrast=0.3, saturation=0.5, hue=0.2),
    "lighting": Lighting(std=0.5), "erase": Erase(value="noise"), "mixup": Mixup(), "cutmix": Cutmix(),
}  # fmt: skip


def test_every_step_of_the_vocabulary_is_tried_and_says_where_it_is_from() -> None:
    assert set(EXAMPLES) == set(AUGMENT)
    assert set(KINDS) == {kind for kind in AUGMENT.values() if issubclass(kind, Geometric)}
    for kind in AUGMENT.values():
        assert kind.reference and kind.__doc__
        assert all(field.description for field in kind.model_fields.values())


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind not in ("mixup", "cutmix")])
def test_a_batch_is_its_images_bit_by_bit(kind: str) -> None:
    images, numbers = photos(9), np.arange(100, 109)
    pipeline = Pipeline((EXAMPLES[kind],))
    together = augment(images, pipeline, numbers, 7, 3)
    for n in range(9):
        assert (augment(images[n : n + 1], pipeline, numbers[n : n + 1], 7, 3) == together[:, n : n + 1]).all()
    assert (augment(images, pipeline, numbers, 7, 3) == together).all()
    assert not all((augment(images, pipeline, numbers, 7, epoch) == together).all() for epoch in (4, 5))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([k for k in EXAMPLES if k not in ("mixup", "cutmix")]), min_size=1, max_size=5),
    st.tuples(st.integers(1, 25), st.integers(1, 25)), st.integers(0, 2**64 - 1), st.booleans(),
)  # fmt: skip
def test_any_pipeline_makes_numbers_from_black_to_white(kinds, size, seed, eight_bit) -> None:
    images = RNG.integers(0, 256, (3, *size, 3), dtype=np.uint8)
    if not eight_bit:
        images = images.astype(np.float32) / 255
    before = images.copy()
    found = augment(images, Pipeline([EXAMPLES[kind] for kind in kinds]), np.arange(3), seed, 1)
    assert found.dtype == np.float32 and found.flags.c_contiguous and np.isfinite(found).all()
    assert found.min() >= 0 and found.max() <= 1 + 1e-6
    assert (images == before).all()  # what is kept in memory stays as it is
    crops = [EXAMPLES[kind].size for kind in kinds if kind in ("random_crop", "random_resized_crop")]
    assert found.shape == (3, 3, *(crops[-1] if crops else size))
