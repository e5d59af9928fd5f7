"""Weights that are mapped from a file are packed once, and lie in memory once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netdsl

TEXT = """
network n() {
  input x: 16x8x8
  conv1: conv(1024, 1x1, bias = false) -> batch_norm -> relu
  conv2: conv(1024, 1x1, bias = false) -> batch_norm -> relu
  conv3: conv(1024, 3x3, groups = 8, bias = false) -> batch_norm -> relu
  max_pool(2) -> flatten
  fc1: dense(1024) -> relu
  fc2: dense(10)
}
"""

SCRIPT = """
import sys
import numpy as np
import netdsl

def megabytes(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024

net = netdsl.loads(sys.argv[1])
small = netdsl.loads("network n() { input x: 16x8x8\\n conv(16, 3x3) -> relu\\n flatten -> dense(2)\\n }")
x = np.random.default_rng(0).standard_normal((1, 16, 8, 8)).astype(np.float32)
warm = small.compile(backend="native", threads=2)
warm.initialize(0)
warm(x)
model = net.compile(backend="native", threads=2)
before = megabytes("VmRSS")
model.load(sys.argv[2])
model(x)
print(megabytes("VmHWM") - before, megabytes("VmRSS") - before)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    model = netdsl.loads(TEXT).compile(backend="reference")
    model.initialize(0)
    model.save(path)
    return path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_process_needs_little_more_than_the_packed_weights(file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, TEXT, str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    peak, after = map(float, done.stdout.split())
    weights = file.stat().st_size / 2**20
    assert weights > 40
    # Beside the packed weights: a part of the largest array, the generated code, the arena. Two copies would be 2.
    assert after < 1.35 * weights
    assert peak < 1.6 * weights


def test_weights_are_still_there_afterwards(file: Path, tmp_path: Path) -> None:
    net = netdsl.loads(TEXT)
    model, reference = net.compile(backend="native", threads=1), net.compile(backend="reference")
    model.load(file)
    reference.load(file)
    for batch in (1, 8, 3):
        x = np.random.default_rng(batch).standard_normal((batch, 16, 8, 8)).astype(np.float32)
        expected = reference.run(x)[0]["fc2"]
        assert abs(model.run(x)[0]["fc2"] - expected).max() <= 1e-4 * expected.std()
    for name, array in model.weights.items():
        np.testing.assert_array_equal(array, reference.weights[name])
    model.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()
