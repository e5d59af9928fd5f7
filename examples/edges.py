"""Makes what examples/edges.net learns from, and shows what it has learned.

python examples/edges.py              writes edges.npz: pieces of the photograph, and what Sobel makes of them
python examples/edges.py WEIGHTS      prints the nine numbers of a file of weights, and their distance to Sobel's
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import netdsl
from netdsl.images.load import load_input

FOLDER = Path(__file__).parent
SIDE, PIECES = 32, 1000


def make(target: Path) -> None:
    """Squares of the photograph at random places, in gray, and the answers of the library's fixed Sobel filter."""
    sobel = netdsl.load("sobel_vertical").compile()
    photograph = load_input(FOLDER / "photograph.jpg", sobel.network.input_types()["image"])[0, 0]
    random = np.random.default_rng(0)
    rows, columns = (random.integers(0, extent - SIDE + 1, PIECES) for extent in photograph.shape)
    pieces = np.stack([photograph[r : r + SIDE, c : c + SIDE] for r, c in zip(rows, columns, strict=True)])
    np.savez(target, x=pieces, y=sobel(pieces[:, None]))
    print(f"{target.name}: {PIECES:,} pieces of {SIDE}x{SIDE} pixels, and their edges")


def show(weights: Path) -> None:
    """Prints the filter before training (seed 0), behind it, and Sobel's."""
    net = netdsl.load(FOLDER / "edges.net")
    fresh, learned = net.compile(), net.compile()
    fresh.initialize(seed=0)
    learned.load(weights)
    sobel = netdsl.load("sobel_vertical").compile().weights["filter.weight"]
    for name, values in (("before", fresh.weights["filter.weight"]), ("learned", learned.weights["filter.weight"])):
        for row, numbers in enumerate(values[0, 0].tolist()):
            print(f"{'' if row else name:<8}" + "".join(f"{number:>9.4f}" for number in numbers))
    print(f"largest difference from Sobel's: {np.abs(learned.weights['filter.weight'] - sobel).max():.1e}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        make(FOLDER / "edges.npz")
    else:
        show(Path(sys.argv[1]))
