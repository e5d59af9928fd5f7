"""Loading by name, what is refused, and fresh weights."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from owners import CONV, DENSE, build

from netdsl.ir.layer import Weight
from netdsl.ir.network import Network, Node
from netdsl.weights import MismatchError, WeightError, WeightStore, inventory, read, write

NAMES = [
    "layer1.0.conv.weight", "layer1.0.conv.bias",
    "layer1.0.bn.weight", "layer1.0.bn.bias", "layer1.0.bn.running_mean", "layer1.0.bn.running_var",
    "layer1.0.bn.num_batches_tracked", "edges.weight", "fc.weight", "fc.bias",
]  # fmt: skip


@pytest.fixture
def arrays(network: Network) -> dict[str, np.ndarray]:
    """A complete, distinct value for each weight."""
    rng = np.random.default_rng(0)
    slots = inventory(network)
    return {name: rng.normal(size=slots[name].weight.shape).astype(slots[name].weight.dtype) for name in NAMES}


def test_names_are_address_and_name_in_execution_order(network: Network) -> None:
    assert list(inventory(network)) == NAMES


def test_weights_that_two_nodes_share_are_listed_once(network: Network) -> None:
    first = network.node("fc")
    network.add(Node("again", first.layer, ("fc",), first.type, None, "fc", ()))
    assert list(inventory(network)) == NAMES


def test_a_weight_without_an_address_keeps_its_own_name(network: Network) -> None:
    fc = network.node("fc")
    network.add(Node("top", fc.layer, ("fc",), fc.type, None, "", ()))
    assert "weight" in inventory(network)


def test_a_weight_without_a_name_is_its_address() -> None:
    network = build(("features.1.layer_scale", (Weight("", (3, 1, 1), initial=1e-6),)))
    assert list(inventory(network)) == ["features.1.layer_scale"]
    store = WeightStore(network)
    store.load({"features.1.layer_scale": np.ones((3, 1, 1), np.float32)})
    assert store.values["features.1.layer_scale"].all()


@pytest.mark.parametrize("suffix", [None, ".npz", ".safetensors", ".pth"])
def test_everything_fits(network: Network, arrays, tmp_path: Path, suffix: str | None) -> None:
    source = arrays
    if suffix:
        source = tmp_path / f"w{suffix}"
        write(source, arrays)
    store = WeightStore(network)
    report = store.load(source)
    assert report.fits and report.loaded == tuple(NAMES) and str(report) == "loaded 10 weights"
    for name in NAMES:
        np.testing.assert_array_equal(store.values[name], arrays[name])
    assert not list(store.without_values(NAMES))


def test_a_saved_store_loads_into_another(network: Network, arrays, tmp_path: Path) -> None:
    store = WeightStore(network)
    with pytest.raises(WeightError, match="no values"):
        store.save(tmp_path / "w.npz")
    store.load(arrays)
    store.save(tmp_path / "w.safetensors")
    other = WeightStore(network)
    other.load(tmp_path / "w.safetensors")
    for name in NAMES:
        np.testing.assert_array_equal(other.values[name], arrays[name])


def test_a_mapping_is_copied(network: Network, arrays) -> None:
    store = WeightStore(network)
    store.load(arrays)
    arrays["fc.bias"][:] = 99
    assert not (store.values["fc.bias"] == 99).any()


def test_values_cannot_be_replaced_behind_the_store(network: Network) -> None:
    with pytest.raises(TypeError):
        WeightStore(network).values["fc.bias"] = np.zeros(10)  # type: ignore[index]


# ----------------------------------------------------------------------------------------------------- what is missing


def mismatch(network: Network, arrays, except_=()) -> MismatchError:
    store = WeightStore(network)
    before = dict(store.values)
    with pytest.raises(MismatchError) as caught:
        store.load(arrays, except_=except_)
    assert caught.value.code == "E0706"
    assert dict(store.values) == before  # nothing was taken
    return caught.value


def test_missing_and_unexpected_with_the_nearest_names(network: Network, arrays) -> None:
    arrays["fc.wieght"] = arrays.pop("fc.weight")
    error = mismatch(network, arrays)
    assert error.report.missing == ("fc.weight",) and error.report.unexpected == ("fc.wieght",)
    text = str(error)
    assert "missing: `fc.weight` (the file has `fc.wieght`)" in text
    assert "unexpected: `fc.wieght` (the network has `fc.weight`)" in text
    assert "of 10 weights, 1 missing, 1 unexpected" in text
    assert "except fc" in text


def test_wrong_shapes_name_both(network: Network, arrays) -> None:
    arrays["fc.weight"] = np.zeros((8, 10), np.float32)
    arrays["fc.bias"] = np.zeros(37, np.float32)
    error = mismatch(network, arrays)
    assert error.report.wrong_shape == (("fc.weight", (8, 10), (10, 8)), ("fc.bias", (37,), (10,)))
    text = str(error)
    assert "`fc.weight` is 8x10 in the file, the network wants 10x8; is it transposed?" in text
    assert "`fc.bias` is 37 in the file, the network wants 10" in text


def test_a_foreign_prefix_is_recognized(network: Network, arrays) -> None:
    error = mismatch(network, {f"module.{name}": array for name, array in arrays.items()})
    assert error.help and "removeprefix('module.')" in error.help


def test_weights_of_another_network(network: Network) -> None:
    error = mismatch(network, {f"x{i}": np.zeros(2, np.float32) for i in range(100)})
    assert "another network" in str(error) and "and 92 more" in str(error)
    assert len(error.report.unexpected) == 100
    assert len(str(error).splitlines()) < 30


def test_an_empty_mapping(network: Network) -> None:
    assert len(mismatch(network, {}).report.missing) == 8  # all but the counter and the fixed filter


def test_the_counter_of_batches_may_be_missing(network: Network, arrays) -> None:
    del arrays["layer1.0.bn.num_batches_tracked"]
    store = WeightStore(network)
    report = store.load(arrays)
    assert report.optional == ("layer1.0.bn.num_batches_tracked",)
    assert store.values["layer1.0.bn.num_batches_tracked"] == 0


def test_running_statistics_may_not_be_missing(network: Network, arrays) -> None:
    del arrays["layer1.0.bn.running_var"]
    assert mismatch(network, arrays).report.missing == ("layer1.0.bn.running_var",)


def test_values_of_the_spec_need_no_file_and_yield_to_one(network: Network, arrays) -> None:
    store = WeightStore(network)
    assert store.values["edges.weight"].tolist() == [[[[1, 0, -1]]]]
    without = {name: array for name, array in arrays.items() if name != "edges.weight"}
    assert store.load(without).optional == ("edges.weight",)
    assert store.values["edges.weight"].tolist() == [[[[1, 0, -1]]]]
    store.load(arrays)
    np.testing.assert_array_equal(store.values["edges.weight"], arrays["edges.weight"])


def test_heads_that_run_in_training_only_may_be_missing() -> None:
    network = build(("conv", CONV), ("aux", DENSE), ("fc", DENSE), auxiliary="aux")
    arrays = {name: np.zeros(slot.weight.shape, np.float32) for name, slot in inventory(network).items()}
    store = WeightStore(network)
    assert store.load(arrays).optional == ()
    del arrays["aux.weight"], arrays["aux.bias"]
    assert WeightStore(network).load(arrays).optional == ("aux.weight", "aux.bias")


# --------------------------------------------------------------------------------------------------------------- except


@pytest.mark.parametrize("pattern", ["fc", "fc.*", ["fc.weight", "fc.bias"], "f?"])
def test_except_leaves_a_scope_as_it_is(network: Network, arrays, pattern) -> None:
    arrays["fc.weight"] = np.zeros((37, 8), np.float32)
    arrays["fc.extra"] = np.zeros(1, np.float32)
    patterns = [pattern] if isinstance(pattern, str) else [*pattern, "fc.extra"]
    store = WeightStore(network)
    report = store.load(arrays, except_=patterns)
    assert report.excepted == ("fc.weight", "fc.bias")
    assert set(report.ignored) == {"fc.weight", "fc.bias", "fc.extra"}
    assert list(store.without_values(NAMES)) == ["fc.weight", "fc.bias"]
    store.initialize(0)
    np.testing.assert_array_equal(store.values["layer1.0.conv.weight"], arrays["layer1.0.conv.weight"])
    assert store.values["fc.weight"].shape == (10, 8) and store.values["fc.weight"].any()


def test_except_works_at_any_depth(network: Network, arrays) -> None:
    assert len(WeightStore(network).load(arrays, except_="layer1.*.bn").excepted) == 5
    assert len(WeightStore(network).load(arrays, except_="layer1").excepted) == 7
    assert WeightStore(network).load(arrays, except_="*.bias").excepted == (
        "layer1.0.conv.bias", "layer1.0.bn.bias", "fc.bias",
    )  # fmt: skip


def test_except_does_not_match_a_beginning(network: Network, arrays) -> None:
    with pytest.raises(WeightError) as caught:
        WeightStore(network).load(arrays, except_="layer")
    assert caught.value.code == "E0708" and "`layer1`" in str(caught.value)


def test_one_pattern_inside_another_is_no_mistake(network: Network, arrays) -> None:
    report = WeightStore(network).load(arrays, except_=["layer1", "layer1.0.bn", "fc.bias", "fc"])
    assert len(report.excepted) == 9


# ---------------------------------------------------------------------------------------------------- kinds of numbers


def load_one(network: Network, arrays, name: str, array: np.ndarray, dtype="float32") -> np.ndarray:
    store = WeightStore(network, dtype)
    store.load({**arrays, name: array})
    return store.values[name]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4", np.longdouble])
def test_floats_of_other_widths_are_converted(network: Network, arrays, dtype) -> None:
    values = np.array([0.5, -1.25, 3, 0, 1, 2, 3, 4, 5, 1024]).astype(dtype)
    found = load_one(network, arrays, "fc.bias", values)
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_array_equal(found, values.astype(np.float64))


def test_a_float64_store_keeps_all_digits(network: Network, arrays) -> None:
    found = load_one(network, arrays, "fc.bias", np.full(10, 1 / 3), "float64")
    assert found.dtype == np.float64 and found[0] == 1 / 3


@pytest.mark.parametrize(
    "array",
    [np.zeros(10, kind) for kind in ("int64", "uint8", "bool", "complex64", "U3")] + [np.array([None] * 10)],
    ids=lambda array: str(array.dtype),
)
def test_anything_but_floats_is_refused(network: Network, arrays, array) -> None:
    with pytest.raises(WeightError) as caught:
        load_one(network, arrays, "fc.bias", array)
    assert caught.value.code == "E0705"
    assert "`fc.bias`" in str(caught.value) and str(array.dtype) in str(caught.value)


def test_ragged_lists_are_refused(network: Network, arrays) -> None:
    with pytest.raises(WeightError) as caught:
        load_one(network, arrays, "fc.bias", [[1.0], [1.0, 2.0]])  # type: ignore[arg-type]
    assert caught.value.code == "E0705"


def test_the_counter_takes_whole_numbers_of_any_kind(network: Network, arrays) -> None:
    name = "layer1.0.bn.num_batches_tracked"
    for value in (np.int32(5), np.float32(5), np.uint8(5)):
        found = load_one(network, arrays, name, np.asarray(value))
        assert found.dtype == np.int64 and found.shape == () and found == 5
    with pytest.raises(WeightError, match="fractions"):
        load_one(network, arrays, name, np.asarray(0.5))


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_that_are_not_finite_are_refused_by_name(network: Network, arrays, bad, word, dtype) -> None:
    values = np.zeros((10, 8), dtype)
    values[3, 2] = bad
    with pytest.raises(WeightError) as caught:
        load_one(network, arrays, "fc.weight", values)
    assert caught.value.code == "E0707"
    for part in ("`fc.weight`", word, "1 of 80", "(3, 2)"):
        assert part in str(caught.value)


def test_values_beyond_float32_are_refused(network: Network, arrays) -> None:
    with pytest.raises(WeightError) as caught:
        load_one(network, arrays, "fc.bias", np.full(10, 1e300))
    assert caught.value.code == "E0707" and "1e+300" in str(caught.value)


# -------------------------------------------------------------------------------------------------------------- fresh


def test_fresh_weights_depend_on_seed_and_name_only(network: Network) -> None:
    first, second, third = WeightStore(network), WeightStore(build(("fc", DENSE), ("conv", CONV))), WeightStore(network)
    first.initialize(7)
    second.initialize(7)
    third.initialize(8)
    np.testing.assert_array_equal(first.values["fc.weight"], second.values["fc.weight"])
    assert not np.array_equal(first.values["fc.weight"], third.values["fc.weight"])
    assert not np.array_equal(second.values["conv.weight"], first.values["layer1.0.conv.weight"])


def test_fresh_values_by_kind(network: Network) -> None:
    store = WeightStore(network)
    assert len(store.initialize(0)) == 9
    values = store.values
    assert (values["layer1.0.bn.weight"] == 1).all() and (values["layer1.0.bn.running_var"] == 1).all()
    assert not values["fc.bias"].any() and not values["layer1.0.bn.running_mean"].any()
    assert values["layer1.0.bn.num_batches_tracked"].dtype == np.int64
    assert values["edges.weight"].tolist() == [[[[1, 0, -1]]]]
    assert all(values[name].dtype == np.float32 for name in NAMES if "tracked" not in name)


def test_kaiming_has_the_spread_of_the_paper() -> None:
    """He et al. 2015, eq. 10: standard deviation sqrt(2 / fan_in); uniform, so the largest is sqrt(3) times that."""
    store = WeightStore(build(("conv", (Weight("weight", (256, 128, 3, 3), initial="kaiming"),))))
    store.initialize(3)
    values = store.values["conv.weight"].astype(np.float64)
    deviation = np.sqrt(2 / (128 * 3 * 3))
    assert abs(values.mean()) < 0.01 * deviation
    assert values.std() == pytest.approx(deviation, rel=0.01)
    assert np.abs(values).max() == pytest.approx(np.sqrt(3) * deviation, rel=1e-3)
    assert len(np.unique(values)) > 0.9 * values.size  # no repetition between chunks


def test_loaded_weights_stay_unless_everything_is_asked_for(network: Network, arrays) -> None:
    store = WeightStore(network)
    store.load(arrays)
    assert store.initialize(0) == ()
    np.testing.assert_array_equal(store.values["fc.weight"], arrays["fc.weight"])
    store.initialize(0, everything=True)
    assert not np.array_equal(store.values["fc.weight"], arrays["fc.weight"])


def test_a_number_as_the_initial_value_fills_the_weight() -> None:
    store = WeightStore(build(("prelu", (Weight("weight", (4,), initial=0.25),))))
    assert list(store.without_values(["prelu.weight"])) == ["prelu.weight"]
    store.initialize(0)
    assert store.values["prelu.weight"].tolist() == [0.25] * 4


def test_large_files_are_matched_before_they_are_read(network: Network, tmp_path: Path) -> None:
    """A misfit costs no reading: the damaged values of an array that does not fit are never looked at."""
    path = tmp_path / "w.npz"
    write(path, {"other": np.ones(10_000, np.float32)})
    content = bytearray(path.read_bytes())
    content[20_000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(WeightError) as caught:
        read(path)
    assert caught.value.code == "E0703"
    with pytest.raises(MismatchError):
        WeightStore(network).load(path)


def test_nearest_names_are_found_quickly_in_large_networks() -> None:
    network = build(*((f"stage{i // 100}.{i}.conv", CONV) for i in range(2000)))
    arrays = {f"block{i}.conv.weight": np.zeros(1, np.float32) for i in range(4000)}
    store = WeightStore(network)
    start = perf_counter()
    with pytest.raises(MismatchError):
        store.load(arrays)
    assert perf_counter() - start < 5
