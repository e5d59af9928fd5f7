"""Small networks, and the same training of them on a played device and on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import netdsl
from netdsl.analysis.training import default_trainable
from netdsl.backends.cupy.backend import CupyBackend
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.data.augment import Pipeline
from netdsl.ir.network import Network
from netdsl.train import recipe_parts as parts
from netdsl.train.device import DeviceEngine
from netdsl.train.fast import FastEngine
from netdsl.train.losses import CrossEntropy, Loss
from netdsl.train.phases import PhaseRun
from netdsl.train.recipe import Phase
from netdsl.train.reference import ReferenceEngine
from netdsl.weights.store import WeightStore

RESNET = """
block unit(width, stride = 1) {
  add {
    | conv(width, 3x3, stride = stride, padding = 1, bias = false) -> batch_norm -> relu
      conv(width, 3x3, padding = 1, bias = false) -> batch_norm
    | conv(width, 1x1, stride = stride, bias = false) -> batch_norm
  }
  relu
}
network small {
  input image: 3x14x14
  conv(8, 3x3, stride = 2, padding = 1, bias = false) -> batch_norm -> relu -> max_pool(3x3, stride = 2, padding = 1)
  unit(8)
  unit(16, stride = 2)
  global_avg_pool -> flatten -> dense(5)
}
"""
MOBILENET = """
network small {
  input image: 3x12x12
  conv(8, 3x3, stride = 2, padding = 1, bias = false) -> batch_norm -> relu6
  add {
    | conv(16, 1x1, bias = false) -> batch_norm -> relu6
      depthwise_conv(3x3, padding = 1, bias = false) -> batch_norm -> relu6
      conv(8, 1x1, bias = false) -> batch_norm
    | identity
  }
  conv(16, 1x1, bias = false) -> batch_norm -> relu6
  depthwise_conv(3x3, stride = 2, padding = 1, bias = false) -> batch_norm -> relu6
  avg_pool(2x2) -> flatten -> dropout(0.2) -> dense(5)
}
"""
EFFICIENT = """
network small {
  input image: 3x12x12
  conv(8, 3x3, stride = 2, padding = 1, bias = false) -> batch_norm -> silu
  add {
    | conv(16, 1x1, bias = false) -> batch_norm -> silu
      depthwise_conv(5x5, padding = 2, bias = false) -> batch_norm -> silu
      multiply { | identity | global_avg_pool -> conv(4, 1x1) -> silu -> conv(16, 1x1) -> sigmoid }
      conv(8, 1x1, bias = false) -> batch_norm -> stochastic_depth(0.3)
    | identity
  }
  conv(16, 1x1) -> tanh
  global_avg_pool -> flatten -> dense(5)
}
"""
MIXED = """
network small {
  input image: 4x9x9
  split: concat {
    | conv(8, 3x3, groups = 2, dilation = 2, padding = 2) -> gelu
    | max_pool(3x3, stride = 1, padding = 1) -> conv(6, (3, 1), padding = (1, 0)) -> leaky_relu(0.1)
    | avg_pool(3x3, stride = 1, padding = 1)
  }
  depthwise_conv(2x2, multiplier = 2, stride = 2) -> tanh
  channel_shuffle(4) -> layer_norm -> flatten -> dense(7) -> prelu -> dense(5)
}
"""
NETWORKS = {"resnet": RESNET, "mobilenet": MOBILENET, "efficientnet": EFFICIENT, "mixed": MIXED}
SMALL = "network n {\n input x: 3x6x6\n conv(4, 3x3, bias = false) -> batch_norm -> tanh -> flatten -> dense(5)\n}"


def load(text: str) -> Network:
    return netdsl.loads(text).network


def store_of(network: Network, dtype: Any = "float32") -> WeightStore:
    """Weights that are not at rest, the same in both precisions."""
    store = WeightStore(network)
    store.initialize(0)
    random = np.random.default_rng(0)
    for name, array in store.values.items():
        if array.ndim == 1 and store.slots[name].weight.role == "parameter":
            array += random.normal(0, 0.1, array.shape).astype(np.float32)
    if dtype == "float32":
        return store
    exact = WeightStore(network, dtype)
    exact.load({name: array.astype(exact._dtype_of(name)) for name, array in store.values.items()})
    return exact


def engine_of(
    network: Network, device: FakeDevice, precision: str = "float32", loss: Loss | None = None, **more: Any
) -> DeviceEngine:
    backend = CupyBackend(precision=PRECISIONS[precision], played=device)
    names = more.pop("names", None) or default_trainable(network, None)
    return DeviceEngine(network, store_of(network), names, loss or CrossEntropy(), None, engine=backend, **more)


def exact_of(network: Network, loss: Loss | None = None, names: Any = None) -> ReferenceEngine:
    return ReferenceEngine(
        network, store_of(network, "float64"), names or default_trainable(network, None), loss or CrossEntropy()
    )


def batch_of(network: Network, batch: int, number: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    random = np.random.default_rng(number)
    inputs: Mapping[str, Any] = {
        name: random.normal(size=(batch, *(extent or 0 for extent in type_.shape))).astype(np.float32)
        for name, type_ in network.input_types().items()
    }
    return dict(inputs), random.integers(0, 5, batch)


def phase_of(network: Network, optimizer: parts.Optimizer, loss: Loss, lr: float, **more: Any) -> Phase:
    names = tuple(sorted(more.pop("names", None) or default_trainable(network, None)))
    facts: dict[str, Any] = {"clip": None, "ema": None} | more
    return Phase(
        "train", 1, names, "", lr, optimizer, parts.Constant.model_validate({}), loss, {}, Pipeline(()), facts["clip"], facts["ema"], None,
    )  # fmt: skip


def runs(text: str, device: FakeDevice, optimizer: parts.Optimizer, *, loss: Loss | None = None, lr: float = 0.02,
         precision: str = "float32", **more: Any) -> tuple[PhaseRun, PhaseRun]:  # fmt: skip
    """The same phase on the played device and on the CPU."""
    network = load(text)
    loss = loss or CrossEntropy()
    phase = phase_of(network, optimizer, loss, lr, **more)
    there = engine_of(network, device, precision, loss, names=phase.trainable)
    here = FastEngine(network, store_of(network), phase.trainable, loss, name="numpy", threads=1)
    return PhaseRun(phase, there, 10, precision), PhaseRun(phase, here, 10)


def steps(run: PhaseRun, count: int, batch: int = 4, targets: Any = None) -> list[float]:
    found = []
    for number in range(count):
        inputs, labels = batch_of(run.engine.plan.network, batch, number % 4)
        wanted = labels if targets is None else targets(labels)
        found.append(run.step(inputs, wanted, 1, number, run.rate(number)).loss)
    return found
