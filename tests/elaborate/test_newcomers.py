"""What people write who come from elsewhere, and what they are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netdsl
from netdsl.elaborate import Limits


def complaint(text: str) -> str:
    with pytest.raises(netdsl.NetdslError) as error:
        netdsl.loads(f"network n {{\n  input image: 3x8x8\n  {text}\n}}")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("swish", "`silu`"), ("linear(10)", "`dense`"), ("gap", "`global_avg_pool`"), ("conv2d(8, 3)", "`conv`"), ("lrn", "`local_response_norm`"),
        ("conv(8 / 2, 1x1)", "`//` divides whole numbers"), ("let y = x + x", "`add(a, b)`"), ("let y = x * 2", "E0207"), ("let n = len(x)", "E0207"),
        ("let n = x[0]", "only a list can be indexed"), ("let y = relu\n  add(x, y)", "a layer or block and not a tensor"),
        ("let a = sum([[1], [2]], 3)", "E0207"), ("let a = sum([1], [2], 3)", "takes 1 to 2 values, found 3"), ("let a = max()", "at least 1 value"),
        ("let a = range(stop = 3)", "no parameter `stop`"), ("conv(8, 3x3, weight = none, stride = image)", "E0204"),
    ],
)  # fmt: skip
def test_hints(text: str, words: str) -> None:
    assert words in complaint(text)


def test_lists_of_lists_are_joined() -> None:
    text = "network n { input 3x8x8\n for w in sum([[4, 5], [6]]) { conv(w, 1x1) }\n expect x.channels == 6 }"
    assert len(netdsl.loads(text).graph) == 4


def test_difference_of_two_lanes() -> None:
    net = netdsl.loads("network n { input 3x8x8 -> subtract { | relu | } }")
    assert net.node("1").inputs == ("0", "input")


def test_shares_within_shares() -> None:
    text = """
    block unit(w) { conv(w, 1x1) -> relu }
    network n { input image: 3x8x8 -> one: unit(3)
      share one.0
      share one
      share one.0 }"""
    net = netdsl.loads(text)
    assert net.parameters == 12
    assert [node.name for node in net.network.nodes() if node.layer.kind == "conv"] == [
        "one.0",
        "one.0@1",
        "one.0@2",
        "one.0@3",
    ]
    twice = "network n { input 3x8x8 -> one: { inner: conv(3, 1x1) -> share inner }\n two: share one }"
    assert netdsl.loads(twice).parameters == 12


def test_numbers_of_numpy_are_numbers() -> None:
    assert netdsl.load("lenet5", classes=np.int64(5)).outputs["fc3"].shape == (5,)
    assert netdsl.load("resnet50", layers=np.array([1, 1, 1, 1])).parameters < 25_557_032
    with pytest.raises(TypeError, match="layers"):
        netdsl.load("resnet50", layers={1: 2})


def test_names_that_are_not_there() -> None:
    net = netdsl.load("lenet5")
    for ask in (net.node, net.explain):
        with pytest.raises(KeyError) as error:
            ask("conv_1")
        assert "did you mean `conv1`" in str(error.value)


@pytest.mark.parametrize("spec", ["", "@", "lenet.net@"])
def test_names_of_nothing(spec: str) -> None:
    with pytest.raises(netdsl.NetdslError, match="E0604"):
        netdsl.load(spec)


def test_a_file_may_have_an_at_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a@b.net"
    path.write_text("network c { input 3 -> relu }")
    assert netdsl.load(path).name == "c"


@pytest.mark.parametrize("shape", ["x", "3x6.5x3", "3x-1x3", "3,224,224", "", 0, (3, "a")])
def test_shapes_that_are_none(shape: object) -> None:
    with pytest.raises(netdsl.SpecError, match="is not a shape"):
        netdsl.load("lenet5", shape=shape)


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match="nodes"):
        Limits(nodes=-1)


def test_a_share_with_a_label_can_be_shared_again() -> None:
    text = "network n { input 3x8x8 -> a: conv(3, 1x1) -> b: share a -> share b -> c: from a }"
    net = netdsl.loads(text)
    assert net.parameters == 12
    assert [node.name for node in net.network.nodes()] == ["input", "a", "a@1", "a@2"]
    with pytest.raises(netdsl.SpecError, match="E0208"):
        netdsl.loads("network n { input 3x8x8 -> a: conv(3, 1x1) -> c: from a\n share c }")


@pytest.mark.parametrize(
    "text",
    [
        "network n(a = 3, a = 4) { input 3 -> relu }",
        "block b(a, a) { relu }\nnetwork n { input 3 -> relu }",
        "fn f(a, a) = a\nnetwork n { input 3 -> relu }",
    ],
)
def test_parameters_have_different_names(text: str) -> None:
    with pytest.raises(netdsl.SpecError, match=r"E0205.*two parameters called `a`"):
        netdsl.loads(text)
