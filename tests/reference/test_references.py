"""Networks of the library against logits that PyTorch computed in float64 with the same weights (see recipe.py)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipe import images, weight

import netdsl
from netdsl.weights import inventory

HERE = Path(__file__).parent
REFERENCES: dict[str, dict[str, Any]] = json.loads((HERE / "references.json").read_text())
LOGITS = np.load(HERE / "logits.npz", allow_pickle=False)

TOLERANCE = 1e-4
"""Largest error of a logit, in standard deviations of the logits."""


@pytest.mark.parametrize("name", REFERENCES)
def test_logits(name: str) -> None:
    reference = REFERENCES[name]
    count, *shape = reference["input"]
    net = netdsl.load(name, shape="x".join(map(str, shape)))
    model = net.compile()
    slots = inventory(net.network)
    assert len(slots) == reference["weights"]
    model.load({key: weight(key, slot.weight.shape, reference["gain"]) for key, slot in slots.items()})
    found = model(images(count, shape[1], shape[2]))
    expected = LOGITS[name]
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * reference["std"]
    assert found.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist() == reference["argmax"]


def test_the_stored_logits_are_what_they_say() -> None:
    assert set(LOGITS.files) == set(REFERENCES)
    for name, reference in REFERENCES.items():
        assert LOGITS[name].dtype == np.float64
        assert LOGITS[name].std(ddof=1) == pytest.approx(reference["std"], rel=1e-9)


def test_double_precision_agrees_to_many_more_digits() -> None:
    """With nothing rounded to float32 on the way, only the order of additions differs."""
    reference = REFERENCES["resnet18"]
    net = netdsl.load("resnet18", shape="3x96x96")
    model = net.compile("float64")
    model.load({key: weight(key, slot.weight.shape, 0.9) for key, slot in inventory(net.network).items()})
    found = model(images(2, 96, 96))
    assert found.dtype == np.float64
    assert np.abs(found - LOGITS["resnet18"]).max() <= 1e-12 * reference["std"]
