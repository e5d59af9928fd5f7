"""Folders of classes: what counts, in which order, and every way in which they are not what they should be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netdsl.data.errors import DataError
from netdsl.data.open import Data, DataLimits, open_data
from netdsl.data.sources import Folder

Make = Callable[..., Path]


def opened(path: Path, channels: int = 3, limits: DataLimits | None = None, **more: object) -> Data:
    return open_data(Folder(path=path.name, **more), path.parent, channels, limits)


def fails(path: Path, code: str, *words: str, limits: DataLimits | None = None, **more: object) -> str:
    with pytest.raises(DataError) as caught:
        opened(path, limits=limits, **more)
    assert caught.value.code == code
    text = str(caught.value)
    for word in words:
        assert word in text, text
    return text


def test_classes_labels_and_pixels(pets: Make) -> None:
    data = opened(pets({"dog": 2, "cat": 3, "10": 1, "9": 1}))
    dataset = data.training.dataset
    assert data.classes == ("10", "9", "cat", "dog")  # sorted as text, as torchvision's ImageFolder
    assert dataset.labels.tolist() == [0, 1, 2, 2, 2, 3, 3] and dataset.labels.dtype == np.int64
    assert [dataset.image(i)[0, 0].tolist() for i in range(7)] == [
        [20] * 3,
        [30] * 3,
        [10] * 3,
        [11] * 3,
        [12] * 3,
        [0] * 3,
        [1] * 3,
    ]
    assert dataset.image(0).shape == (12, 10, 3) and dataset.image(0).dtype == np.uint8
    assert dataset.name(4) == "cat/002.png" and data.validation is None
    assert data.training.indices.tolist() == list(range(7))


def test_gray_for_a_network_that_reads_gray(pets: Make) -> None:
    assert opened(pets({"a": 1, "b": 1}), channels=1).training.dataset.image(1).shape == (12, 10, 1)


def test_what_does_not_count(pets: Make) -> None:
    root = pets({"a": 2, "b": 2})
    (root / ".git").mkdir()
    (root / "readme.png").write_text("a file beside the classes")
    (root / "a" / "notes.txt").write_text("no image")
    (root / "a" / ".hidden.png").write_bytes(b"nothing")
    (root / "a" / "Thumbs.db").write_bytes(b"nothing")
    (root / "b" / ".cache").mkdir()
    (root / "b" / ".cache" / "x.png").write_bytes(b"nothing")
    assert len(opened(root).training.dataset) == 4


def test_folders_in_a_class_unicode_names_and_suffixes(pets: Make) -> None:
    root = pets({"chat noir": 1, "кошка": 1})
    inner = root / "кошка" / "2024" / "été"
    inner.mkdir(parents=True)
    Image.new("RGB", (5, 5), (1, 2, 3)).save(inner / "猫 #1.JPEG")
    dataset = opened(root).training.dataset
    assert dataset.classes == ("chat noir", "кошка") and len(dataset) == 3
    assert dataset.name(2) == "кошка/2024/été/猫 #1.JPEG" and dataset.labels[2] == 1


def test_links_are_followed_once(pets: Make, tmp_path: Path) -> None:
    root = pets({"a": 1, "b": 1})
    other = tmp_path / "elsewhere"
    other.mkdir()
    Image.new("RGB", (4, 4)).save(other / "x.png")
    (root / "a" / "more").symlink_to(other, target_is_directory=True)
    (root / "b" / "one.png").symlink_to(other / "x.png")
    (root / "b" / "round").symlink_to(root / "b", target_is_directory=True)
    assert [opened(root).training.dataset.name(i) for i in range(4)] == [
        "a/000.png",
        "a/more/x.png",
        "b/000.png",
        "b/one.png",
    ]


def test_a_link_to_nothing_is_a_damaged_image(pets: Make) -> None:
    root = pets({"a": 2, "b": 2})
    (root / "b" / "gone.png").symlink_to(root / "nowhere.png")
    fails(root, "E0905", "gone.png", "there is no such file")


def test_errors_that_name_what_is_missing(pets: Make, tmp_path: Path) -> None:
    fails(tmp_path / "nothing", "E0901", "nothing does not exist")
    (tmp_path / "file").write_text("x")
    fails(tmp_path / "file", "E0901", "is a file")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", "E0902", "no folder")
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "flat" / "x.png")
    fails(tmp_path / "flat", "E0902", "1 images", "which class")
    (tmp_path / "hollow" / "a").mkdir(parents=True)
    (tmp_path / "hollow" / "b").mkdir()
    fails(tmp_path / "hollow", "E0902", "no image in the 2 folders")
    fails(pets({"only": 3}, name="one"), "E0903", "one class, `only`")
    root = pets({"a": 1, "b": 1}, name="two")
    (root / "c").mkdir()
    fails(root, "E0904", "1 class has no image", "two/c")


@pytest.mark.parametrize(
    "names", [("train", "val"), ("train", "validation", "test"), ("training", "testing", "labels")]
)
def test_parts_of_a_dataset_are_not_classes(pets: Make, names: tuple[str, ...]) -> None:
    root = pets(dict.fromkeys(names, 1))
    fails(root, "E0903", f'folder("pets/{names[0]}", validation = "pets/{names[1]}")')


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(pets: Make) -> None:
    root = pets({"a": 1, "b": 1})
    (root / "b").chmod(0)
    try:
        fails(root, "E0901", "b")
    finally:
        (root / "b").chmod(0o700)


# ---------------------------------------------------------------------------------------------------- hostile files


def damaged(root: Path) -> list[str]:
    """Puts files that cannot be decoded into a folder; returns their names."""
    good = (root / "a" / "000.png").read_bytes()
    files = {
        "a/empty.png": b"", "a/text.jpg": b"not an image", "b/cut.png": good[: len(good) // 2],
        "b/zip.png": b"PK\x03\x04" + bytes(100), "b/script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    }  # fmt: skip
    for name, content in files.items():
        (root / name).write_bytes(content)
    return sorted(files)


def test_damaged_files_are_refused_by_name(pets: Make) -> None:
    root = pets({"a": 3, "b": 3})
    names = damaged(root)
    text = fails(root, "E0905", "5 images cannot be decoded", "corrupt = skip", *names)
    assert "000.png" not in text


def test_damaged_files_are_skipped_and_named(pets: Make) -> None:
    root = pets({"a": 3, "b": 3})
    names = damaged(root)
    data = opened(root, corrupt="skip")
    assert list(data.skipped) == names and all(data.skipped.values())
    assert [data.training.dataset.name(i) for i in range(6)] == [f"{c}/00{n}.png" for c in "ab" for n in range(3)]
    assert data.training.dataset.skips_damaged


def test_damage_behind_the_header_of_large_sets_is_found_later(pets: Make) -> None:
    root = pets({"a": 2, "b": 2}, size=(64, 64))
    good = root / "b" / "001.png"
    good.write_bytes(good.read_bytes()[:-30])
    assert len(opened(root, limits=DataLimits(checked_bytes=0)).training.dataset) == 4
    fails(root, "E0905", "b/001.png")


def test_many_damaged_files_are_counted(pets: Make) -> None:
    root = pets({"a": 1, "b": 1})
    for n in range(30):
        (root / "a" / f"bad{n}.png").write_bytes(b"x")
    assert fails(root, "E0905", "30 images", "... and 10 more").count("bad") == 20


def test_a_class_of_which_nothing_is_left(pets: Make) -> None:
    root = pets({"a": 2, "b": 1})
    (root / "b" / "000.png").write_bytes(b"x")
    fails(root, "E0904", "class b", "without its damaged images", corrupt="skip")


def test_a_bomb_is_found_by_its_header(pets: Make) -> None:
    root = pets({"a": 1, "b": 1})
    Image.new("1", (30_000, 30_000)).save(root / "a" / "bomb.png")
    assert (root / "a" / "bomb.png").stat().st_size < 200_000
    for checked in (0, 2**30):
        fails(root, "E0905", "bomb.png", limits=DataLimits(checked_bytes=checked))
    fails(root, "E0905", "limit of 50", limits=DataLimits(pixels=50))


def test_more_files_than_a_limit(pets: Make) -> None:
    fails(pets({"a": 3, "b": 3}), "E0909", "more than 5 images", "`max_files`", limits=DataLimits(files=5))


def test_folders_too_deep(pets: Make) -> None:
    root = pets({"a": 1, "b": 1})
    deep = root / "a"
    for _ in range(40):
        deep = deep / "d"
    deep.mkdir(parents=True)
    fails(root, "E0909", "32 deep")


# ----------------------------------------------------------------------------------------------- kinds of pictures


def test_every_kind_of_picture_becomes_rgb_or_gray(tmp_path: Path) -> None:
    kinds = tmp_path / "kinds"
    (kinds / "a").mkdir(parents=True)
    (kinds / "b").mkdir()
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    images = {
        "a/l.png": Image.fromarray(gray), "a/p.gif": Image.fromarray(gray).convert("P"),
        "a/rgba.png": Image.merge("RGBA", [Image.fromarray(gray)] * 3 + [Image.new("L", (8, 8), 255)]),
        "a/cmyk.jpg": Image.fromarray(np.stack([gray] * 3, 2)).convert("CMYK"), "b/one.png": Image.new("1", (8, 8), 1),
        "b/la.png": Image.merge("LA", [Image.fromarray(gray), Image.new("L", (8, 8), 255)]),
        "b/deep.png": Image.fromarray(gray.astype(np.uint16) * 257), "b/ycc.jpg": Image.fromarray(np.stack([gray] * 3, 2)),
    }  # fmt: skip
    for name, image in images.items():
        image.save(kinds / name, quality=100) if name.endswith("jpg") else image.save(kinds / name)
    for channels in (1, 3):
        dataset = opened(kinds, channels).training.dataset
        for i in range(len(dataset)):
            found, name = dataset.image(i), dataset.name(i)
            assert found.shape == (8, 8, channels), name
            values = found / 255 if found.dtype == np.uint8 else found
            expected = np.ones((8, 8)) if name == "b/one.png" else gray / 255
            assert abs(values - expected[:, :, None]).max() < (0.02 if name.endswith("jpg") else 1e-6), name


def test_photographs_stand_upright(pets: Make) -> None:
    root = pets({"a": 1, "b": 1})
    image = Image.new("RGB", (20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(root / "a" / "turned.jpg", exif=exif)
    assert opened(root).training.dataset.image(1).shape == (20, 10, 3)


# --------------------------------------------------------------------------------------------------------- identity


def test_identity_follows_the_files(pets: Make) -> None:
    root = pets({"a": 3, "b": 3})
    first = opened(root).identity()
    assert opened(root).identity() == first
    assert opened(root, channels=1).identity() != first
    assert opened(root, validation=0.3).identity() != first
    os.utime(root / "a" / "000.png", ns=(1, 1))
    touched = opened(root).identity()
    assert touched != first
    (root / "a" / "000.png").rename(root / "a" / "0.png")
    assert opened(root).identity() not in (first, touched)


def test_identity_does_not_hang_on_where_the_folder_lies(pets: Make, tmp_path: Path) -> None:
    root = pets({"a": 2, "b": 2})
    first = opened(root).identity()
    (tmp_path / "moved").mkdir()
    root.rename(tmp_path / "moved" / "animals")
    assert opened(tmp_path / "moved" / "animals").identity() == first


# ------------------------------------------------------------------------------------------------------- validation


def test_other_data_to_validate_on(pets: Make) -> None:
    root = pets({"a": 2, "b": 2, "c": 2})
    pets({"c": 3, "b": 1}, name="held")
    data = opened(root, validation="held")
    assert data.validation is not None and len(data.training.indices) == 6
    assert data.validation.dataset.classes == ("a", "b", "c")
    assert data.validation.dataset.labels.tolist() == [1, 2, 2, 2]


def test_other_data_with_other_classes(pets: Make) -> None:
    root = pets({"a": 2, "b": 2})
    pets({"a": 1, "bird": 1}, name="held")
    fails(root, "E0906", "unknown class bird", "a, b", validation="held")


def test_few_images_of_each_class(pets: Make) -> None:
    root = pets({"a": 20, "b": 20, "c": 3})
    whole, few, fewer = (opened(root, validation=0.2, seed=4, per_class=n) for n in (None, 5, 2))
    labels = few.training.dataset.labels
    assert np.bincount(labels[few.training.indices]).tolist() == [5, 5, 2]
    assert set(fewer.training.indices) < set(few.training.indices) < set(whole.training.indices)
    assert few.validation is not None and whole.validation is not None
    assert few.validation.indices.tolist() == whole.validation.indices.tolist()
    assert few.identity() != whole.identity()
