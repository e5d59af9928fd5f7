"""Saves a scan that `digits(validation = 20%)` keeps apart, so that no training has seen it, as a picture.

    python examples/digit.py digit.png [NUMBER]

NUMBER counts the scans that are kept apart, from 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from netdsl.data.open import open_data
from netdsl.data.sources import Digits

SIDE = 256
"""Pixels of each side of the picture; the scan has 8."""


def main(target: Path, number: int = 0) -> None:
    part = open_data(Digits(validation=0.2), channels=1).validation
    assert part is not None
    index = int(part.indices[number])
    scan = part.dataset.picture(index)
    scan.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(target)
    digit = part.dataset.classes[part.dataset.labels[index]]
    print(f"{target}: scan {index:,}, a {digit}, one of the {len(part.indices)} kept apart")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, metavar="FILE", help="the picture: .png, .jpg")
    parser.add_argument("number", type=int, nargs="?", default=0, help="which of the scans that are kept apart")
    given = parser.parse_args()
    main(given.target, given.number)
