"""Softmax and its logarithm, along any axis, and the way back along the channels."""

from __future__ import annotations

from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, blocks, specialised
from netdsl.backends.cupy.kernels.layer_norm import fits_row, row_block
from netdsl.backends.cupy.kernels.view import View, vector

THREADS = 128


def fits(views: list[View]) -> bool:
    """Whether a row of channels of each fits into the registers of a block."""
    return all(map(fits_row, views))


def rows(x: View, y: View, *, logarithm: bool, dy: View | None = None, plus: View | None = None) -> Work:
    """Along the channels. With `dy`, the way back: `x` is what the forward gave, `y` is `dx` = d(x) + `plus`.

    Raises ValueError where rows are too long or positions uneven.
    """
    views = [view for view in (x, y, dy, plus) if view is not None]
    if not fits(views):
        raise ValueError(f"rows of {x.channels} channels, or uneven positions")
    v = vector(views)
    count = x.shape[0] * x.positions
    lane, each = row_block(x.channels, v, count)
    constants: dict[str, int | bool] = {
        "C": x.channels, "V": v, "P": x.positions, "COUNT": count, "LANES": lane, "ROWS": each,
        "BACKWARD": dy is not None, "LOGARITHM": logarithm, "HAS_PLUS": plus is not None, "FAST": x.dtype != "float32",
    }  # fmt: skip
    for letter, view in (("X", x), ("Y", y), ("D", dy or x), ("P", plus or x)):
        constants |= {f"{letter}_N": view.strides[0], f"{letter}_W": view.step}
    kernel = Kernel(
        "softmax",
        specialised("softmax.cu", constants, {"T": x.dtype}),
        ("x" if dy is None else "output", "dy" if dy else NONE, "plus" if plus else NONE, "dx" if dy else "y"),
        blocks(count, each), (lane, each, 1), writes=("y", "dx"),
    )  # fmt: skip
    return Work((kernel,), {}, sum(view.bytes for view in views), 5 * x.size)


def strided(outer: int, length: int, inner: int, dtype: str, *, logarithm: bool) -> Work:
    """Along the middle axis of (outer, length, inner), an array without gaps."""
    kernel = Kernel(
        "softmax_strided",
        specialised(
            "softmax_strided.cu",
            {"OUTER": outer, "OUTER_STEP": length * inner, "LENGTH": length, "THREADS": THREADS, "LOGARITHM": logarithm}
            | {"FAST": dtype != "float32"},
            {"T": dtype},
            [f"constexpr long long INNER = {inner};"],
        ),
        ("x", "y"), blocks(outer * inner, THREADS), (THREADS, 1, 1), writes=("y",),
    )  # fmt: skip
    size = outer * length * inner
    return Work((kernel,), {}, 2 * size * (4 if dtype == "float32" else 2), 5 * size)
