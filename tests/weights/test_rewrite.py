"""From format to format: the numbers, their types and their names stay; and what is not loaded twice."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from owners import CONV, build

from netdsl.ir.layer import Weight
from netdsl.weights import WeightError, WeightStore, open_archive, read, write
from netdsl.weights.mapping import release
from netdsl.weights.rewrite import rewrite
from netdsl.weights.rules import rules_of
from netdsl.weights.statistics import statistics

FORMATS = [".npz", ".safetensors", ".pth"]
TYPES = ["float16", "float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__" and "/" not in name and "\\" not in name
)
arrays = hnp.arrays(
    st.sampled_from([np.dtype(kind) for kind in TYPES]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    elements={"allow_nan": False, "allow_infinity": False},
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.dictionaries(names, arrays, max_size=5), way=st.permutations(FORMATS))
def test_round_trips_through_every_format(tmp_path: Path, content: dict[str, np.ndarray], way: list[str]) -> None:
    paths = [tmp_path / f"{number}{suffix}" for number, suffix in enumerate([*way, way[0]])]
    write(paths[0], content)
    for source, target in pairwise(paths):
        rewrite(source, target)
    found = read(paths[-1])
    assert list(found) == list(content)
    for name, array in content.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    assert paths[0].read_bytes() == paths[-1].read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_width(tmp_path: Path, suffix: str) -> None:
    content = {"w": np.array([0.1, -2, 65504], np.float32), "n": np.array(3)}
    write(tmp_path / "a.npz", content)
    done = rewrite(tmp_path / "a.npz", tmp_path / f"b{suffix}", dtype="float16")
    assert (done.arrays, done.numbers, done.bytes) == (2, 4, 14)
    found = read(tmp_path / f"b{suffix}")
    assert found["w"].dtype == np.float16 and found["n"].dtype == np.int64
    np.testing.assert_array_equal(found["w"], content["w"].astype(np.float16))


@pytest.mark.parametrize(("bad", "code"), [(np.nan, "E0707"), (np.inf, "E0707"), (1e6, "E0707")])
def test_numbers_that_do_not_survive_are_refused_and_nothing_is_written(tmp_path: Path, bad: float, code: str) -> None:
    write(tmp_path / "a.npz", {"w": np.array([1, bad], np.float32)})
    with pytest.raises(WeightError) as caught:
        rewrite(tmp_path / "a.npz", tmp_path / "b.pth", dtype="float16")
    assert caught.value.code == code and "`w`" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_file_can_be_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write(path, {"w": np.arange(6, dtype=np.float32)})
    old = read(path)["w"]
    done = rewrite(path, path, rules=rules_of({"rename": [{"from": "w", "to": "v"}]}))
    assert done.renamed == 1 and list(read(path)) == ["v"]
    assert old.tolist() == [0, 1, 2, 3, 4, 5]  # the mapping keeps the old file


@pytest.mark.parametrize("name", ["a\0b", "__metadata__", "\ud800"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_names_that_no_file_can_hold(tmp_path: Path, suffix: str, name: str) -> None:
    with pytest.raises(WeightError) as caught:
        write(tmp_path / f"w{suffix}", {name: np.zeros(1, np.float32)})
    assert caught.value.code == "E0709" and not list(tmp_path.iterdir())


def test_an_endless_name_in_a_file(tmp_path: Path) -> None:
    write(tmp_path / "w.safetensors", {"a" * 5000: np.zeros(1, np.float32)})
    with pytest.raises(WeightError) as caught:
        open_archive(tmp_path / "w.safetensors")
    assert caught.value.code == "E0703" and "5_000" in str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_loading_copies_no_weight(tmp_path: Path, suffix: str) -> None:
    """The store's array is the mapping (where the format aligns it), so loading 16 MB takes far less memory."""
    network = build(("big", (Weight("weight", (2000, 2000), initial="kaiming"),)))
    write(tmp_path / f"w{suffix}", {"big.weight": np.ones((2000, 2000), np.float32)})
    store = WeightStore(network)
    store.load({"big.weight": np.ones((2000, 2000), np.float32)})  # whatever the first load imports
    tracemalloc.start()
    store.load(tmp_path / f"w{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Nothing aligns the arrays of a .npz file: one that happens not to be aligned is copied, once.
    assert peak < (1.6 if suffix == ".npz" else 0.6) * 16e6
    assert store.values["big.weight"].sum() == 4e6


@pytest.mark.parametrize("suffix", FORMATS)
def test_released_pages_come_back(tmp_path: Path, suffix: str) -> None:
    content = {f"w{i}": np.random.default_rng(i).normal(size=(i + 1, 700)).astype(np.float32) for i in range(9)}
    write(tmp_path / f"w{suffix}", content)
    found = read(tmp_path / f"w{suffix}")
    for name in found:
        assert release(found[name])
    for name, array in content.items():
        np.testing.assert_array_equal(found[name], array)
    assert not release(np.ones(3)) and not release(found["w5"].T)


def test_writing_copies_no_weight(tmp_path: Path) -> None:
    big = {"a": np.ones((2000, 2000), np.float32), "b": np.ones((2000, 2000), np.float32)}
    for suffix in (".safetensors", ".pth"):
        tracemalloc.start()
        write(tmp_path / f"w{suffix}", big)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8e6, suffix


@pytest.mark.parametrize("suffix", FORMATS)
def test_loaded_weights_are_aligned_native_and_in_rows(tmp_path: Path, suffix: str) -> None:
    network = build(("conv", CONV))
    write(tmp_path / f"w{suffix}", {
        "conv.bias": np.arange(8, dtype=">f4"), "conv.weight": np.ones((3, 3, 3, 8), np.float32).T,
    })  # fmt: skip
    store = WeightStore(network)
    store.load(tmp_path / f"w{suffix}")
    for array in store.values.values():
        assert array.dtype == np.float32 and array.dtype.isnative and array.flags.c_contiguous and array.flags.aligned
    assert store.values["conv.bias"].tolist() == list(range(8))


# -------------------------------------------------------------------------------------------------------- statistics


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_side=6), elements=st.floats(-1000, 1000, width=32)))
def test_statistics_are_numpys(array: np.ndarray) -> None:
    found = statistics(array)
    wide = array.astype(np.float64)
    assert (found.least, found.most) == (wide.min(), wide.max())
    assert found.mean == pytest.approx(wide.mean(), abs=1e-9)
    assert found.deviation == pytest.approx(wide.std(), abs=1e-9)
    assert found.zeros == np.count_nonzero(wide == 0) and found.not_finite == 0


def test_statistics_over_several_parts_and_with_holes() -> None:
    array = np.zeros(3_000_000, np.float32)
    array[[5, 2_500_000]] = np.nan, np.inf
    array[-1] = 3
    found = statistics(array)
    assert (found.least, found.most, found.not_finite, found.zeros) == (0, 3, 2, 2_999_997)
    assert statistics(np.full(2, np.nan)).mean is None
    assert statistics(np.zeros((0, 3))).least is None
    assert statistics(np.array([True, False])).mean == 0.5
