"""Batches: the same bits for any number of workers, resumable, interruptible, honest about errors."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from netdsl.data.augment import Pipeline
from netdsl.data.augment.steps import (
    Color,
    Cutmix,
    Erase,
    Mixup,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    Rotate,
    Scale,
)  # fmt: skip
from netdsl.data.dataset import ArrayDataset
from netdsl.data.errors import DataError
from netdsl.data.inputs import Inputs
from netdsl.data.loader import AHEAD, Batch, Loader
from netdsl.data.open import DataLimits, open_data
from netdsl.data.sources import Folder
from netdsl.images.errors import ImageError
from netdsl.images.steps import Normalize, Resize

RNG = np.random.default_rng(5)
ALL = np.arange(23)
PIPELINE = Pipeline(
    (
        RandomFlip(), RandomCrop(size=12, padding=2), Rotate(degrees=30), Scale(least=0.5, most=1.5),
        Color(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.2), Erase(value="noise"), Mixup(), Cutmix(),
    )
)  # fmt: skip
STEPS = (Resize(size=(12, 12)), Normalize(mean=0.5, std=0.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for n in range(23):
        (root / "pets" / "abc"[n % 3]).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(RNG.integers(0, 256, (14 + n % 4, 15, 3), dtype=np.uint8))
        image.save(root / "pets" / "abc"[n % 3] / f"{n:02}.jpg")
    return root


def inputs(folder: Path, pipeline: Pipeline | None = PIPELINE, **more: object) -> Inputs:
    found = open_data(Folder(path="pets"), folder, limits=DataLimits(checked_bytes=0))
    return Inputs(found.training.dataset, (3, 12, 12), STEPS, pipeline, **more)  # type: ignore[arg-type]


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        (a.inputs["image"] == b.inputs["image"]).all() and (a.targets == b.targets).all()
        and (a.indices == b.indices).all() and a.number == b.number
        for a, b in zip(left, right, strict=True)
    )  # fmt: skip


def test_what_a_batch_is(folder: Path) -> None:
    batches = list(Loader(inputs(folder, None), ALL, 5, seed=1, name="x"))
    assert [len(batch.indices) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate([batch.indices for batch in batches])) == list(range(23))
    for batch in batches:
        values = batch.inputs["x"]
        assert values.shape == (len(batch.indices), 3, 12, 12) and values.dtype == np.float32
        assert values.flags.c_contiguous and batch.targets.dtype == np.int64
    assert len(Loader(inputs(folder, None), ALL, 5)) == 5
    assert len(list(Loader(inputs(folder, None), ALL, 5, drop_last=True))) == 4


def test_labels_stay_with_their_images(folder: Path) -> None:
    made = inputs(folder, None)
    for batch in Loader(made, ALL, 4, seed=3):
        for array, label, index in zip(batch.inputs["image"], batch.targets, batch.indices, strict=True):
            assert label == made.dataset.labels[index]
            assert (array == made.make(np.array([index]))[0][0]).all()


@pytest.mark.parametrize("memory", [0, 2**20])
def test_the_number_of_workers_changes_no_bit(folder: Path, memory: int) -> None:
    reference = list(Loader(inputs(folder, memory=memory), ALL, 6, seed=9, epoch=2, workers=0))
    for workers in (1, 2, 4):
        made = inputs(folder, memory=memory)
        # The second time images come out of the memory, together instead of one by one.
        for _ in range(2):
            assert same(reference, list(Loader(made, ALL, 6, seed=9, epoch=2, workers=workers)))


def test_soft_labels_where_images_are_mixed(folder: Path) -> None:
    for batch in Loader(inputs(folder), ALL, 6):
        assert batch.targets.shape == (len(batch.indices), 3) and batch.targets.dtype == np.float32
        np.testing.assert_allclose(batch.targets.sum(axis=1), 1, rtol=1e-6)


def test_epochs_and_seeds_differ(folder: Path) -> None:
    made = inputs(folder)
    first, other, seeded = (list(Loader(made, ALL, 6, seed=s, epoch=e)) for s, e in ((1, 0), (1, 1), (2, 0)))
    assert not (first[0].indices == other[0].indices).all() and not (first[0].indices == seeded[0].indices).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 2))
def test_an_epoch_goes_on_at_any_batch(size: int, start: int, workers: int) -> None:
    images = RNG.integers(0, 256, (23, 12, 12, 3), dtype=np.uint8)
    made = Inputs(ArrayDataset(images, ALL % 3, "abc"), (3, 12, 12), (), PIPELINE)
    whole = list(Loader(made, ALL, size, seed=4, epoch=7, workers=0))
    rest = Loader(made, ALL, size, seed=4, epoch=7, start=start, workers=workers)
    assert same(whole[start:], list(rest)) and len(rest) == len(whole[start:])


def test_without_shuffling_the_order_is_the_callers(folder: Path) -> None:
    order = np.array([4, 2, 9, 2])
    batches = list(Loader(inputs(folder, None), order, 3, shuffle=False))
    assert [batch.indices.tolist() for batch in batches] == [[4, 2, 9], [2]]


def test_a_batch_of_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Loader(inputs(folder), ALL, 0)
    assert list(Loader(inputs(folder), ALL[:0], 4)) == []


def test_targets_of_the_dataset() -> None:
    targets = RNG.random((6, 2)).astype(np.float32)
    found = ArrayDataset(np.zeros((6, 4, 4, 1), np.uint8), np.zeros(6, np.int64), (), targets=targets)
    for batch in Loader(Inputs(found, (1, 4, 4)), np.arange(6), 4, seed=2):
        assert (batch.targets == targets[batch.indices]).all()
    for batch in Loader(Inputs(found, (1, 4, 4), (), Pipeline((Mixup(),))), np.arange(6), 6):
        assert batch.targets.shape == (6, 2)
        np.testing.assert_allclose(batch.targets.sum(), targets.sum(), rtol=1e-5)


# ----------------------------------------------------------------------------------------------------------- errors


def loader_threads() -> int:
    return sum(thread.name.startswith("netdsl-loader") for thread in threading.enumerate())


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    for n in range(12):
        (tmp_path / "pets" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        path = tmp_path / "pets" / "ab"[n % 2] / f"{n:02}.png"
        Image.fromarray(RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
        if n in (3, 4):
            path.write_bytes(path.read_bytes()[:-100])
    return tmp_path


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_of_a_worker_reaches_the_caller(broken: Path, workers: int) -> None:
    made = inputs(broken, None)
    with pytest.raises(ImageError, match=r"(03|04)\.png is damaged"):
        list(Loader(made, np.arange(12), 2, workers=workers))
    assert loader_threads() == 0


@pytest.mark.parametrize("workers", [0, 3])
def test_any_other_error_says_what_was_loaded(folder: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = inputs(folder, None)

    def fail(index: int) -> None:
        raise MemoryError("no room") if index == 7 else RuntimeError("stop")

    monkeypatch.setattr(made.dataset, "picture", fail)
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        list(Loader(made, ALL, 4, workers=workers))
    assert ".jpg" in caught.value.__notes__[0]


@pytest.mark.parametrize("workers", [0, 3])
def test_skipped_images_make_batches_smaller(broken: Path, workers: int) -> None:
    found = open_data(Folder(path="pets", corrupt="skip"), broken, limits=DataLimits(checked_bytes=0))
    made = Inputs(found.training.dataset, (3, 12, 12), STEPS)
    batches = list(Loader(made, np.arange(12), 1, shuffle=False, workers=workers))
    damaged = {number for number in range(12) if made.dataset.name(number)[-6:] in ("03.png", "04.png")}
    assert [batch.number for batch in batches] == [n for n in range(12) if n not in damaged]
    assert sum(len(batch.indices) for batch in Loader(made, np.arange(12), 5, workers=workers)) == 10
    assert len(made.damage.found) == 2


def test_leaving_the_loop_ends_the_threads(folder: Path) -> None:
    for batch in Loader(inputs(folder), ALL, 2, workers=3):
        assert loader_threads() > 0
        if batch.number == 1:
            break
    deadline = time.monotonic() + 10
    while loader_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert loader_threads() == 0


def test_no_more_is_made_than_a_few_batches_ahead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = inputs(folder, None, memory=0)
    read: list[int] = []
    picture = made.dataset.picture
    monkeypatch.setattr(made.dataset, "picture", lambda index: read.append(index) or picture(index))
    batches = iter(Loader(made, np.tile(ALL, 10), 2, workers=2))
    for taken in itertools.count(1):
        next(batches)
        time.sleep(0.05)
        assert len(read) <= 2 * (taken + AHEAD + 1)
        if taken == 5:
            break
    batches.close()


INTERRUPTED = """
    import sys
    import numpy as np
    from netdsl.data.augment import Pipeline
    from netdsl.data.augment.steps import Rotate
    from netdsl.data.dataset import ArrayDataset
    from netdsl.data.inputs import Inputs
    from netdsl.data.loader import Loader
    data = ArrayDataset(np.zeros((64, 200, 200, 3), np.uint8), np.zeros(64, np.int64), "ab")
    inputs = Inputs(data, (3, 200, 200), (), Pipeline((Rotate(degrees=30),)))
    try:
        for batch in Loader(inputs, np.tile(np.arange(64), 1000), 16, workers=4):
            print(batch.number, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_an_interrupt_ends_everything() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert rest.splitlines()[-1] == "interrupted" and process.returncode == 130
    assert "Traceback" not in errors


def test_sizes_of_one_batch_have_to_agree(folder: Path) -> None:
    found = open_data(Folder(path="pets"), folder).training.dataset
    with pytest.raises(DataError) as caught:
        list(Loader(Inputs(found, (3, None, None)), ALL, 4, workers=2))
    assert caught.value.code == "E0912"


def test_crops_of_photographs_of_any_size(folder: Path) -> None:
    found = open_data(Folder(path="pets"), folder).training.dataset
    made = Inputs(found, (3, 9, 7), STEPS, Pipeline((RandomResizedCrop(size=(9, 7)),)))
    assert sum(len(batch.inputs["image"]) for batch in Loader(made, ALL, 8, workers=2)) == 23
