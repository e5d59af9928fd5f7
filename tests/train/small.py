"""A small network, data and recipe, for tests of whole runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SPEC = """network small(classes = 3) {
  input image: 1x6x6
  conv1: conv(4, 3x3, padding = 1, bias = false) -> bn1: batch_norm -> relu
  conv2: conv(4, 3x3) -> relu
  flatten -> dropout(0.25)
  fc: dense(classes)
}

recipe whole for small {
  data      arrays("shapes.npz", validation = 25%)
  optimizer sgd(lr = 0.05, momentum = 0.9, weight_decay = 1e-3)
  batch     8
  seed      3
  ema       0.9
  clip      5.0
  phase all  { epochs 3; augment translate(20%) -> erase; schedule cosine(warmup = 1) }
  phase head { freeze all except fc; epochs 3; optimizer adamw(lr = 0.01); cache features }
}

recipe plain for small {
  data      arrays("shapes.npz", validation = 25%)
  optimizer sgd(lr = 0.05)
  batch     8
  epochs    2
}
"""


def write(folder: Path, spec: str = SPEC) -> Path:
    """Puts the spec and its data into a folder; returns the path of the spec."""
    random = np.random.default_rng(0)
    prototypes = random.uniform(0, 255, (3, 6, 6))
    labels = np.arange(60) % 3
    images = np.clip(prototypes[labels] + random.normal(0, 30, (60, 6, 6)), 0, 255).astype(np.uint8)
    np.savez(folder / "shapes.npz", x=images, y=labels)
    path = folder / "small.net"
    path.write_text(spec)
    return path


if __name__ == "__main__":
    write(Path(sys.argv[1]))
