"""Outputs of the library's networks against torchvision's, with the same weights and images, in double precision.

Double precision leaves no room for a small mistake: two correct programs agree to about 1e-14 of the logits' standard
deviation here, and a wrong eps or a pool that counts its padding is seen at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import peer
import pytest
from made_weights import image, weight
from numpy.typing import NDArray

import netdsl
from netdsl.analysis.cost import weights

STORED: dict[str, Any] = json.loads((Path(__file__).parent / "torchvision_logits.json").read_text(encoding="utf-8"))

# Name, height, width, gain of the weights: small members of each family, at sizes that show how extents are rounded.
LIVE = (
    ("alexnet", 67, 96, 1.8),
    ("convnext_tiny", 64, 96, 1.2),
    ("densenet121", 64, 75, 1.4),
    ("efficientnet_b0", 66, 81, 1.5),
    ("efficientnet_b5", 66, 81, 1.35),
    ("efficientnet_v2_s", 66, 81, 1.2),
    ("googlenet", 66, 81, 1.4),
    ("inception_v3", 96, 107, 1.4),
    ("mnasnet0_75", 66, 81, 1.2),
    ("mobilenet_v2", 66, 81, 1.4),
    ("mobilenet_v3_large", 66, 81, 1.2),
    ("mobilenet_v3_small", 66, 81, 1.35),
    ("regnet_x_800mf", 66, 81, 1.2),
    ("regnet_y_800mf", 66, 81, 1.2),
    ("resnet34", 66, 81, 1.2),
    ("resnet50", 66, 81, 1.2),
    ("resnext50_32x4d", 66, 81, 1.2),
    ("shufflenet_v2_x0_5", 66, 81, 1.2),
    ("squeezenet1_0", 81, 100, 1.4),
    ("squeezenet1_1", 81, 100, 1.4),
    ("vgg11_bn", 65, 96, 1.4),
    ("wide_resnet50_2", 66, 81, 1.2),
)


def logits(
    name: str, height: int, width: int, gain: float, state: dict[str, NDArray[Any]] | None = None, head: str = ""
) -> NDArray[Any]:
    """(2, 1000), computed here: of the network or of an auxiliary head. Weights are made where none are given."""
    network = netdsl.load(name, shape=(3, height, width))
    state = state or {key: weight(key, found.shape, gain) for key, found in weights(network.network)}
    model = network.compile("float64")
    model.load(state)
    x = image(2, height, width).astype(np.float64)
    return np.asarray(model(x, tap=head)[1][head] if head else model(x))


@pytest.mark.parametrize("name", sorted(STORED))
def test_stored_logits(name: str) -> None:
    facts = STORED[name]
    network, _, head = name.partition(".")
    found = logits(network, *facts["size"], facts["gain"], head=head)
    assert found.std() == pytest.approx(facts["std"], rel=1e-8)
    expected = np.array(facts["logits"])
    assert np.abs(expected[0] - expected[1]).max() > 0.1 * facts["std"], "the images make no difference"
    assert np.abs(found[:, : expected.shape[1]] - expected).max() < 1e-8 * facts["std"]


@pytest.mark.peer
@pytest.mark.parametrize(("name", "height", "width", "gain"), LIVE, ids=[entry[0] for entry in LIVE])
def test_same_outputs_as_torchvision(name: str, height: int, width: int, gain: float) -> None:
    try:
        peer.modules()
    except ImportError:
        pytest.skip("torch and torchvision are not installed")
    state, expected = peer.run(name, height, width, gain)
    assert np.abs(expected[0] - expected[1]).max() > 0.1 * expected.std(), "the images make no difference"
    assert np.abs(logits(name, height, width, gain, state) - expected).max() < 1e-8 * expected.std()
