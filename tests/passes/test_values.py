"""Weights that passes make are computed when they are asked for."""

from __future__ import annotations

import numpy as np
from random_networks import values_of

import netdsl
from netdsl.passes import bind, run
from netdsl.passes.values import Recipe, Values, Weights, forget
from netdsl.weights.inventory import full_name, weights_of


def counted(calls: list[str]) -> Values:
    stored = np.arange(6, dtype=np.float32)

    def make() -> np.ndarray:
        calls.append("made")
        return stored.reshape(2, 3) * 2

    return Values({"plain": stored, "made": Recipe((2, 3), (stored,), make)})


def test_a_recipe_is_followed_each_time_and_its_shape_is_known_before() -> None:
    calls: list[str] = []
    values = counted(calls)
    assert values.shape("made") == (2, 3) and values.shape("plain") == (6,)
    assert list(values) == ["plain", "made"] and len(values) == 2 and "made" in values
    assert not calls
    np.testing.assert_array_equal(values["made"], [[0, 2, 4], [6, 8, 10]])
    np.testing.assert_array_equal(values["made"], [[0, 2, 4], [6, 8, 10]])
    assert len(calls) == 2


def test_recipes_of_recipes() -> None:
    values = counted([])
    values = values.extended({"twice": values.derived("made", (6,), lambda array: array.reshape(6) + 1)})
    chosen = values.chosen(["twice"])
    np.testing.assert_array_equal(chosen["twice"], [1, 3, 5, 7, 9, 11])
    assert chosen.sources("twice")[0] is values["plain"]


def test_a_node_keeps_its_weights_until_they_are_forgotten() -> None:
    calls: list[str] = []
    weights = Weights(counted(calls), {"weight": "made", "bias": "plain"})
    assert dict.fromkeys(weights) == {"weight": None, "bias": None} and weights.get("scale") is None
    assert not calls
    first = weights["weight"]
    assert weights["weight"] is first and len(calls) == 1
    forget(weights)
    np.testing.assert_array_equal(weights["weight"], first)
    assert weights["weight"] is not first
    forget({"weight": first})


def test_passes_leave_large_weights_to_whoever_packs_them() -> None:
    """Folding, flipping and reading a dense layer as a convolution."""
    text = "conv(4, 3x3, flip_kernel = true) -> batch_norm\n  flatten\n  dense(5)\n  batch_norm"
    network = netdsl.loads(f"network n() {{\n  input x: 2x5x5\n  {text}\n}}").network
    stored = values_of(network)
    passed = run(bind(network, stored))
    nodes = [node for node in passed.network.nodes() if node.inputs]
    weights = [passed.weights(node)["weight"] for node in nodes if weights_of(passed.network, node)]
    assert [weight.shape for weight in weights] == [(4, 2, 3, 3), (5, 4, 3, 3)]
    large = [full_name(node.address, "weight") for node in nodes if weights_of(passed.network, node)]
    for name, weight in zip(large, weights, strict=True):
        again = passed.values[name]
        np.testing.assert_array_equal(again, weight)
        assert again is not weight and not np.shares_memory(again, weight)
        (source,) = passed.entries.sources(name)
        assert any(source is array for array in stored.values())
