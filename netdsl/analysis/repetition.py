"""Runs of equal neighbours: where they are, and how many it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

SCOPES_ALIKE = 2
"""This many equal scopes in a row are folded."""
RUNS_ALIKE = 8
"""So many times a run of layers without a scope of their own has to repeat to be folded: VGG's stages stay whole. In a
drawing a `repeat` of the source is enough."""
LONGEST_RUN = 16
"""Layers in such a run at most."""


def repetition(codes: Sequence[int], at: int, least: Callable[[int, int], int]) -> tuple[int, int]:
    """Length of the run that begins at `at`, and how often it stands there; (1, 1) where nothing is to be folded."""
    for length in range(1, min(LONGEST_RUN, (len(codes) - at) // 2) + 1):
        if codes[at] != codes[at + length]:
            continue
        run = codes[at : at + length]
        end = at + length
        while codes[end : end + length] == run:
            end += length
        repeats = (end - at) // length
        if repeats >= least(at, length):
            return length, repeats
    return 1, 1
