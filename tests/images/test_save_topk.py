"""Writing activations as files, and the table of the most probable classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netdsl.images.errors import ImageError
from netdsl.images.save import Range, save_map
from netdsl.images.topk import read_labels, softmax, top_k


def pixels(path: Path) -> list:
    with Image.open(path) as image:
        return np.asarray(image).tolist()


def test_arrays_are_written_as_they_are(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(2, 5, 3, 3)).astype(np.float32)
    assert save_map(tmp_path / "a.npy", array) is None
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), array)


def test_values_from_zero_to_one_are_shown_as_they_are(tmp_path: Path) -> None:
    assert save_map(tmp_path / "a.png", np.array([[0.2, 0.4], [0.0, 0.8]])) == (0, 1)
    assert pixels(tmp_path / "a.png") == [[51, 102], [0, 204]]


def test_other_values_are_stretched(tmp_path: Path) -> None:
    assert save_map(tmp_path / "a.png", np.array([[[-1.0, 0.0, 4.0]]])) == (-1, 4)
    assert pixels(tmp_path / "a.png") == [[0, 51, 255]]


def test_a_stated_range_clips(tmp_path: Path) -> None:
    assert save_map(tmp_path / "a.png", np.array([[-1.0, 0.0, 1.0, 9.0]]), range=Range(0, 2)) == (0, 2)
    assert pixels(tmp_path / "a.png") == [[0, 0, 128, 255]]


def test_three_channels_are_a_color(tmp_path: Path) -> None:
    image = np.zeros((1, 3, 1, 2), np.float32)
    image[0, 0, 0, 0] = 1
    image[0, 2, 0, 1] = 1
    save_map(tmp_path / "a.png", image)
    assert pixels(tmp_path / "a.png") == [[[255, 0, 0], [0, 0, 255]]]


def test_a_flat_map_is_black(tmp_path: Path) -> None:
    assert save_map(tmp_path / "a.png", np.full((2, 2), 7.0)) == (7, 7)
    assert pixels(tmp_path / "a.png") == [[0, 0], [0, 0]]


@pytest.mark.parametrize("shape", [(1000,), (2, 1, 4, 4), (64, 4, 4), (3, 0, 4), ()])
def test_what_is_no_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError) as caught:
        save_map(tmp_path / "a.png", np.zeros(shape))
    assert caught.value.code == "E0727" and ".npy" in str(caught.value)
    assert f"({', '.join(map(str, shape))})" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_no_picture_shows(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ImageError, match="NaN or infinity"):
        save_map(tmp_path / "a.png", np.array([[bad, 1.0]]))


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "a.png", tmp_path / "a.jpg", tmp_path / "a"):
        with pytest.raises(ImageError) as caught:
            save_map(path, np.zeros((2, 2)))
        assert caught.value.code == "E0727"
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------------------------- top k


def test_softmax_sums_to_one_and_does_not_overflow() -> None:
    found = softmax(np.array([[0.0, np.log(3.0)], [1e4, 0.0], [-1e4, -1e4]]))
    np.testing.assert_allclose(found, [[0.25, 0.75], [1, 0], [0.5, 0.5]], atol=1e-12)


def test_top_k() -> None:
    output = np.log(np.array([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25]], np.float32)) + 3
    first, second = top_k(output, 2, ["cat", "dog", "bird"])
    assert [(guess.rank, guess.class_index, guess.label) for guess in first] == [(1, 1, "dog"), (2, 2, "bird")]
    assert [guess.probability for guess in first] == pytest.approx([0.6, 0.3], rel=1e-6)
    assert first[0].score == pytest.approx(np.log(0.6) + 3, rel=1e-6)
    assert [guess.class_index for guess in second] == [0, 1]  # of equal ones the first
    assert len(top_k(output, 10)[0]) == 3 and top_k(output)[0][0].label is None


def test_probabilities_are_not_taken_for_logits() -> None:
    assert top_k(np.array([[0.2, 0.8]]), 1, are_probabilities=True)[0][0].probability == 0.8


def test_maps_of_one_pixel_are_classes_too() -> None:
    assert top_k(np.array([1.0, 3.0]).reshape(1, 2, 1, 1), 1)[0][0].class_index == 1


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (5,)])
def test_what_is_no_list_of_classes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="no list of classes"):
        top_k(np.zeros(shape))


def test_scores_that_are_not_finite() -> None:
    with pytest.raises(ImageError, match="NaN"):
        top_k(np.array([[np.nan, 1.0]]))


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffcat\r\nÉcureuil \nbird\n\n".encode())
    assert read_labels(path, 3) == ["cat", "Écureuil", "bird"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cat\ndog\n", ("2 labels", "3 classes")),
        (b"background\na\nb\nc\n", ("4 labels", "background")),
        (b"", ("0 labels",)),
        (b"\xff\xfe\x00", ("UTF-8",)),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, content: bytes, words: tuple[str, ...]) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_labels(path, 3)
    assert caught.value.code == "E0728" and all(word in str(caught.value) for word in (*words, "labels.txt"))


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "no.txt", tmp_path):
        with pytest.raises(ImageError) as caught:
            read_labels(path, 3)
        assert caught.value.code == "E0728"
