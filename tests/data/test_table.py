"""Tables of paths and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netdsl.data.errors import DataError
from netdsl.data.open import Data, open_data
from netdsl.data.sources import Csv


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for n in range(6):
        Image.fromarray(np.full((4, 5, 3), n, np.uint8)).save(tmp_path / "images" / f"{n}.png")
    return tmp_path


def opened(folder: Path, text: str | bytes, name: str = "labels.csv", **more: object) -> Data:
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(content)
    return open_data(Csv(path=name, **more), folder)


def fails(folder: Path, code: str, words: str, text: str | bytes, **more: object) -> None:
    with pytest.raises(DataError) as caught:
        opened(folder, text, **more)
    assert caught.value.code == code
    assert words in str(caught.value), str(caught.value)


def test_names_are_classes_in_alphabetical_order(images: Path) -> None:
    data = opened(images, "path,label\nimages/0.png,dog\nimages/1.png,cat\nimages/2.png,dog\n")
    assert data.classes == ("cat", "dog")
    dataset = data.training.dataset
    assert dataset.labels.tolist() == [1, 0, 1] and dataset.image(2)[0, 0, 0] == 2


def test_whole_numbers_are_classes_by_number(images: Path) -> None:
    text = "file,class\n" + "".join(f"{n}.png,{n // 2}\n" for n in range(6))
    data = opened(images, text, root="images")
    assert data.classes == ("0", "1", "2") and data.training.dataset.labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("\ufefffilename;label\r\n0.png;a\r\n\r\n1.png;b\r\n", {"separator": ";"}),
        ('"id","other","category"\n"0.png","x, y","a"\n"1.png","z","b"\n', {}),
        ("a,b,c\n9,0.png,a\n9,1.png,b\n", {"image": "b", "label": "c"}),
        (" Path , Label \n 0.png , a \n1.png,b\n", {}),
    ],
)
def test_forms_that_are_read(images: Path, text: str, more: dict[str, str]) -> None:
    data = opened(images, text, root="images", **more)
    assert data.classes == ("a", "b") and len(data.training.dataset) == 2


def test_tabs_and_backslashes(images: Path) -> None:
    data = opened(images, "path\tlabel\nimages\\0.png\ta\nimages\\1.png\tb\n", name="labels.tsv")
    assert data.training.dataset.name(0) == "images/0.png"


@pytest.mark.parametrize(
    ("code", "words", "text"),
    [
        ("E0902", "is empty", ""),
        ("E0902", "names no image", "path,label\n\n"),
        ("E0907", "none is called path", "a,b\n0.png,x\n"),
        ("E0907", "label = \"COLUMN\"", "path,b\n0.png,x\n"),
        ("E0907", "line 3", "path,label\n0.png,a\n1.png\n"),
        ("E0907", "line 2", "path,label\n0.png,\n"),
        ("E0907", "UTF-8", b"path,label\n0.png,\xff\xfe\n"),
        ("E0907", "line 2", 'path,label\n"0.png,a\n'),
        ("E0907", "line 2", f"path,label\n{'x' * 100_000},a\n"),
        ("E0903", "one class, `a`", "path,label\n0.png,a\n1.png,a\n"),
        ("E0904", "class 1", "path,label\n0.png,0\n1.png,2\n"),
        ("E0909", "classes", "path,label\n0.png,0\n1.png,999999999\n"),
        ("E0906", "two labels: a and b", "path,label\n0.png,a\n0.png,b\n"),
        ("E0905", "9.png", "path,label\n0.png,a\n9.png,b\n"),
    ],
)  # fmt: skip
def test_errors(images: Path, code: str, words: str, text: str | bytes) -> None:
    fails(images, code, words, text, root="images")


def test_columns_and_roots_that_are_not_there(images: Path) -> None:
    text = "path,label\n0.png,a\n1.png,b\n"
    fails(images, "E0907", "did you mean `label`?", text, label="labl")
    fails(images, "E0901", "nowhere", text, root="nowhere")
    with pytest.raises(DataError) as caught:
        open_data(Csv(path="none.csv"), images)
    assert caught.value.code == "E0901"


def test_other_data_to_validate_on(images: Path) -> None:
    (images / "held.csv").write_text("path,label\n3.png,b\n4.png,a\n5.png,b\n")
    text = "path,label\n0.png,a\n1.png,b\n2.png,c\n"
    data = opened(images, text, root="images", validation="held.csv")
    assert data.validation is not None and data.validation.dataset.labels.tolist() == [1, 0, 1]
    assert data.validation.dataset.classes == ("a", "b", "c")
    (images / "held.csv").write_text("path,label\n3.png,bird\n")
    fails(images, "E0906", "unknown class bird", text, root="images", validation="held.csv")
