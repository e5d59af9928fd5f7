"""Splits: by class, by seed, and stable when files come and go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.data.dataset import FileDataset
from netdsl.data.errors import DataError
from netdsl.data.split import split, take


def dataset(counts: list[int], skip: str = "") -> FileDataset:
    paths = [f"c{label}/{n}.png" for label, count in enumerate(counts) for n in range(count)]
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    kept = [i for i, path in enumerate(paths) if path != skip]
    return FileDataset(
        Path("x"), [paths[i] for i in kept], [labels[i] for i in kept], [f"c{i}" for i in range(len(counts))]
    )


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(0.01, 0.99), st.integers(0, 2**64 - 1))
def test_every_class_is_split_alike(counts: list[int], fraction: float, seed: int) -> None:
    data = dataset(counts)
    if max(counts) == 1:
        with pytest.raises(DataError) as caught:
            split(data, fraction, seed)
        assert caught.value.code == "E0911"
        return
    training, apart = split(data, fraction, seed)
    assert sorted([*training, *apart]) == list(range(sum(counts)))
    assert (np.diff(training) > 0).all() and (np.diff(apart) > 0).all()
    for label, count in enumerate(counts):
        held = int((data.labels[apart] == label).sum())
        assert abs(held - count * fraction) <= 1 and held < count and (held > 0 or count == 1)


def test_the_seed_chooses() -> None:
    data = dataset([50, 50])
    one, same, other = split(data, 0.2, 1)[1], split(data, 0.2, 1)[1], split(data, 0.2, 2)[1]
    assert one.tolist() == same.tolist() != other.tolist()
    assert len(set(one) & set(other)) < 12


def test_a_file_less_moves_at_most_one_other_of_its_class() -> None:
    whole = dataset([60, 60, 60])
    held = {whole.paths[i] for i in split(whole, 0.25, 3)[1]}
    for gone in whole.paths[::7]:
        fewer = dataset([60, 60, 60], skip=gone)
        now = {fewer.paths[i] for i in split(fewer, 0.25, 3)[1]}
        changed = (held ^ now) - {gone}
        assert len(changed) <= 1 and all(path.startswith(gone.split("/")[0]) for path in changed)


def test_what_is_held_back_is_drawn_evenly() -> None:
    data = dataset([100])
    counts = np.zeros(100)
    for seed in range(400):
        counts[split(data, 0.25, seed)[1]] += 1
    assert counts.min() > 60 and counts.max() < 140  # 100 expected, deviation 8.7


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_nothing_and_everything_are_refused(fraction: float) -> None:
    with pytest.raises(DataError):
        split(dataset([5, 5]), fraction)


def test_few_labels_are_nested() -> None:
    data = dataset([30, 4, 30])
    training, _ = split(data, 0.2, 0)
    few, more = take(data, training, 3, seed=5), take(data, training, 10, seed=5)
    assert set(few) < set(more) < set(training)
    assert [int((data.labels[few] == label).sum()) for label in range(3)] == [3, 3, 3]
    assert [int((data.labels[more] == label).sum()) for label in range(3)] == [10, 3, 10]
