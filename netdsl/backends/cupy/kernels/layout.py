"""Channels first to channels last, and back, with a cast."""

from __future__ import annotations

from netdsl.backends.cupy.kernels.functions import literal
from netdsl.backends.cupy.kernels.kernel import Kernel, Work, blocks, specialised
from netdsl.backends.cupy.kernels.view import ITEM_BYTES

SHORT = 8
"""A side that one thread takes as a whole."""
THREADS = 128


def turned(
    images: int,
    a: int,
    b: int,
    source: str,
    target: str,
    *,
    factor: float = 1.0,
    names: tuple[str, str] = ("x", "y"),
    gap: int = 0,
    target_gap: int = 0,
) -> Work:
    """y (N, B, A) = factor x (N, A, B), from type `source` to `target`. (C, positions) become (positions, C), or
    (filters, taps) of a weight (taps, filters). `gap` and `target_gap`: numbers between two rows."""
    wide, target_wide = b + gap, a + target_gap
    small = min(a, b) <= SHORT
    short = {"IMAGES": images, "THREADS": THREADS, "A_IS_SHORT": a <= b} if small else {}
    kernel = Kernel(
        "layout",
        specialised(
            "layout_small.cu" if small else "layout.cu",
            {"A": a, "B": b} | short,
            {"I": source, "O": target},
            [
                f"constexpr long long X_N = {a * wide}, X_A = {wide}, Y_N = {b * target_wide}, Y_B = {target_wide};",
                f"constexpr float FACTOR = {literal(factor)};",
            ],
        ),
        names,
        blocks(images * max(a, b), THREADS) if small else images * blocks(a, 32) * blocks(b, 32),
        (THREADS, 1, 1) if small else (32, 8, 1),
        writes=names[1:],
    )
    return Work((kernel,), {}, images * a * b * (ITEM_BYTES[source] + ITEM_BYTES[target]), 0)
