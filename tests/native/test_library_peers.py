"""All classification networks of torchvision on native code and in NumPy, against torchvision in double precision.

Weights are made so that the images matter and rounding stays small (`made_weights.py`): what is measured is our arithmetic.
"""

from __future__ import annotations

import gc
import gzip
import json
from pathlib import Path

import numpy as np
import peer
import pytest
from made_weights import image

import netdsl

LIBRARY = Path(__file__).parent.parent / "library"
NAMES = sorted(json.loads(gzip.decompress((LIBRARY / "torchvision_states.json.gz").read_bytes()))["networks"])
GAINS = {
    "alexnet": 1.8, "convnext": 1.2, "densenet": 1.4, "efficientnet_b0": 1.4, "efficientnet_b1": 1.4,
    "efficientnet_b7": 1.3, "efficientnet_b": 1.35, "efficientnet_v2_l": 1.0, "efficientnet_v2_m": 1.05, "efficientnet_v2": 1.12,
    "googlenet": 1.4, "inception_v3": 1.4, "mnasnet": 1.2, "mobilenet_v2": 1.4, "mobilenet_v3_small": 1.4, "mobilenet_v3": 1.2,
    "regnet": 1.2, "resnet": 1.2, "resnext": 1.2, "shufflenet": 1.3, "squeezenet": 1.4, "vgg": 1.4, "wide_resnet": 1.2,
}  # fmt: skip
"""By how the name begins: the gain of the weights."""
SIZES = {"inception_v3": (96, 107), "squeezenet": (81, 100), "alexnet": (67, 96)}
WITHIN = 1e-4
"""Of the standard deviation of the logits: the numerical contract."""


def of(name: str, table: dict[str, object], otherwise: object) -> object:
    return next((value for start, value in table.items() if name.startswith(start)), otherwise)


@pytest.mark.peer
@pytest.mark.parametrize("name", NAMES)
def test_same_logits_as_torchvision(name: str) -> None:
    try:
        peer.modules()
    except ImportError:
        pytest.skip("torch and torchvision are not installed")
    height, width = of(name, SIZES, (66, 81))  # type: ignore[misc]
    state, expected = peer.run(name, height, width, of(name, GAINS, None))  # type: ignore[arg-type]
    gc.collect()
    assert np.abs(expected[0] - expected[1]).max() > 0.05 * expected.std(), "the images make no difference"
    x = image(2, height, width)
    for backend in ("native", "numpy"):
        model = netdsl.load(name, shape=(3, height, width)).compile(backend=backend)
        model.load(state)
        error = np.abs(model(x) - expected).max() / expected.std()
        print(f"{name} {backend} {error:.1e} difference {np.abs(expected[0] - expected[1]).max() / expected.std():.2f}")
        assert error <= WITHIN
        del model
        gc.collect()
