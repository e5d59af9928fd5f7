"""Shapes of convolutions."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    images: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1


CASES = {
    "one number": Case(1, 1, 1, 1, 1, 1),
    "map of one pixel, padded": Case(1, 5, 1, 1, 9, 3, 1, 1),
    "batch of 17 vectors": Case(17, 7, 1, 1, 130, 1),
    "prime sizes": Case(2, 5, 7, 11, 37, 3, 1, 1),
    "one channel": Case(1, 1, 13, 5, 6, 5),
    "stride larger than kernel": Case(3, 3, 11, 10, 8, 2, 5, 1),
    "dilation": Case(1, 4, 9, 12, 16, 3, 1, 2, 2),
    "dilation and stride": Case(1, 4, 11, 12, 17, 3, 2, 3, 3),
    "groups": Case(2, 12, 6, 7, 18, 3, 1, 1, 1, 3),
    "groups of one filter": Case(1, 6, 5, 5, 6, 3, 1, 1, 1, 6),
    "pointwise": Case(1, 20, 9, 15, 33, 1),
    "pointwise with stride": Case(1, 16, 7, 7, 40, 1, 2),
    "wide": Case(1, 3, 4, 50, 70, 3, 1, 1),
    "large kernel": Case(1, 2, 8, 8, 3, 7, 1, 3),
    "kernel of the map": Case(2, 6, 5, 5, 84, 5),
    "long sums": Case(1, 700, 1, 1, 100, 1),
}
