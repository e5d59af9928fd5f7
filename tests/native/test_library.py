"""The numerical contract on the library: within 1e-4 of the standard deviation of the outputs, on every back-end.

Weights are those of `tests/reference/recipe.py`, whose gain keeps signals at their size, so that what is measured is our
arithmetic and not how badly conditioned a network with unlucky weights is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipe import images, weight

import netdsl
from netdsl.backends.compiled import CompiledModel
from netdsl.weights import inventory

REFERENCE = Path(__file__).parent.parent / "reference"
FACTS: dict[str, dict[str, Any]] = json.loads((REFERENCE / "references.json").read_text())
LOGITS = np.load(REFERENCE / "logits.npz", allow_pickle=False)
WITHIN = 1e-4
BACKENDS = ("native", "numpy")

FAMILIES: dict[str, tuple[int, ...] | None] = {
    "lenet5_1998": None,
    "densenet100_12_bc": None,
    "ghostnet": (3, 64, 64),
    "happy_house": None,
}
"""A member of each family that has no reference of its own: sizes that are quick."""


def made(net: Any, gain: float) -> dict[str, Any]:
    slots = inventory(net.network)
    return {key: weight(key, slot.weight.shape, gain) for key, slot in slots.items() if not slot.fixed}


def compiled(net: Any, backend: str, weights: dict[str, Any]) -> Any:
    model = net.compile(backend=backend)
    model.initialize(0)
    model.load(weights, except_=[name for name in model.weights if name not in weights])
    assert isinstance(model, CompiledModel)
    return model


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FACTS)
def test_references(name: str, backend: str) -> None:
    """Logits that PyTorch computed in double precision."""
    facts = FACTS[name]
    count, *shape = facts["input"]
    net = netdsl.load(name, shape=tuple(shape))
    found = compiled(net, backend, made(net, facts["gain"]))(images(count, *shape[1:]))
    assert np.abs(found - LOGITS[name]).max() <= WITHIN * facts["std"]
    assert found.argmax(axis=1).tolist() == facts["argmax"]


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name: str) -> None:
    net = netdsl.load(name, shape=FAMILIES[name]) if FAMILIES[name] else netdsl.load(name)
    weights = made(net, 1.0)
    exact = net.compile("float64", backend="reference")
    exact.initialize(0)
    exact.load(weights, except_=[key for key in exact.weights if key not in weights])
    numbers = np.random.default_rng(0)
    x = {key: numbers.normal(size=(3, *type_.shape)).astype(np.float32) for key, type_ in net.inputs.items()}
    expected, _ = exact.run({key: array.astype(np.float64) for key, array in x.items()})
    for backend in BACKENDS:
        found, _ = compiled(net, backend, weights).run(x)
        for output, truth in expected.items():
            assert np.abs(found[output] - truth).max() <= WITHIN * truth.std(), (backend, output)
