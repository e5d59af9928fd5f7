"""Patterns, rules and positions: names of other schemes."""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from owners import CONV, DENSE, NORM, SOBEL, build

from netdsl.ir.network import Network
from netdsl.weights import WeightError, WeightStore, inventory, read_rules
from netdsl.weights.rules import Rules, rules_of
from netdsl.weights.stored import in_memory
from netdsl.weights.template import template

# --------------------------------------------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("fc.weight", "fc.weight", {}), ("fc.weight", "fc_weight", None), ("fc", "fc.weight", None),
        ("{a}.weight", "fc.weight", {"a": "fc"}), ("{a}.weight", "x.fc.weight", None), ("{a}.weight", ".weight", None),
        ("{a:path}.weight", "x.fc.weight", {"a": "x.fc"}), ("layer{i:int}.{leaf}", "layer12.bias", {"i": "12", "leaf": "bias"}),
        ("layer{i:int}.{leaf}", "layerx.bias", None), ("{a}_{b}", "x_y_z", {"a": "x", "b": "y_z"}),
        ("{a:path}.{b:path}", "x.y.z", {"a": "x", "b": "y.z"}), ("{a:int}", "1" * 10, None),
        ("{a}", "", None), ("a{b:path}a{c}a", "aXaYaZa", {"b": "XaY", "c": "Z"}),
        ("[a]*.{x}", "[a]*.y", {"x": "y"}), ("{a:int}", "٣", None),
    ],
)  # fmt: skip
def test_matching(pattern: str, name: str, found: dict[str, str] | None) -> None:
    result = template(pattern).match(name)
    if pattern.startswith("a{b:path}"):
        assert result is not None and "a{b}a{c}a".format(**result) == name
    else:
        assert result == found


PIECES = st.lists(st.sampled_from(["a", "b", ".", "{x}", "{y:path}", "{z:int}", "7"]), min_size=1, max_size=7)


@settings(max_examples=400, deadline=None)
@given(PIECES, st.text("ab.7", max_size=9))
def test_matching_is_that_of_regular_expressions(pieces: list[str], name: str) -> None:
    """Python's `re`, with each place written out, finds a match for the same names, and the same match."""
    numbered = [re.sub(r"\{(\w)", rf"{{\g<1>{i}", piece) for i, piece in enumerate(pieces)]
    kinds = {"x": "[^.]+?", "y": ".+?", "z": "[0-9]{1,9}?"}
    expression = "".join(
        f"(?P<{piece[1:3]}>{kinds[piece[1]]})" if piece[0] == "{" else re.escape(piece) for piece in numbered
    )
    expected = re.fullmatch(expression, name)
    assert template("".join(numbered)).match(name) == (expected.groupdict() if expected else None)


def test_matching_takes_no_exponential_time() -> None:
    """The kind of pattern on which a regular expression would not come back."""
    pattern = template("".join(f"{{p{i}:path}}a" for i in range(16)) + "b")
    start = perf_counter()
    assert pattern.match("a" * 500) is None
    assert perf_counter() - start < 5


def test_counting() -> None:
    made = template("features.{stage+1}.{i-1}.{leaf}")
    assert made.fill({"stage": "9", "i": "1", "leaf": "bias"}) == "features.10.0.bias"
    with pytest.raises(ValueError, match="below zero"):
        made.fill({"stage": "9", "i": "0", "leaf": "bias"})


@pytest.mark.parametrize("pattern", ["{", "}", "{}", "{1}", "{a:word}", "{a b}", "{a:int", "{a}}", "{{a}}", "{a}" * 17])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(ValueError):
        template(pattern)


# ---------------------------------------------------------------------------------------------------------------- rules


def stored(**shapes: tuple[int, ...]) -> dict[str, Any]:
    return {
        name.replace("__", "."): in_memory(name, np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape))
        for name, shape in shapes.items()
    }


def rename(source: str, to: str, **more: Any) -> dict[str, Any]:
    return {"rename": [{"from": source, "to": to, **more}]}


def test_the_first_rule_counts_and_others_keep_their_names() -> None:
    rules = rules_of({"rename": [{"from": "a.{x}", "to": "first.{x}"}, {"from": "{y:path}", "to": "second.{y}"}],
                      "drop": [{"name": "{any:path}.mask"}]})  # fmt: skip
    found = rules.apply(stored(a__weight=(1,), b__weight=(1,), c__mask=(1,)), "file")
    assert list(found.arrays) == ["first.weight", "second.b.weight"]
    assert found.origin == {"first.weight": "a.weight", "second.b.weight": "b.weight"} and not found.unused
    found = rules_of(rename("z", "y")).apply(stored(a=(1,)), "file")
    assert list(found.arrays) == ["a"] and found.unused == ("z",)


def test_axes_and_shapes() -> None:
    """A filter of TensorFlow is (height, width, in, out); a vector of timm is a map of one pixel here."""
    arrays = stored(kernel=(3, 5, 2, 4), gamma=(6,))
    turned = rules_of(rename("kernel", "weight", axes=[3, 2, 0, 1])).apply(arrays, "file").arrays["weight"]
    assert turned.shape == (4, 2, 3, 5)
    np.testing.assert_array_equal(turned.read(), arrays["kernel"].read().transpose(3, 2, 0, 1))
    map_ = rules_of(rename("gamma", "scale", reshape=[-1, 1, 1])).apply(arrays, "file").arrays["scale"]
    assert map_.shape == (6, 1, 1) and map_.read().ravel().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (rename("{i:int}", "{i-1}"), "below zero"), (rename("{x:path}", "same"), "both be called `same`"),
        (rename("a", "b", axes=[1, 0]), "1 axes"), (rename("a", "b", reshape=[2, -1]), "cannot take the shape"),
        (rename("a", "b", reshape=[0, -1]), "cannot take the shape"), (rename("a", "b", reshape=[2, 2]), "cannot take"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_applied(content: dict[str, Any], word: str) -> None:
    with pytest.raises(WeightError) as caught:
        rules_of(content).apply({**stored(a=(3,), b=(3,)), "0": stored(x=(1,))["x"]}, "w.pth")
    assert caught.value.code == "E0732" and word in str(caught.value) and "w.pth" in str(caught.value)


def test_an_endless_name_is_refused() -> None:
    with pytest.raises(WeightError) as caught:
        rules_of(rename("{x}", "{x}")).apply({"a" * 501: stored(a=(1,))["a"]}, "w.pth")
    assert caught.value.code == "E0732"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rename]", ("TOML",)), ("[" * 100_000, ("TOML",)), ("rename = 3", ("rename",)), ("[[rename]]\nfrom='a'", ("rename.1.to", "required")),
        ("[[rename]]\nfrom='a'\nto='b'\nregex=true", ("rename.1.regex",)), ("[[renam]]\nfrom='a'\nto='b'", ("renam",)),
        ("[[rename]]\nfrom='{a}'\nto='{b}'", ("`{b}`",)), ("[[rename]]\nfrom='{a}'\nto='{a+1}'", ("{a:int}",)),
        ("[[rename]]\nfrom='{a}{a}'\nto='{a}'", ("same name",)), ("[[rename]]\nfrom='{a+1}'\nto='x'", ("cannot count",)),
        ("[[rename]]\nfrom='{a:int}'\nto='{a:int}'", ("kinds",)), ("[[rename]]\nfrom='{'\nto='b'", ("place",)),
        ("[[rename]]\nfrom='a'\nto='b'\naxes=[0, 0]", ("axes", "order")), ("[[rename]]\nfrom='a'\nto='b'\nreshape=[-1, -1]", ("reshape",)),
        ("[[rename]]\nfrom='a'\nto='b'\nreshape=[-2]", ("reshape",)), ("[[drop]]\nname='{a+1}'", ("cannot count",)),
        ("[[rename]]\nfrom=''\nto='b'", ("rename.1.from",)), ("\udcff", ("TOML",)),
    ],
)  # fmt: skip
def test_files_of_rules_that_are_none(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WeightError) as caught:
        read_rules(path)
    assert caught.value.code == "E0731", caught.value
    for word in words:
        assert word in str(caught.value), caught.value


def test_a_file_of_rules_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(WeightError, match="no such file"):
            read_rules(path)
    (tmp_path / "large.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(WeightError, match="1_000_000"):
        read_rules(tmp_path / "large.toml")


# -------------------------------------------------------------------------------------------------------- into a network


@pytest.fixture
def arrays(network: Network) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=slot.weight.shape).astype(slot.weight.dtype) for name, slot in inventory(network).items()
    }


def test_rules_into_a_network(network: Network, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[[rename]]\nfrom = "module.{name:path}"\nto = "{name}"\n')
    store = WeightStore(network)
    report = store.load({f"module.{name}": array for name, array in arrays.items()}, rules=path)
    assert report.fits and len(report.loaded) == 10 and report.sources["fc.bias"] == "module.fc.bias"
    for name, array in arrays.items():
        np.testing.assert_array_equal(store.values[name], array)


def foreign(arrays: dict[str, np.ndarray], drop: str = "") -> dict[str, np.ndarray]:
    """The same arrays in the same order under names of another scheme."""
    return {
        f"net/{number:03}.{name.rpartition('.')[2]}": array
        for number, (name, array) in enumerate(arrays.items())
        if not drop or drop not in name
    }


@pytest.mark.parametrize("drop", ["edges", "tracked"])
def test_by_position(network: Network, arrays: dict[str, np.ndarray], drop: str) -> None:
    """What the spec states is never in the file; counters may be."""
    store = WeightStore(network)
    given = {name: array for name, array in arrays.items() if "edges" not in name}
    report = store.load(foreign(given, drop), by_position=True)
    assert report.fits and "edges.weight" in report.optional
    for name in given:
        if drop not in name:
            np.testing.assert_array_equal(store.values[name], arrays[name])
    assert report.sources["fc.bias"] in foreign(given)


def test_by_position_without_heads_for_training() -> None:
    network = build(("conv", CONV), ("head", DENSE), ("fc", DENSE), auxiliary="head")
    arrays = {name: np.ones(slot.weight.shape, np.float32) for name, slot in inventory(network).items()}
    store = WeightStore(network)
    assert store.load(foreign(arrays), by_position=True).optional == ()
    assert set(store.load(foreign(arrays, "head"), by_position=True).optional) == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: dict(sorted(a.items(), key=lambda item: item[1].shape)), ("number 1", "`layer1.0.conv.weight`")),
        (lambda a: {**a, "more.weight": np.zeros(2, np.float32)}, ("10 arrays", "9 weights", "`more.weight`")),
        (lambda a: dict(list(a.items())[:-1]), ("8 arrays", "9 weights", "`fc.bias`")),
        (lambda a: {name: array.T for name, array in a.items()}, ("number 1", "3x3x3x8", "8x3x3x3")),
    ],
    ids=["sorted", "more", "fewer", "transposed"],
)
def test_by_position_everything_has_to_agree(
    arrays: dict[str, np.ndarray], change: Any, words: tuple[str, ...]
) -> None:
    network = build(("layer1.0.conv", CONV), ("layer1.0.bn", NORM), ("fc", DENSE))
    given = {name: array for name, array in arrays.items() if "edges" not in name}
    store = WeightStore(network)
    before = dict(store.values)
    with pytest.raises(WeightError) as caught:
        store.load(change(foreign(given)), by_position=True)
    assert caught.value.code == "E0706" and "by position" in str(caught.value)
    for word in words:
        assert word in str(caught.value), caught.value
    assert dict(store.values) == before


def test_a_bias_does_not_become_a_mean_of_the_same_shape() -> None:
    network = build(("bn", NORM))
    names = ["bn.bias", "bn.running_mean", "bn.running_var", "bn.weight"]  # as a file sorted by name has them
    with pytest.raises(WeightError, match="not the same part"):
        WeightStore(network).load({name: np.ones(8, np.float32) for name in names}, by_position=True)


def test_by_position_with_exceptions(network: Network, arrays: dict[str, np.ndarray]) -> None:
    given = foreign({name: array for name, array in arrays.items() if "edges" not in name})
    given["net/007.weight"] = np.zeros((37, 8), np.float32)
    store = WeightStore(network)
    report = store.load(given, by_position=True, except_=["fc.weight", "net/007*"])
    assert "fc.weight" in report.excepted and "fc.bias" in report.loaded
    with pytest.raises(WeightError) as caught:
        store.load(given, by_position=True, except_="fc.wieght")
    assert caught.value.code == "E0708"


def test_a_file_with_as_many_weights_suggests_positions() -> None:
    network = build(("conv", CONV), ("edges", SOBEL))
    with pytest.raises(WeightError) as caught:
        WeightStore(network).load({"a": np.zeros((8, 3, 3, 3), np.float32), "b": np.zeros(8, np.float32)})
    assert "by_position=True" in str(caught.value)


def test_the_nearest_name_is_one_of_the_same_shape() -> None:
    network = build(("block.conv1", CONV), ("fc", DENSE))
    arrays = {name: np.zeros(slot.weight.shape, np.float32) for name, slot in inventory(network).items()}
    arrays["fc1.weight"], arrays["classifier.weight"] = np.zeros((5, 5), np.float32), arrays.pop("fc.weight")
    with pytest.raises(WeightError) as caught:
        WeightStore(network).load(arrays)
    assert "missing: `fc.weight` (the file has `classifier.weight`)" in str(caught.value)


def test_rules_from_python() -> None:
    rules = Rules.model_validate(rename("a", "b"))
    assert list(rules.apply(stored(a=(2,)), "file").arrays) == ["b"]
