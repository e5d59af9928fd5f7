"""Gradients of networks of the library against torchvision's, in double precision: every parameter, one step.

Dropout and stochastic depth are switched off on both sides. Heads are on where the peer has them.
"""

from __future__ import annotations

import numpy as np
import peer
import pytest

import netdsl
from netdsl.analysis.training import default_trainable
from netdsl.ir.layer import Trained
from netdsl.layers.regularisation import Regularisation
from netdsl.train.losses import CrossEntropy
from netdsl.train.reference import ReferenceEngine
from netdsl.weights.store import WeightStore

pytestmark = pytest.mark.peer

try:
    torch, _ = peer.modules()
except ImportError:
    pytest.skip("needs torchvision", allow_module_level=True)

# Name, extents of the images, weights of the losses of the heads in the order that torchvision gives their outputs.
NETWORKS = [
    ("squeezenet1_1", 64, {}),
    ("resnet18", 64, {}),
    ("mobilenet_v2", 64, {}),
    ("mobilenet_v3_small", 64, {}),
    ("efficientnet_b0", 64, {}),
    ("shufflenet_v2_x0_5", 64, {}),
    ("googlenet", 64, {"aux2": 0.3, "aux1": 0.2}),
]


@pytest.mark.parametrize(("name", "extent", "heads"), NETWORKS, ids=[row[0] for row in NETWORKS])
def test_gradients_of_the_library(name, extent, heads, monkeypatch):
    monkeypatch.setattr(Regularisation, "train", lambda self, xp, inputs, weights, draw: Trained(inputs[0]))
    net = netdsl.load(name, shape=(3, extent, extent)).network
    rng = np.random.default_rng(0)
    store = WeightStore(net, "float64")
    store.initialize(0)
    engine = ReferenceEngine(net, store, default_trainable(net, heads), CrossEntropy(), heads)
    theirs = peer.build(name).double().train()
    for module in theirs.modules():
        if type(module).__name__ in ("Dropout", "StochasticDepth"):
            module.eval()
    theirs.load_state_dict({key: torch.tensor(store.values[key]) for key in theirs.state_dict()})
    images, labels = rng.standard_normal((3, 3, extent, extent)), rng.integers(0, 1000, 3)
    step = engine.step({net.inputs[0]: images}, labels, 0, 0)
    outputs = theirs(torch.tensor(images))
    weights = [1.0, *heads.values()]
    losses = [torch.nn.functional.cross_entropy(y, torch.tensor(labels)) for y in (outputs if heads else [outputs])]
    loss = sum(weight * value for weight, value in zip(weights, losses, strict=True))
    loss.backward()
    assert step.loss == pytest.approx(loss.item(), rel=1e-10)
    found = {key: value.grad.numpy() for key, value in theirs.named_parameters()}
    assert set(found) == set(engine.gradients)
    largest = max(float(np.abs(gradient).max()) for gradient in found.values())
    for key, gradient in found.items():
        np.testing.assert_allclose(engine.gradients[key], gradient, rtol=1e-5, atol=1e-8 * largest, err_msg=key)
    for key, buffer in theirs.named_buffers():
        np.testing.assert_allclose(store.values[key], buffer.numpy(), rtol=1e-9, atol=1e-12, err_msg=key)
