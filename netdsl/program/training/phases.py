"""The gradient of a convolution by its input, as convolutions with stride 1 of the gradient of its output.

Along one axis y[o] = sum over j of w[j] x[o s - p + j d]. So x[i] gets w[j] dy[o] for all j with i + p - j d = o s. All
i with the same rest r when divided by s (a **phase**) read the same taps j: those for which r + p - j d is a multiple
of s. With i = r + s q they read o = q + (r + p - j d) / s, places that lie at equal distances: a convolution of dy
with stride 1, whose result belongs into every s-th place of dx.

Letters as in netdsl/layers/sizes.py: n extent of x, o of y, f of the kernel, s stride, d dilation, p padding.
"""

from __future__ import annotations

from itertools import product
from math import gcd
from typing import NamedTuple

from netdsl.layers.sizes import Slide


class Phase(NamedTuple):
    """One phase along one axis: place r + s q of dx, for q below `places`, is the sum over t of w[taps[t]]
    dy[q - before + t * dilation]. There may be no taps."""

    rest: int
    places: int
    taps: tuple[int, ...]
    before: int
    dilation: int


def phases(axis: Slide) -> tuple[Phase, ...]:
    """All phases along one axis whose extents are known; those that hold no place of x are left out."""
    n = axis.n or 0
    found = []
    for rest in range(min(axis.s, n)):
        count = -(-(n - rest) // axis.s)
        # Falling j means rising places.
        taps = tuple(j for j in reversed(range(axis.f)) if (rest + axis.before - j * axis.d) % axis.s == 0)
        if taps:
            before = -((rest + axis.before - taps[0] * axis.d) // axis.s)
            found.append(Phase(rest, count, taps, before, axis.d // gcd(axis.s, axis.d)))
        else:
            found.append(Phase(rest, count, (), 0, 1))
    return tuple(found)


def phases_of(slides: tuple[Slide, ...]) -> list[tuple[Phase, ...]]:
    """Every combination of the phases of all axes."""
    return list(product(*(phases(axis) for axis in slides)))
