"""The layers again, as loops over their definitions in plain Python: slow, obvious, and sharing no code with netdsl.

Arrays have shape (N, C, *spatial). `sides` is (before, after) for each spatial axis.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from netdsl.ir.layer import Layer
from netdsl.ir.types import TensorType

Sides = list[tuple[int, int]]


def run(layer: Layer, x: np.ndarray, **weights: np.ndarray) -> np.ndarray:
    """Runs a layer and checks that it keeps its promises about shape, type and its arguments."""
    before = x.copy(), {name: w.copy() for name, w in weights.items()}
    given = TensorType(x.shape[1:])
    assert {w.name: w.shape for w in layer.weights(given)} == {name: w.shape for name, w in weights.items()}
    out = layer.forward(np, [x], weights)
    assert out.shape == (len(x), *layer.infer(given).shape)
    assert out.dtype == x.dtype
    np.testing.assert_array_equal(x, before[0])
    for name, w in weights.items():
        np.testing.assert_array_equal(w, before[1][name])
    return out


def sample(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, shape)


def starts(n: int, f: int, s: int, side: tuple[int, int], d: int = 1, ceil_mode: bool = False) -> list[int]:
    """Where the windows along one axis begin, found by trying one after the other."""
    before, after = side
    span = d * (f - 1) + 1
    found = []
    start = -before
    while start + span <= n + after:
        found.append(start)
        start += s
    if ceil_mode:
        reaches_end = bool(found) and found[-1] + span == n + after
        if not reaches_end and start + span - (n + after) < s:
            found.append(start)  # hangs over the end by less than a step
        if found and found[-1] >= n:
            found.pop()  # would begin behind the input
    return found


def positions(spatial, f, s, sides, d, ceil_mode=False):
    """Each output position with the places that its window covers, in the padding too."""
    along = [
        starts(n, f_, s_, side, d_, ceil_mode) for n, f_, s_, side, d_ in zip(spatial, f, s, sides, d, strict=True)
    ]
    for output in product(*(range(len(a)) for a in along)):
        corner = [a[i] for a, i in zip(along, output, strict=True)]
        yield (
            output,
            {
                tap: tuple(c + t * step for c, t, step in zip(corner, tap, d, strict=True))
                for tap in product(*(range(k) for k in f))
            },
        )


def outputs(spatial, f, s, sides, d, ceil_mode=False) -> tuple[int, ...]:
    return tuple(
        len(starts(n, f_, s_, side, d_, ceil_mode)) for n, f_, s_, side, d_ in zip(spatial, f, s, sides, d, strict=True)
    )


def value(x: np.ndarray, image: int, channel: int, place: tuple[int, ...], mode: str = "zeros") -> float:
    """The number at a place, in the padding too."""
    inside = []
    for p, n in zip(place, x.shape[2:], strict=True):
        if not 0 <= p < n:
            if mode == "zeros":
                return 0.0
            if mode == "replicate":
                p = 0 if p < 0 else n - 1
            elif mode == "reflect":
                p = -p if p < 0 else 2 * (n - 1) - p
            else:
                p = p + n if p < 0 else p - n
        inside.append(p)
    return float(x[(image, channel, *inside)])


def correlate(x, w, s, sides, d, groups=1, bias=None, mode="zeros") -> np.ndarray:
    filters, depth, *f = w.shape
    y = np.zeros((len(x), filters, *outputs(x.shape[2:], f, s, sides, d)))
    for output, places in positions(x.shape[2:], f, s, sides, d):
        for image, k in product(range(len(x)), range(filters)):
            first = (k // (filters // groups)) * depth
            y[(image, k, *output)] = math.fsum(
                float(w[(k, c, *tap)]) * value(x, image, first + c, place, mode)
                for c in range(depth)
                for tap, place in places.items()
            ) + (0.0 if bias is None else float(bias[k]))
    return y


def scatter(x, w, s, sides, d, extra, groups=1, bias=None) -> np.ndarray:
    """Transposed convolution: every input adds its multiple of the kernel to the output."""
    channels, each, *f = w.shape
    filters = each * groups
    extents = [
        (n - 1) * s_ + d_ * (f_ - 1) + 1 - sum(side) + e
        for n, s_, d_, f_, side, e in zip(x.shape[2:], s, d, f, sides, extra, strict=True)
    ]
    y = np.zeros((len(x), filters, *extents))
    for image, c in product(range(len(x)), range(channels)):
        group = c // (channels // groups)
        for place in product(*(range(n) for n in x.shape[2:])):
            for k, tap in product(range(each), product(*(range(f_) for f_ in f))):
                to = tuple(
                    p * s_ + t * d_ - side[0] for p, s_, t, d_, side in zip(place, s, tap, d, sides, strict=True)
                )
                if all(0 <= t < o for t, o in zip(to, extents, strict=True)):
                    y[(image, group * each + k, *to)] += float(x[(image, c, *place)]) * float(w[(c, k, *tap)])
    if bias is not None:
        for k in range(filters):
            y[:, k] += float(bias[k])
    return y


def pool(x, f, s, sides, d, ceil_mode, reduce) -> np.ndarray:
    """`reduce(values, covered)`: the numbers of a window that lie in the input, and how many places it covers in the
    input and its padding (but not beyond)."""
    y = np.zeros((*x.shape[:2], *outputs(x.shape[2:], f, s, sides, d, ceil_mode)))
    for output, places in positions(x.shape[2:], f, s, sides, d, ceil_mode):
        inside = [p for p in places.values() if all(0 <= i < n for i, n in zip(p, x.shape[2:], strict=True))]
        covered = sum(
            all(i < n + side[1] for i, n, side in zip(p, x.shape[2:], sides, strict=True)) for p in places.values()
        )
        for image, c in product(range(x.shape[0]), range(x.shape[1])):
            y[(image, c, *output)] = reduce([float(x[(image, c, *p)]) for p in inside], covered)
    return y
