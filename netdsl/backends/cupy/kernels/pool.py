"""Pools, both ways: windows that slide, windows of a given grid, and the whole map."""

from __future__ import annotations

from netdsl.backends.cupy.kernels.chain import Operand, chain
from netdsl.backends.cupy.kernels.depthwise import Window
from netdsl.backends.cupy.kernels.functions import function_text, literal
from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, blocks, lanes, specialised
from netdsl.backends.cupy.kernels.reduce import fold
from netdsl.backends.cupy.kernels.view import View, dense, index_type, vector
from netdsl.ir.layer import Layer

THREADS = 128
_BLOCKS = 512


def slide(
    x: View,
    y: View,
    window: Window,
    *,
    maximum: bool,
    include_pad: bool = False,
    places: bool = False,
    activation: Layer | None = None,
) -> Work:
    """A max or average pool; with `places` (N, OH, OW, C), a byte each, the tap ky KW + kx that was the largest."""
    v = vector([x, y])
    across = 2 if window.x.s < window.x.f and y.shape[2] > 1 and window.x.span <= 16 else 1
    tiles = blocks(y.shape[2], across)
    kernel = Kernel(
        "pool",
        specialised(
            "pool.cu",
            _sizes(x, y, window)
            | {"V": v, "TX": across, "THREADS": THREADS, "MAXIMUM": maximum, "INCLUDE_PAD": include_pad}
            | {"PLACES": places, "FAST": x.dtype != "float32"},
            {"T": x.dtype},
            [f"typedef {index_type([x, y])} INDEX;", function_text("activate", activation)],
        ),
        ("x", "y", "places" if places else NONE),
        blocks(y.shape[0] * y.shape[1] * tiles * (x.channels // v), THREADS),
        (THREADS, 1, 1),
        writes=("y", "places"),
    )  # fmt: skip
    return Work((kernel,), {}, x.bytes + y.bytes + places * y.size, window.taps * y.size, f"{v}x{across}")


def slide_gradient(
    dy: View, dx: View, window: Window, *, maximum: bool, include_pad: bool = False, plus: View | None = None
) -> Work:
    """dx = d(input) + plus; of a maximum by `places`."""
    v = vector([dy, dx, *([plus] if plus else [])])
    strides = {f"P_{axis}": stride for axis, stride in zip("NHW", (plus or dx).strides, strict=True)}
    kernel = Kernel(
        "pool_gradient",
        specialised(
            "pool_gradient.cu",
            _sizes(dx, dy, window)
            | strides
            | {"V": v, "THREADS": THREADS, "MAXIMUM": maximum, "INCLUDE_PAD": include_pad}
            | {"HAS_PLUS": plus is not None},
            {"T": dx.dtype},
            [f"typedef {index_type([dx, dy, plus or dx])} INDEX;"],
        ),
        ("dy", "places" if maximum else NONE, "plus" if plus else NONE, "dx"),
        blocks(dx.size // v, THREADS),
        (THREADS, 1, 1),
        writes=("dx",),
    )  # fmt: skip
    return Work((kernel,), {}, dy.bytes + dx.bytes + maximum * dy.size, window.taps * dy.size, str(v))


def adaptive(
    x: View,
    y: View,
    *,
    maximum: bool,
    backward: bool = False,
    plus: View | None = None,
    activation: Layer | None = None,
) -> Work:
    """A pool to the size of `y`. With `backward`, `x` is the gradient of the smaller grid, `y` that of the input."""
    if backward and maximum:
        raise ValueError("the gradient of an adaptive maximum has no kernel")
    v = vector([x, y, *([plus] if plus else [])])
    large, small = (y, x) if backward else (x, y)
    constants: dict[str, int | bool] = {
        "N": x.shape[0], "H": large.shape[1], "W": large.shape[2], "C": x.channels, "OH": small.shape[1],
        "OW": small.shape[2], "V": v, "THREADS": THREADS, "MAXIMUM": maximum, "BACKWARD": backward,
        "HAS_PLUS": plus is not None, "FAST": x.dtype != "float32",
    }  # fmt: skip
    for letter, view in (("X", x), ("Y", y), ("P", plus or y)):
        constants |= {f"{letter}_{axis}": stride for axis, stride in zip("NHW", view.strides, strict=True)}
    kernel = Kernel(
        "adaptive_pool",
        specialised(
            "adaptive_pool.cu",
            constants,
            {"T": x.dtype},
            [f"typedef {index_type([x, y, plus or y])} INDEX;", function_text("activate", activation)],
        ),
        ("dy" if backward else "x", "plus" if plus else NONE, "dx" if backward else "y"),
        blocks(y.size // v, THREADS),
        (THREADS, 1, 1),
        writes=("y", "dx"),
    )  # fmt: skip
    return Work((kernel,), {}, x.bytes + y.bytes, large.size, str(v))


def sums(
    x: View,
    *,
    per_image: bool = True,
    maximum: bool = False,
    factor: float = 1.0,
    dtype: str = "float32",
    add: bool = False,
    name: str = "y",
    source: str = "x",
) -> Work:
    """`name` (images, C) = factor * the sum (or largest) over the positions of each image, or of all of them.

    The numbers of the result follow each other. Raises ValueError where positions are uneven.
    """
    flat = x if per_image else x.flat()
    if not x.even or (not per_image and flat.shape[0] > 1):
        raise ValueError("the positions are not evenly apart")
    v = vector([x])
    images, positions, c = flat.shape[0], flat.positions, x.channels
    wide, lane, wide_blocks = lanes(c // v, 256, 32)
    wanted = 1 if images * wide_blocks >= _BLOCKS else blocks(_BLOCKS, images * wide_blocks)
    span = blocks(positions, min(wanted, blocks(positions, lane * 4)))
    tiles = blocks(positions, span)
    if add:
        tiles, span = max(tiles, 2), span if tiles > 1 else blocks(positions, 2)
    single = tiles == 1
    kernel = Kernel(
        "sums",
        specialised(
            "sums.cu",
            {"C": c, "V": v, "P": positions, "TILES": tiles, "SPAN": span, "WIDE": wide, "LANES": lane}
            | {"WIDE_BLOCKS": wide_blocks, "X_N": flat.strides[0], "X_W": flat.step, "MAXIMUM": maximum},
            {"T": x.dtype, "O": dtype if single else "float32"},
            [f"typedef {index_type([x])} INDEX;", f"constexpr float FACTOR = {literal(factor)};"],
        ),
        (source, name if single else "parts"),
        wide_blocks * tiles * images,
        (wide, lane, 1),
        writes=(name if single else "parts",),
    )  # fmt: skip
    if single:
        return Work((kernel,), {}, x.bytes, x.size)
    end = fold(images, tiles, c, factor=factor, maximum=maximum, add=add, dtype=dtype, names=("parts", name, NONE))
    return Work((kernel, end), {"parts": 4 * images * tiles * c}, x.bytes, x.size)


def spread(dy: View, dx: View, plus: View | None = None) -> Work:
    """The gradient of a global average: dx = dy / positions + plus. `dy` (N, 1, 1, C)."""
    operands = [Operand("dy", dy), *([Operand("plus", plus)] if plus else [])]
    share = literal(1 / dx.positions)
    statement = f"dx = dy * {share}{' + plus' if plus else ''};"
    return chain(operands, [Operand("dx", dx)], [statement], name="spread")


def vector_view(images: int, channels: int, dtype: str) -> View:
    return dense((images, channels), dtype)


def _sizes(x: View, y: View, window: Window) -> dict[str, int]:
    n, h, w, c = x.shape
    found = {"N": n, "H": h, "W": w, "C": c, "OH": y.shape[1], "OW": y.shape[2]} | window.constants
    found |= {"AFTER_H": window.y.after, "AFTER_W": window.x.after}
    for letter, view in (("X", x), ("Y", y)):
        found |= {f"{letter}_{axis}": stride for axis, stride in zip("NHW", view.strides, strict=True)}
    return found
