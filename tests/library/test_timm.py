"""Specs whose names are timm's: weights with the same names and shapes, and the same outputs.

`timm_states.json.gz` holds name and shape of every weight and buffer of timm 1.0.31's networks. `timm_logits.json`
holds the first 100 logits, in float64, of some of them, with the weights and the input that `made_weights.py` makes;
the standard deviation is over all 1000 logits. `make_timm.py` makes both files.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_weights import image, weight

import netdsl

HERE = Path(__file__).parent

# Name in timm, name here, and the parameters that make the two equal.
PAIRS: list[tuple[str, str, dict[str, Any]]] = [
    *[(f"tf_efficientnet_b{i}", f"tf_efficientnet_b{i}", {}) for i in range(8)],
    *[(f"tf_efficientnet_lite{i}", f"efficientnet_lite{i}", {}) for i in range(5)],
    ("mobilenetv1_100", "mobilenet_v1", {}),
    ("legacy_seresnet50", "seresnet50", {}),
    ("legacy_seresnet101", "seresnet101", {}),
    ("legacy_seresnet152", "seresnet152", {}),
    ("legacy_xception", "xception", {}),
    ("darknet53", "darknet53", {"slope": 0.01}),
    ("ghostnet_100", "ghostnet", {}),
    ("repvgg_a0", "repvgg_a0", {}),
    ("inception_v4", "inception_v4", {}),
    ("semnasnet_100", "mnasnet_a1", {}),
]
BY_NAME = {timm: (name, parameters) for timm, name, parameters in PAIRS}


@cache
def states() -> dict[str, list[tuple[str, list[int]]]]:
    with gzip.open(HERE / "timm_states.json.gz", "rt", encoding="utf-8") as file:
        found: dict[str, list[tuple[str, list[int]]]] = json.load(file)
    return found


@cache
def logits() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "timm_logits.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("timm", "name"), [pair[:2] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_names_and_shapes(timm: str, name: str) -> None:
    weights = {weight["name"]: weight["shape"] for weight in netdsl.load(name).summary().json()["weights"]}
    assert weights == dict(states()[timm])


WITH_LOGITS = (
    "tf_efficientnet_b0", "tf_efficientnet_b1", "tf_efficientnet_lite0", "mobilenetv1_100", "legacy_seresnet50",
    "legacy_xception", "darknet53", "ghostnet_100", "repvgg_a0", "inception_v4", "semnasnet_100",
)  # fmt: skip


@pytest.mark.parametrize("timm", WITH_LOGITS)
def test_outputs(timm: str) -> None:
    """Within 1e-4 of the standard deviation of the logits, in float64."""
    expected = logits()[timm]
    name, parameters = BY_NAME[timm]
    size = expected["size"]
    model = netdsl.load(name, shape=(3, size, size), **parameters).compile("float64")
    model.load({key: weight(key, tuple(shape), expected["gain"]) for key, shape in states()[timm]})
    found = np.asarray(model(image(1, size, size)))[0, :100]
    assert np.abs(found - expected["logits"]).max() < 1e-4 * expected["std"]


def test_tensorflow_pads_at_the_bottom_and_right() -> None:
    """Padded on both sides the same weights give other logits, so the test above would see it."""
    expected = logits()["tf_efficientnet_b0"]
    model = netdsl.load("efficientnet_b0", shape=(3, 96, 96)).compile("float64")
    values = [weight(key, tuple(shape), expected["gain"]) for key, shape in states()["tf_efficientnet_b0"]]
    # The same weights in the same order under torchvision's names.
    names = [weight["name"] for weight in netdsl.load("efficientnet_b0").summary().json()["weights"]]
    model.load(dict(zip(names, values, strict=True)))
    found = np.asarray(model(image(1, 96, 96)))[0, :100]
    assert np.abs(found - expected["logits"]).max() > 1e-2 * expected["std"]
