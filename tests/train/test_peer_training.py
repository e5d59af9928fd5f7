"""Twenty steps of training beside PyTorch: the same weights and batches, no dropout, stochastic gradient descent.

The loss of every step, the weights and the running statistics at the end are compared. The networks are small, and of
the three families: a ResNet, a MobileNetV2 with linear bottlenecks, and an EfficientNet with squeeze and excitation.
"""

from __future__ import annotations

import numpy as np
import pytest

import netdsl
from netdsl.analysis.training import default_trainable
from netdsl.ir.network import Network
from netdsl.train.fast import build_engine
from netdsl.train.losses import CrossEntropy
from netdsl.train.reference import ReferenceEngine
from netdsl.weights.store import WeightStore

torch = pytest.importorskip("torch", reason="needs PyTorch")
nn = torch.nn

pytestmark = pytest.mark.peer

STEPS, BATCH, CLASSES = 20, 8, 5
RATE, MOMENTUM = 0.05, 0.9

RESNET = """
block basic(width, stride = 1) {
  add {
    | conv1: conv(width, 3x3, stride = stride, padding = 1, bias = false) -> bn1: batch_norm -> relu
      -> conv2: conv(width, 3x3, padding = 1, bias = false) -> bn2: batch_norm
    | if stride != 1 { downsample: { conv(width, 1x1, stride = stride, bias = false) -> batch_norm } }
  }
  relu
}
network resnet {
  input image: 3x16x16
  conv1: conv(8, 3x3, padding = 1, bias = false) -> bn1: batch_norm -> relu -> max_pool(3, 2, padding = 1)
  layer1: { basic(8) }
  layer2: { basic(16, 2) }
  global_avg_pool -> flatten -> fc: dense(5)
}
"""


class Basic(nn.Module):
    def __init__(self, inner, width, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inner, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Basic(8, 8))
        self.layer2 = nn.Sequential(Basic(8, 16, 2))
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.layer2(self.layer1(self.pool(self.bn1(self.conv1(x)).relu())))
        return self.fc(x.mean((2, 3)))


MOBILENET = """
block inverted(width, expand, stride) {
  let inner = x.channels
  let body = stride == 1 and inner == width
  residual if body {
    expand: conv(inner * expand, 1x1, bias = false) -> bn1: batch_norm -> relu6
    depth: depthwise_conv(3x3, stride = stride, padding = 1, bias = false) -> bn2: batch_norm -> relu6
    project: conv(width, 1x1, bias = false) -> bn3: batch_norm
  }
}
network mobilenet {
  input image: 3x16x16
  stem: conv(8, 3x3, stride = 2, padding = 1, bias = false) -> bn: batch_norm -> relu6
  one: inverted(8, 4, 1)
  two: inverted(12, 4, 2)
  three: inverted(12, 6, 1)
  global_avg_pool -> flatten -> fc: dense(5)
}
"""


class Inverted(nn.Module):
    def __init__(self, inner, width, expand, stride):
        super().__init__()
        middle = inner * expand
        self.expand = nn.Conv2d(inner, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.depth = nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.project = nn.Conv2d(middle, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.skip = stride == 1 and inner == width

    def forward(self, x):
        y = nn.functional.relu6(self.bn1(self.expand(x)))
        y = nn.functional.relu6(self.bn2(self.depth(y)))
        y = self.bn3(self.project(y))
        return x + y if self.skip else y


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.one = Inverted(8, 8, 4, 1)
        self.two = Inverted(8, 12, 4, 2)
        self.three = Inverted(12, 12, 6, 1)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = nn.functional.relu6(self.bn(self.stem(x)))
        return self.fc(self.three(self.two(self.one(x))).mean((2, 3)))


EFFICIENT = """
block mbconv(width, expand, kernel, stride) {
  let inner = x.channels
  let skip = stride == 1 and inner == width
  residual if skip {
    expand: conv(inner * expand, 1x1, bias = false) -> bn1: batch_norm(1e-3, 0.01) -> silu
    depth: depthwise_conv(kernel, stride = stride, padding = half, bias = false) -> bn2: batch_norm(1e-3, 0.01) -> silu
    multiply {
      |
      | global_avg_pool -> reduce: conv(4, 1x1) -> silu -> widen: conv(inner * expand, 1x1) -> sigmoid
    }
    project: conv(width, 1x1, bias = false) -> bn3: batch_norm(1e-3, 0.01)
  }
}
network efficient {
  input image: 3x16x16
  stem: conv(8, 3x3, stride = 2, padding = 1, bias = false) -> bn: batch_norm(1e-3, 0.01) -> silu
  one: mbconv(8, 4, 3, 1)
  two: mbconv(12, 4, 5, 2)
  three: mbconv(12, 4, 5, 1)
  global_avg_pool -> flatten -> fc: dense(5)
}
"""


class MBConv(nn.Module):
    def __init__(self, inner, width, expand, kernel, stride):
        super().__init__()
        middle = inner * expand
        self.expand = nn.Conv2d(inner, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle, 1e-3, 0.01)
        self.depth = nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False)
        self.bn2 = nn.BatchNorm2d(middle, 1e-3, 0.01)
        self.reduce = nn.Conv2d(middle, 4, 1)
        self.widen = nn.Conv2d(4, middle, 1)
        self.project = nn.Conv2d(middle, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, 1e-3, 0.01)
        self.skip = stride == 1 and inner == width

    def forward(self, x):
        silu = nn.functional.silu
        y = silu(self.bn2(self.depth(silu(self.bn1(self.expand(x))))))
        y = y * self.widen(silu(self.reduce(y.mean((2, 3), keepdim=True)))).sigmoid()
        y = self.bn3(self.project(y))
        return x + y if self.skip else y


class Efficient(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(8, 1e-3, 0.01)
        self.one = MBConv(8, 8, 4, 3, 1)
        self.two = MBConv(8, 12, 4, 5, 2)
        self.three = MBConv(12, 12, 4, 5, 1)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = nn.functional.silu(self.bn(self.stem(x)))
        return self.fc(self.three(self.two(self.one(x))).mean((2, 3)))


FAMILIES = {"resnet": (RESNET, ResNet), "mobilenet": (MOBILENET, MobileNet), "efficient": (EFFICIENT, Efficient)}


def network_of(text: str) -> Network:
    return netdsl.loads(text).network


def peer_of(make, store: WeightStore, dtype):
    """The same network in PyTorch, with the store's weights."""
    peer = make().to(getattr(torch, dtype))
    state = peer.state_dict()
    assert set(store.values) == set(state)
    peer.load_state_dict({name: torch.tensor(array) for name, array in store.values.items()})
    return peer.train()


def batches(dtype):
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        labels = rng.integers(0, CLASSES, BATCH)
        images = rng.standard_normal((BATCH, 3, 16, 16)) + 0.5 * labels[:, None, None, None]
        yield images.astype(dtype), labels


def follow(name, dtype, make_engine, loss, peer_loss):
    """Trains both; the losses of either side, our engine and the peer."""
    text, make = FAMILIES[name]
    net = network_of(text)
    store = WeightStore(net, dtype)
    store.initialize(1)
    peer = peer_of(make, store, dtype)
    engine = make_engine(net, store, default_trainable(net), loss)
    optimizer = torch.optim.SGD(peer.parameters(), RATE, MOMENTUM)
    velocity = np.zeros_like(engine.parameters.flat)
    ours, theirs = [], []
    for number, (images, labels) in enumerate(batches(dtype)):
        ours.append(engine.step({"image": images}, labels, 0, number).loss)
        velocity = MOMENTUM * velocity + engine.gradients.flat
        engine.parameters.flat[...] -= RATE * velocity
        optimizer.zero_grad()
        value = peer_loss(peer(torch.tensor(images)), torch.tensor(labels))
        value.backward()
        optimizer.step()
        theirs.append(value.item())
    return np.array(ours), np.array(theirs), store, peer


def fast(backend):
    def make(net, store, trainable, loss):
        return build_engine(net, store, trainable, loss, {}, backend=backend, threads=1)

    return make


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("make_engine", [ReferenceEngine, fast("numpy")], ids=["reference", "numpy"])
def test_the_loss_follows_pytorchs(name, make_engine):
    ours, theirs, store, peer = follow(name, "float32", make_engine, CrossEntropy(), nn.CrossEntropyLoss())
    assert theirs[-5:].mean() < theirs[:5].mean(), "PyTorch learned nothing: the comparison says little"
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    for key, tensor in peer.state_dict().items():
        np.testing.assert_allclose(store.values[key], tensor.numpy(), atol=1e-3, err_msg=key)


@pytest.mark.parametrize("name", FAMILIES)
def test_in_double_precision_nothing_is_left_of_the_difference(name):
    loss, peer_loss = CrossEntropy(label_smoothing=0.1), nn.CrossEntropyLoss(label_smoothing=0.1)
    ours, theirs, store, peer = follow(name, "float64", ReferenceEngine, loss, peer_loss)
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
    for key, tensor in peer.state_dict().items():
        np.testing.assert_allclose(store.values[key], tensor.numpy(), atol=1e-8, err_msg=key)
