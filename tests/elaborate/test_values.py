"""Blocks and layers as values, with arguments bound."""

from __future__ import annotations

import pytest

import netdsl
from netdsl.ir import Layer


def layer(text: str, name: str = "0", **parameters: object) -> Layer:
    return netdsl.loads(text, **parameters).node(name).layer


SPEC = "network n(act = leaky_relu(0.1)) { input 3x8x8\n %s }"


def test_a_bound_layer_runs_with_its_arguments() -> None:
    assert layer(SPEC % "act") == layer("network n { input 3x8x8 -> leaky_relu(slope = 0.1) }")


def test_a_call_goes_over_what_was_bound() -> None:
    assert layer(SPEC % "act(slope = 0.3)").slope == 0.3  # type: ignore[attr-defined]


def test_arguments_by_position_go_on_behind_those_that_were_bound() -> None:
    text = "network n(convolve = conv(8)) { input 3x8x8\n convolve(3x3, padding = 1) }"
    assert layer(text) == layer("network n { input 3x8x8 -> conv(8, 3x3, padding = 1) }")


def test_bound_blocks() -> None:
    text = """
    block unit(width, kernel, act = relu) { conv(width, kernel) -> act }
    network n(make = unit(4, act = tanh)) { input 3x8x8\n make(5x5)\n make(kernel = 1, width = 2) }"""
    net = netdsl.loads(text)
    assert [node.type.shape for node in net.network.nodes()] == [(3, 8, 8), (4, 4, 4), (4, 4, 4), (2, 4, 4), (2, 4, 4)]
    assert net.node("1.1").layer.kind == "tanh"


def test_inputs_by_position_and_bound_attributes() -> None:
    net = netdsl.loads(SPEC % "stem: relu -> conv(2, 1x1) -> out: act(stem)")
    assert net.node("out").inputs == ("stem",)
    assert net.node("out").layer.slope == 0.1  # type: ignore[attr-defined]


def test_a_layer_from_outside() -> None:
    text = "network n(act = relu) { input 3x8x8\n if act != none { act } }"
    assert len(netdsl.loads(text, act=None).graph) == 1
    assert len(netdsl.loads(text).graph) == 2


@pytest.mark.parametrize(
    ("call", "code"),
    [("act(0.2, 0.3)", "E0206"), ("act(slope = 0.1, slope = 0.2)", "E0206"), ("act(slop = 1)", "E0202")],
)
def test_wrong_calls_of_bound_layers(call: str, code: str) -> None:
    with pytest.raises(netdsl.SpecError, match=code):
        netdsl.loads(SPEC % call)


def test_an_option_may_have_the_name_of_a_layer_or_a_block() -> None:
    assert layer("network n { input 3 -> gelu(approximate = tanh) }").approximate == "tanh"  # type: ignore[attr-defined]
    text = "block imagenet { relu }\nnetwork n { input 3x8x8\n preprocess normalize(imagenet)\n imagenet }"
    assert netdsl.loads(text).network.preprocess[0].statistics == "imagenet"


def test_an_option_word_stands_for_itself_where_an_attribute_takes_it() -> None:
    text = "network n { input 4x8x8\n let channels = 2\n dense(channels, axis = channels) }"
    assert layer(text).units == 2  # type: ignore[attr-defined]
    assert netdsl.loads(text).outputs["0"].shape == (2, 8, 8)
