"""Archives of arrays, and scikit-learn's digits."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdsl.data.dataset import require_classes
from netdsl.data.errors import DataError
from netdsl.data.open import Data, DataLimits, open_data
from netdsl.data.sources import Arrays, Digits

RNG = np.random.default_rng(3)
EIGHT = RNG.integers(0, 256, (12, 6, 7), dtype=np.uint8)
LABELS = np.arange(12) % 3


def opened(folder: Path, arrays: dict[str, Any], channels: int = 1, packed: bool = False, **more: object) -> Data:
    (np.savez_compressed if packed else np.savez)(folder / "x.npz", **arrays)
    return open_data(Arrays(path="x.npz", **more), folder, channels)


def fails(folder: Path, code: str, words: str, arrays: dict[str, Any], channels: int = 1, **more: object) -> None:
    with pytest.raises(DataError) as caught:
        opened(folder, arrays, channels, **more)
    assert caught.value.code == code, str(caught.value)
    assert words in str(caught.value), str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("data", "target"), ("x_train", "y_train")])
def test_usual_names(tmp_path: Path, names: tuple[str, str], packed: bool) -> None:
    data = opened(tmp_path, {names[0]: EIGHT, names[1]: LABELS}, packed=packed)
    dataset = data.training.dataset
    assert data.classes == ("0", "1", "2") and dataset.labels.tolist() == LABELS.tolist()
    assert all((dataset.image(n)[:, :, 0] == EIGHT[n]).all() for n in range(12))


@pytest.mark.parametrize(
    ("array", "more"),
    [
        (EIGHT, {}), (EIGHT[..., None], {}), (EIGHT[:, None], {}), (EIGHT[..., None], {"layout": "nhwc"}),
        (EIGHT[:, None], {"layout": "nchw"}), (np.asfortranarray(EIGHT), {"layout": "nhw"}),
    ],
)  # fmt: skip
def test_layouts(tmp_path: Path, array: np.ndarray, more: dict[str, str]) -> None:
    dataset = opened(tmp_path, {"x": array, "y": LABELS}, **more).training.dataset
    assert (dataset.image(5)[:, :, 0] == EIGHT[5]).all() and dataset.image(5).dtype == np.uint8


def test_channels_are_those_of_the_network(tmp_path: Path) -> None:
    color = RNG.integers(0, 256, (12, 3, 5, 6), dtype=np.uint8)
    gray = opened(tmp_path, {"x": color, "y": LABELS}, 1).training.dataset.image(2)
    expected = 0.299 * color[2, 0] + 0.587 * color[2, 1] + 0.114 * color[2, 2]
    assert gray.shape == (5, 6, 1) and abs(gray[:, :, 0] - expected).max() <= 0.51
    rgb = opened(tmp_path, {"x": EIGHT, "y": LABELS}, 3).training.dataset.image(2)
    assert rgb.shape == (6, 7, 3) and (rgb == EIGHT[2][:, :, None]).all()


@pytest.mark.parametrize(
    ("array", "white", "divisor"),
    [
        (EIGHT.astype(np.uint16) * 257, None, 65535), (EIGHT.astype(np.int64), 255, 255),
        (EIGHT.astype(np.float64), 255, 255), (EIGHT / np.float32(255), None, 1),
    ],
)  # fmt: skip
def test_white(tmp_path: Path, array: np.ndarray, white: float | None, divisor: float) -> None:
    image = opened(tmp_path, {"x": array, "y": LABELS}, white=white).training.dataset.image(3)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[:, :, 0], array[3] / divisor, rtol=1e-6)


def test_kinds_of_labels(tmp_path: Path) -> None:
    names = np.array(["dog", "cat", "dog", "cat"] * 3)
    data = opened(tmp_path, {"x": EIGHT, "y": names})
    assert data.classes == ("cat", "dog") and data.training.dataset.labels.tolist() == [1, 0] * 6
    for labels in (np.eye(3)[LABELS], LABELS.astype(float), LABELS[:, None], LABELS.astype(np.uint8)):
        assert opened(tmp_path, {"x": EIGHT, "y": labels}).training.dataset.labels.tolist() == LABELS.tolist()


def test_targets_that_are_no_classes(tmp_path: Path) -> None:
    for targets in (RNG.random((12, 1, 6, 7)), RNG.random(12), RNG.random((12, 4))):
        dataset = opened(tmp_path, {"x": EIGHT, "y": targets}).training.dataset
        assert dataset.targets is not None and dataset.targets.dtype == np.float32 and dataset.classes == ()
        np.testing.assert_allclose(dataset.targets, targets, rtol=1e-6)


def test_a_test_part_in_the_archive(tmp_path: Path) -> None:
    arrays = {"x_train": EIGHT, "y_train": LABELS, "x_test": EIGHT[:4], "y_test": LABELS[:4]}
    data = opened(tmp_path, arrays)
    assert data.validation is not None and len(data.validation.indices) == 4 and len(data.training.indices) == 12
    assert len(opened(tmp_path, arrays, validation=0.25).training.indices) == 9
    fails(tmp_path, "E0906", "out of range", arrays | {"y_test": LABELS[:4] + 2})


def test_another_archive_to_validate_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "held.npz", x=EIGHT[:5], y=LABELS[:5] * 0)
    data = opened(tmp_path, {"x": EIGHT, "y": LABELS}, validation="held.npz")
    assert data.validation is not None and data.validation.dataset.classes == ("0", "1", "2")
    np.savez(tmp_path / "held.npz", x=EIGHT[:5], y=LABELS[:5] + 1)
    fails(tmp_path, "E0906", "from 0 to 2", {"x": EIGHT, "y": LABELS}, validation="held.npz")


@pytest.mark.parametrize(
    ("code", "words", "arrays", "more"),
    [
        ("E0908", "none is called x", {"a": EIGHT, "y": LABELS}, {}),
        ("E0908", "none is called y", {"x": EIGHT, "b": LABELS}, {}),
        ("E0908", "has no array `z`", {"x": EIGHT, "y": LABELS}, {"images": "z"}),
        ("E0908", "in doubt", {"x": np.zeros((12, 3, 5, 3), np.uint8), "y": LABELS}, {}),
        ("E0908", "in doubt", {"x": np.zeros((12, 64), np.uint8), "y": LABELS}, {}),
        ("E0908", "in doubt", {"x": np.zeros((12, 8, 8, 4), np.uint8), "y": LABELS}, {}),
        ("E0908", "with layout nchw", {"x": EIGHT, "y": LABELS}, {"layout": "nchw"}),
        ("E0908", "without pixels", {"x": EIGHT[:, :0], "y": LABELS}, {}),
        ("E0908", "which value is white", {"x": EIGHT.astype(np.int32), "y": LABELS}, {}),
        ("E0908", "NaN", {"x": np.full((12, 4, 4), np.nan), "y": LABELS}, {}),
        ("E0908", "complex", {"x": EIGHT.astype(complex), "y": LABELS}, {}),
        ("E0908", "Python objects", {"x": EIGHT, "y": np.array([{}] * 12)}, {}),
        ("E0902", "no image", {"x": EIGHT[:0], "y": LABELS[:0]}, {}),
        ("E0906", "11 labels for 12 images", {"x": EIGHT, "y": LABELS[:11]}, {}),
        ("E0906", "the first is -1, of image 3", {"x": EIGHT, "y": np.where(np.arange(12) == 3, -1, LABELS)}, {}),
        ("E0906", "4 labels are out of range", {"x": EIGHT, "y": LABELS}, {"classes": 2}),
        ("E0906", "rows", {"x": EIGHT, "y": np.ones((12, 3), int)}, {}),
        ("E0906", "one label for each image", {"x": EIGHT, "y": np.zeros((12, 1, 2), int)}, {}),
        ("E0906", "NaN", {"x": EIGHT, "y": np.full(12, np.inf)}, {}),
        ("E0903", "one class", {"x": EIGHT, "y": LABELS * 0}, {}),
        ("E0904", "class 1", {"x": EIGHT, "y": LABELS // 2 * 2}, {}),
    ],
)  # fmt: skip
def test_errors(tmp_path: Path, code: str, words: str, arrays: dict[str, Any], more: dict[str, Any]) -> None:
    fails(tmp_path, code, words, arrays, **more)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "y.npy").write_bytes(b"")
    for path, code in (("x.npz", "E0908"), ("y.npy", "E0908"), ("none.npz", "E0901")):
        with pytest.raises(DataError) as caught:
            open_data(Arrays(path=path), tmp_path, 1)
        assert caught.value.code == code


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((100, 200, 200), np.uint8), y=np.arange(100) % 2)
    assert (tmp_path / "x.npz").stat().st_size < 50_000
    with pytest.raises(DataError) as caught:
        open_data(Arrays(path="x.npz"), tmp_path, 1, DataLimits(bytes=1_000_000))
    assert caught.value.code == "E0909"


def test_a_header_that_claims_too_much(tmp_path: Path) -> None:
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999, 999, 999), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header + bytes(100))
        archive.writestr("y.npy", header + bytes(100))
    with pytest.raises(DataError) as caught:
        open_data(Arrays(path="x.npz"), tmp_path, 1)
    assert caught.value.code == "E0908"


def test_identity_is_the_content(tmp_path: Path) -> None:
    first = opened(tmp_path, {"x": EIGHT, "y": LABELS}).identity()
    assert opened(tmp_path, {"x": EIGHT, "y": LABELS}, packed=True).identity() == first
    other = EIGHT.copy()
    other[3, 2, 1] ^= 1
    assert opened(tmp_path, {"x": other, "y": LABELS}).identity() != first
    assert opened(tmp_path, {"x": EIGHT, "y": LABELS[::-1]}).identity() != first


def test_the_network_has_to_have_as_many_outputs(tmp_path: Path) -> None:
    dataset = opened(tmp_path, {"x": EIGHT, "y": LABELS}).training.dataset
    require_classes(dataset, 3)
    with pytest.raises(DataError, match="3 classes") as caught:
        require_classes(dataset, 10)
    assert caught.value.code == "E0906"


# ----------------------------------------------------------------------------------------------------------- digits


def test_digits() -> None:
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")
    data = open_data(Digits(validation=0.2, seed=1), channels=1)
    found = sklearn.load_digits()
    assert len(data.training.dataset) == 1797 and data.classes == tuple("0123456789")
    assert data.validation is not None and len(data.validation.indices) == 359
    for n in (0, 1000, 1796):
        image = data.training.dataset.image(n)
        assert image.shape == (8, 8, 1) and abs(image[:, :, 0] / 255 * 16 - found.images[n]).max() < 0.04
        assert data.training.dataset.labels[n] == found.target[n]


def test_some_digits_are_numbered_anew() -> None:
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")
    data = open_data(Digits(classes=(7, 5, 9)), channels=3)
    target = sklearn.load_digits().target
    assert data.classes == ("7", "5", "9") and data.training.dataset.image(0).shape == (8, 8, 3)
    assert [int((data.training.dataset.labels == n).sum()) for n in range(3)] == [
        int((target == d).sum()) for d in (7, 5, 9)
    ]
    with pytest.raises(DataError):
        open_data(Digits(classes=(5, 5)), channels=1)


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="scikit-learn") as caught:
        open_data(Digits(), channels=1)
    assert caught.value.code == "E0910" and "pip install" in str(caught.value)


def test_channels_that_no_image_has() -> None:
    with pytest.raises(DataError, match="5"):
        open_data(Digits(), channels=5)


def test_named_classes_of_data_to_validate_on(tmp_path: Path) -> None:
    arrays = {"x": EIGHT, "y": np.array(["cat", "dog", "emu"] * 4)}
    np.savez(tmp_path / "held.npz", x=EIGHT[:3], y=np.array(["emu", "dog", "emu"]))
    data = opened(tmp_path, arrays, validation="held.npz")
    assert data.validation is not None and data.validation.dataset.labels.tolist() == [2, 1, 2]
    np.savez(tmp_path / "held.npz", x=EIGHT[:3], y=np.array(["emu", "dog", "ant"]))
    fails(tmp_path, "E0906", "unknown class ant", arrays, validation="held.npz")
