"""Training Programs against the reference engine: random networks, any part of them frozen, several outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import inputs_of, networks, values_of

from netdsl.analysis.training import default_trainable
from netdsl.ir.network import Network
from netdsl.train.errors import TrainError
from netdsl.train.fast import build_engine
from netdsl.train.losses import MeanSquaredError
from netdsl.train.reference import ReferenceEngine
from netdsl.weights.store import WeightStore

many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def store_of(network: Network, dtype: Any = "float32") -> WeightStore:
    store = WeightStore(network, dtype)
    store.load({name: array.astype(store.values[name].dtype if name in store.values else dtype)
                for name, array in values_of(network).items()})  # fmt: skip
    return store


def away(found: np.ndarray, expected: np.ndarray, least: float = 1e-3) -> float:
    """How far numbers are from others, in parts of the largest."""
    size = max(least, float(np.abs(expected).max(initial=0)))
    return float(np.abs(found - expected).max(initial=0)) / size


def around(inputs: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The inputs, and others that differ in the last bit: what single precision makes of one is partly luck (a batch
    norm over two numbers has a gradient that nearly cancels), what it makes of several says what it can do."""
    yield inputs
    random = np.random.default_rng(0)
    for _ in range(3):
        yield {
            name: array * (1 + 1e-7 * random.choice([-1, 1], array.shape).astype(np.float32))
            for name, array in inputs.items()
        }


@pytest.mark.parametrize("backend", ["numpy", "native"])
@many
@given(network=networks(most=14), batch=st.integers(2, 4), data=st.data())
def test_gradients_are_those_of_the_reference(backend: str, network: Network, batch: int, data: st.DataObject) -> None:
    try:
        names = sorted(default_trainable(network))
        trainable = frozenset(name for name in names if data.draw(st.integers(0, 3)))
        weights = {name: data.draw(st.sampled_from([1.0, 0.5, 0.0])) for name in network.outputs}
        exact = ReferenceEngine(network, store_of(network, "float64"), trainable, MeanSquaredError(), weights)
        plain = ReferenceEngine(network, store_of(network), trainable, MeanSquaredError(), weights)
        fast = build_engine(
            network, store_of(network), trainable, MeanSquaredError(), weights, backend=backend, threads=2
        )
    except TrainError:
        assume(False)
    for number in range(2):  # the second step finds the arena as the first left it
        inputs = inputs_of(network, batch, number)
        random = np.random.default_rng(number)
        targets = {
            name: random.normal(size=(batch, *network.type_of(node).shape)).astype(np.float32)
            for name, node in network.outputs.items()
        }
        expected = exact.step(inputs, targets, 3, number)
        found = fast.step(inputs, targets, 3, number)
        assume(np.isfinite(expected.loss) and abs(expected.loss) < 1e6)
        # Some gradients are nothing, as that of a bias in front of a batch norm: what is left of them is rounding.
        least = max(1e-3, 0.01 * float(np.abs(exact.gradients.flat).max()))
        rough: dict[str, float] = {}
        for nearby in around(inputs):
            moved = plain.step(nearby, targets, 3, number)
            for name, array in expected.outputs.items():
                rough[name] = max(rough.get(name, 0), away(moved.outputs[name], array))
            for name in exact.gradients:
                rough[name] = max(rough.get(name, 0), away(plain.gradients[name], exact.gradients[name], least))
        assert found.loss == pytest.approx(expected.loss, rel=1e-3, abs=1e-4)
        assert list(found.outputs) == list(expected.outputs)
        for name, array in expected.outputs.items():
            assert away(found.outputs[name], array) <= 1e-3 + 20 * rough[name], name
        for name in exact.gradients:
            error = away(fast.gradients[name], exact.gradients[name], least)
            allowed = 2e-3 + 20 * rough[name]
            assert error <= allowed, f"{name}: {error}, the reference in single precision {rough[name]}"
        owners = Counter(node.address for node in network.nodes())
        for name in (name for name in exact.buffers if owners[name.rpartition(".")[0]] == 1):
            assert away(fast.buffers[name], exact.buffers[name]) <= 1e-3, name
