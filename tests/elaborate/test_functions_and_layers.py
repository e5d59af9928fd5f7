"""`abs` and `sqrt` are functions in an expression and layers where a layer stands."""

from __future__ import annotations

import pytest

import netdsl


@pytest.mark.parametrize(("name", "call", "channels"), [("abs", "abs(-4)", 4), ("sqrt", "int(sqrt(16))", 4)])
def test_function_and_layer(name: str, call: str, channels: int) -> None:
    net = netdsl.loads(
        f"block unit(width, act = relu) {{ conv(width, 1x1) -> act }}\n"
        f"network n {{ input 3x8x8\n conv({call}, 1x1) -> {name}\n unit({call}, act = {name})\n last: {name}(x) }}"
    )
    kinds = [node.layer.kind for node in net.network.nodes()]
    assert kinds == ["input", "conv", name, "conv", name, name]
    assert net.outputs["last"].shape == (channels, 8, 8)


def test_words_of_reduce_are_not_the_functions() -> None:
    text = "network n { input 3x8x8\n concat { | reduce(max) | reduce(sum) | reduce(mean) | reduce(min) } }"
    assert netdsl.loads(text).outputs["4"].shape == (4, 8, 8)


def test_a_function_that_is_no_layer_cannot_be_run() -> None:
    with pytest.raises(netdsl.SpecError, match="not a layer or a block"):
        netdsl.loads("network n(act = ceil) { input 3x8x8 -> act }")
    with pytest.raises(netdsl.SpecError, match="`sqrt` takes 1 value, found 0"):
        netdsl.loads("network n { input 3x8x8\n let a = sqrt() }")


def test_what_a_quotient_of_tensors_is_called() -> None:
    with pytest.raises(netdsl.SpecError, match="divide"):
        netdsl.loads("network n { input 3x8x8\n let y = x / x }")
