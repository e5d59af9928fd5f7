"""The fast engine against the reference engine: families of networks, frozen parts, shared weights, auxiliary heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import netdsl
from netdsl.analysis.training import default_trainable
from netdsl.backends.errors import RunError
from netdsl.ir.network import Network
from netdsl.train.engine import Engine
from netdsl.train.errors import TrainError
from netdsl.train.fast import build_engine
from netdsl.train.losses import CrossEntropy, MeanSquaredError
from netdsl.train.reference import ReferenceEngine
from netdsl.weights.store import WeightStore

BACKENDS = ["numpy", "native"]


def load(text: str) -> Network:
    return netdsl.loads(text).network


def store_of(network: Network, dtype: Any = "float32") -> WeightStore:
    """Fresh weights, the same in both precisions."""
    store = WeightStore(network)
    store.initialize(0)
    random = np.random.default_rng(0)
    for name, array in store.values.items():
        # Scales and shifts that are at rest would hide what is left out.
        if array.ndim == 1 and store.slots[name].weight.role == "parameter":
            array += random.normal(0, 0.1, array.shape).astype(np.float32)
    if dtype == "float32":
        return store
    exact = WeightStore(network, dtype)
    exact.load({name: array.astype(exact._dtype_of(name)) for name, array in store.values.items()})
    return exact


def pair(
    network: Network, backend: str, auxiliary: Mapping[str, float] | None = None, frozen: tuple[str, ...] = ()
) -> tuple[Engine, ReferenceEngine]:
    names = frozenset(name for name in default_trainable(network, auxiliary) if not name.startswith(frozen or "\0"))
    fast = build_engine(network, store_of(network), names, CrossEntropy(), auxiliary, backend=backend, threads=2)
    exact = ReferenceEngine(network, store_of(network, "float64"), names, CrossEntropy(), auxiliary)
    return fast, exact


def batch_of(network: Network, batch: int, number: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    random = np.random.default_rng(number)
    inputs = {
        name: random.normal(size=(batch, *(extent or 0 for extent in type_.shape))).astype(np.float32)
        for name, type_ in network.input_types().items()
    }
    return inputs, random.integers(0, 5, batch)


def assert_alike(fast: Engine, exact: ReferenceEngine, network: Network, batch: int, steps: int, within: float) -> None:
    for number in range(steps):
        inputs, labels = batch_of(network, batch, number)
        expected, found = exact.step(inputs, labels, 1, number), fast.step(inputs, labels, 1, number)
        assert found.loss == pytest.approx(expected.loss, rel=1e-4)
        for name, array in expected.outputs.items():
            np.testing.assert_allclose(found.outputs[name], array, atol=1e-3 * float(np.abs(array).max()))
        difference = np.linalg.norm(fast.gradients.flat - exact.gradients.flat)
        assert difference <= within * np.linalg.norm(exact.gradients.flat)
        for name, array in exact.buffers.items():
            np.testing.assert_allclose(fast.buffers[name], array, atol=1e-3 * max(1, float(np.abs(array).max())))


FAMILIES = [
    # Smooth activations, so that nothing flips over a corner: the arithmetic alone is compared.
    ("lenet5", None, 4, 1e-5), ("efficientnet_b0", "3x64x64", 4, 1e-2),
    # Some of the numbers in front of a relu are next to 0 and come out on its other side.
    ("resnet18", "3x32x32", 4, 2e-2), ("resnet20", None, 4, 1e-2), ("mobilenet_v2", "3x64x64", 4, 2e-2),
    ("densenet40_12", None, 2, 5e-2),
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "shape", "batch", "within"), FAMILIES, ids=[row[0] for row in FAMILIES])
def test_families(name: str, shape: str | None, batch: int, within: float, backend: str) -> None:
    network = (netdsl.load(name, shape=shape) if shape else netdsl.load(name)).network
    fast, exact = pair(network, backend)
    assert_alike(fast, exact, network, batch, 1, within)


MIXED = """
block unit(width, stride = 1) {
  add {
    | conv(width, 3x3, stride = stride, padding = 1, bias = false) -> batch_norm -> silu
      conv(width, 3x3, padding = 1, groups = 2) -> batch_norm
    | conv(width, 1x1, stride = stride) -> batch_norm
  }
  tanh
}
network mixed {
  input image: 3x12x12
  stem: conv(16, 3x3, stride = 2, padding = 1) -> batch_norm -> silu
  trunk: unit(20, stride = 2)
  pool: max_pool(2x2, stride = 1)
  dropout(0.3)
  split: concat {
    | depthwise_conv(3x3, padding = 1) -> batch_norm -> sigmoid
    | avg_pool(3x3, stride = 1, padding = 1) -> conv(7, 1x1) -> tanh
  }
  flatten
  hidden: dense(13) -> tanh
  dropout(0.5)
  fc: dense(5)
}
"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("frozen", [(), ("stem",), ("trunk",), ("stem", "trunk"), ("stem", "trunk", "split", "hidden")])
def test_frozen_parts(frozen: tuple[str, ...], backend: str) -> None:
    network = load(MIXED)
    fast, exact = pair(network, backend, frozen=frozen)
    assert_alike(fast, exact, network, 6, 2, 1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_of_other_sizes(backend: str) -> None:
    network = load(MIXED)
    fast, exact = pair(network, backend)
    for batch in (6, 3, 6, 1 + 4, 2, 7, 6):
        assert_alike(fast, exact, network, batch, 1, 1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_bits_again(backend: str) -> None:
    network = load(MIXED)
    inputs, labels = batch_of(network, 6, 0)
    found = []
    for _ in range(2):
        fast, _ = pair(network, backend)
        for number in range(3):
            fast.step(inputs, labels, 7, number)
            fast.parameters.flat[:] -= np.float32(0.1) * fast.gradients.flat
        found.append((fast.parameters.flat.copy(), {name: array.copy() for name, array in fast.buffers.items()}))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    for name, array in found[0][1].items():
        np.testing.assert_array_equal(array, found[1][1][name])


@pytest.mark.parametrize("backend", BACKENDS)
def test_evaluation_sees_what_training_made(backend: str) -> None:
    network = load(MIXED)
    fast, exact = pair(network, backend)
    inputs, labels = batch_of(network, 6, 0)
    for number in range(2):
        for engine in (fast, exact):
            engine.step(inputs, labels, 0, number)
            engine.parameters.flat[:] -= 0.1 * engine.gradients.flat
        expected, found = exact.evaluate(inputs), fast.evaluate(inputs)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_a_number_stops_being_finite(backend: str) -> None:
    network = load(MIXED)
    fast, _ = pair(network, backend)
    inputs, labels = batch_of(network, 6, 0)
    assert fast.first_non_finite(inputs, labels, 0, 0) is None
    name = next(name for name in fast.parameters if name.startswith("hidden"))
    before = fast.gradients.flat.copy()
    fast.parameters[name][...] = np.nan
    found = fast.first_non_finite(inputs, labels, 0, 0)
    assert found is not None and found.startswith("hidden")
    np.testing.assert_array_equal(fast.gradients.flat, before)


def test_errors() -> None:
    network = load(MIXED)
    names = default_trainable(network)
    with pytest.raises(RunError, match="E0716"):
        build_engine(network, store_of(network), names, CrossEntropy(), backend="nativ")
    with pytest.raises(RunError, match="E0716"):
        build_engine(network, store_of(network, "float64"), names, CrossEntropy(), backend="numpy")
    exact = build_engine(network, store_of(network, "float64"), names, CrossEntropy())
    assert isinstance(exact, ReferenceEngine)
    with pytest.raises(TrainError, match="E0954"):
        build_engine(network, store_of(network), (), CrossEntropy(), backend="numpy")
    small = load("network one { input x: 3x1x1\n batch_norm -> flatten\n dense(2) }")
    engine = build_engine(small, store_of(small), default_trainable(small), MeanSquaredError(), backend="numpy")
    with pytest.raises(TrainError, match="E0953"):
        engine.step({"x": np.zeros((1, 3, 1, 1), np.float32)}, np.zeros((1, 2), np.float32), 0, 0)


TIED = """
network tied {
  input left: 2x9x8
  input right: 2x9x8
  from left
  tower: { conv: conv(6, 3x3, padding = 1) -> bn: batch_norm -> relu
           down: depthwise_conv(3x3, stride = 2, padding = 1) -> tanh }
  from right -> again: share tower
  join: concat { | from tower
                 | from again }
  mix: conv(7, 1x1) -> relu
  auxiliary early: from tower -> global_avg_pool -> flatten -> dense(5)
  auxiliary unused: from again -> global_avg_pool -> flatten -> dense(4)
  global_avg_pool -> flatten
  fc: dense(5)
}
"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("frozen", [(), ("tower.conv",), ("fc", "mix")])
def test_shared_weights_and_a_head_for_training_alone(frozen: tuple[str, ...], backend: str) -> None:
    """Two runs of the tower add to one gradient; a head that has a weight takes part, the other does not run."""
    network = load(TIED)
    fast, exact = pair(network, backend, {"early": 0.3}, frozen)
    assert_alike(fast, exact, network, 5, 2, 1e-4)
    assert not any(name.startswith("unused") for name in fast.gradients)
    without, _ = pair(network, backend, None, frozen)
    inputs, labels = batch_of(network, 5, 0)
    assert set(without.step(inputs, labels, 0, 0).outputs) == set(network.outputs)
