"""How long a step of training takes on this processor, and how much memory.

    python benchmarks/training.py [--networks NAME,...] [--batch N] [--threads N] [--rounds N] [--seconds S]
                                  [--backends NAME,...] [--peer-python PYTHON] [--format text|json]

A step is forward, loss (cross-entropy), backward and update (SGD with momentum). Ours on each back-end against PyTorch
eager in both of its memory layouts. Every engine runs in a process of its own, in turn with the others; the table has
the median over the rounds of the median time of a step in milliseconds, the best peer's time for one of ours, and the
largest resident memory of a process. `--peer-python` names a Python with torch where this one has not; without it ours
are measured alone. Weights and images are random: they do not change the time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from measure import machine, own_report

SPECS = {
    "lenet5": None,
    "resnet18_cifar": """
block shortcut(channels, stride) {
  if stride != 1 or x.channels != channels {
    conv(channels, 1x1, stride = stride, bias = false) -> batch_norm
  }
}
block basic(channels, stride) {
  add {
    | conv1: conv(channels, 3x3, stride = stride, padding = 1, bias = false) -> bn1: batch_norm -> relu
      conv2: conv(channels, 3x3, padding = 1, bias = false) -> bn2: batch_norm
    | downsample: shortcut(channels, stride)
  }
  relu
}
network resnet18_cifar(classes = 10) {
  input image: 3x32x32
  conv1: conv(64, 3x3, padding = 1, bias = false) -> bn1: batch_norm -> relu
  for i, n in enumerate([2, 2, 2, 2]) {
    layer{i + 1}: repeat n as j {
      basic(64 * 2 ** i, stride = 2 if i > 0 and j == 0 else 1)
    }
  }
  global_avg_pool -> flatten
  fc: dense(classes)
}
""",
}
"""Networks for images of 32x32: a name of the library, or a spec. ResNet-18 has the stem of its CIFAR form."""

TIMED = """
def timed(step, seconds):
    for _ in range(2):
        step()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {{"ms": 1000 * statistics.median(times),
             "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)}}
"""

OURS = """
import json, resource, statistics, sys, time
import numpy as np
import netdsl
from netdsl.analysis.training import default_trainable
from netdsl.train.fast import build_engine
from netdsl.train.losses import CrossEntropy
from netdsl.train.optimizers import SgdUpdater
from netdsl.train.recipe_parts import Sgd
from netdsl.weights.store import WeightStore
{timed}
spec = {spec!r}
network = (netdsl.load("{network}") if spec is None else netdsl.loads(spec)).network
store = WeightStore(network)
store.initialize(0)
engine = build_engine(
    network, store, default_trainable(network), CrossEntropy(), backend="{backend}", threads={threads}
)
(name, type_), = network.input_types().items()
random = np.random.default_rng(0)
x = {{name: random.standard_normal(({batch}, *type_.shape)).astype(np.float32)}}
y = random.integers(0, 10, {batch})
updater = SgdUpdater(Sgd(lr=0.01, momentum=0.9), engine.parameters.flat)
number = 0
def step():
    global number
    engine.step(x, y, 0, number)
    updater.update(engine.parameters.flat, engine.gradients.flat, 0.01)
    number += 1
print(json.dumps(timed(step, {seconds})))
"""

TORCH = """
import json, resource, statistics, sys, time
import torch
from torch import nn
{timed}
torch.set_num_threads({threads})
class Basic(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.relu, self.downsample = nn.ReLU(inplace=True), None
        if stride != 1 or before != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)
def make(name):
    if name == "lenet5":
        return (1, 32, 32), nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))
    layers, before = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)], 64
    for channels in (64, 128, 256, 512):
        layers += [Basic(before, channels, 1 if channels == 64 else 2), Basic(channels, channels, 1)]
        before = channels
    return (3, 32, 32), nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
shape, model = make("{network}")
x, y = torch.randn({batch}, *shape), torch.randint(0, 10, ({batch},))
if "{layout}" == "channels_last":
    model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
model.train()
optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), nn.CrossEntropyLoss()
def step():
    optimizer.zero_grad(set_to_none=True)
    value = loss(model(x), y)
    value.backward()
    optimizer.step()
    return value.item()
print(json.dumps(timed(step, {seconds})))
"""


def programs_for(network: str, options: argparse.Namespace) -> dict[str, tuple[str, str]]:
    """Code and interpreter by the name of the engine."""
    words = {
        "network": network, "spec": SPECS[network], "batch": options.batch, "threads": options.threads,
        "seconds": options.seconds, "timed": TIMED.format(),
    }  # fmt: skip
    found = {name: (OURS.format(backend=name, **words), sys.executable) for name in options.backends.split(",")}
    for layout in ("contiguous", "channels_last"):
        found[f"torch {layout}"] = (TORCH.format(layout=layout, **words), options.peer_python)
    return found


def measured(network: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Medians of the figures of each engine; a peer that is not there is left out."""
    programs = programs_for(network, options)
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, (code, python) in list(programs.items()):
            try:
                seen[name].append(own_report(code, python))
            except RuntimeError as error:
                if not name.startswith("torch"):
                    raise
                print(f"without {name}: {error}", file=sys.stderr)
                del programs[name]
    return {
        name: {key: statistics.median(report[key] for report in reports) for key in reports[0]}
        for name, reports in seen.items()
        if reports
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(SPECS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--backends", default="native,numpy")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args()
    rows = {network: measured(network, options) for network in options.networks.split(",")}
    if options.format == "json":
        print(
            json.dumps(
                {"machine": machine(), "batch": options.batch, "threads": options.threads, "rows": rows}, indent=2
            )
        )
        return
    print(f"{machine()}\nbatch {options.batch}, {options.threads} threads; milliseconds a step, MB of a process\n")
    print(f"{'network':18}{'engine':24}{'ms':>10}{'MB':>8}   best of torch for one of ours")
    for network, found in rows.items():
        best = min((figures["ms"] for name, figures in found.items() if name.startswith("torch")), default=None)
        for name, figures in found.items():
            ours = best is not None and not name.startswith("torch")
            ratio = f"{best / figures['ms']:8.2f}x" if ours and best is not None else ""
            print(f"{network:18}{name:24}{figures['ms']:>10.2f}{figures['mb']:>8.0f}{ratio}")


if __name__ == "__main__":
    main()
