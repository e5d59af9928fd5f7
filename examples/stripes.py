"""Writes stripes.npz beside this file: 600 pictures of 16x16 pixels, lying, standing and slanting stripes in noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def main() -> None:
    random = np.random.default_rng(1)
    labels = np.arange(600) % 3
    rows, columns = np.mgrid[:16, :16]
    along = np.stack([rows, columns, (rows + columns) * 0.7])[labels]
    width = random.uniform(2.5, 4.5, (600, 1, 1))
    start = random.uniform(0, 2 * np.pi, (600, 1, 1))
    images = 128 + 60 * np.sin(2 * np.pi * along / width + start) + random.normal(0, 110, (600, 16, 16))
    np.savez(Path(__file__).with_name("stripes.npz"), x=np.clip(images, 0, 255).astype(np.uint8), y=labels)


if __name__ == "__main__":
    main()
