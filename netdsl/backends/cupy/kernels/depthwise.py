"""Depthwise convolution: forward (with the sums of a global average, if wanted) and both gradients.

Weights are handed over as (taps, C) in the type of storage (`packed_weights`), biases as float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netdsl.backends.cupy.kernels.functions import function_text
from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, blocks, lanes, power_of_two, specialised
from netdsl.backends.cupy.kernels.reduce import fold
from netdsl.backends.cupy.kernels.view import View, index_type, vector
from netdsl.ir.layer import Layer
from netdsl.layers.sizes import Slide

THREADS = 128
MAX_TAPS = 49
MAX_SPAN = 64
"""A window that reaches further makes more text than it is worth."""
_REGISTERS = 110
"""Numbers that a thread may hold at once before registers run short."""


@dataclass(frozen=True)
class Window:
    """How the window slides down the rows and along them."""

    y: Slide
    x: Slide

    @staticmethod
    def of(slides: Sequence[Slide]) -> Window:
        """One or two axes; a sequence is an image of one row."""
        if len(slides) == 1:
            return Window(Slide(1, 1, 1, 1, 0, 0, 1), slides[0])
        return Window(slides[0], slides[1])

    @property
    def taps(self) -> int:
        return self.y.f * self.x.f

    @property
    def constants(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for axis, name in ((self.y, "H"), (self.x, "W")):
            found |= {f"K{name}": axis.f, f"S{name}": axis.s, f"D{name}": axis.d, f"P{name}": axis.before}
        return found


def fits(window: Window) -> bool:
    """Whether a window is small enough to be unrolled."""
    return (
        window.taps <= MAX_TAPS and max(window.y.span, window.x.span) <= MAX_SPAN and max(window.y.s, window.x.s) <= 8
    )


@dataclass(frozen=True)
class Tile:
    """Outputs of a thread: channels, rows, columns."""

    v: int
    y: int
    x: int

    def __str__(self) -> str:
        return f"{self.v}x{self.y}x{self.x}"


def _held(tile: Tile, window: Window) -> int:
    """Numbers that the forward kernel holds at once."""
    rows = min(tile.y, window.y.f)
    return tile.v * (tile.y * tile.x + rows * window.x.f + 1)


def tiles(x: View, y: View, window: Window, residual: View | None = None) -> Iterator[Tile]:
    """Ways to share the outputs between threads, the likely best first."""
    views = [view for view in (x, y, residual) if view is not None]
    widest = vector(views)
    likely = [(widest, 2, 4), (widest, 1, 4), (widest, 2, 2), (widest, 1, 2), (widest, 1, 8), (widest // 2, 2, 4)]
    likely += [(widest // 2, 1, 4), (widest // 2, 4, 4), (widest, 1, 1), (widest // 2, 1, 1), (1, 1, 1)]
    # Where the input is large enough to fill the device with small tiles, reuse matters less than threads in flight.
    if y.size // widest // 8 < 1 << 15:
        likely = [(widest, 1, 2), (widest, 1, 1), *likely]
    seen = set()
    for v, ty, tx in likely:
        tile = Tile(max(1, v), min(ty, y.shape[1]), min(tx, power_of_two(y.shape[2])))
        if tile not in seen and (_held(tile, window) <= _REGISTERS or tile.v == 1):
            seen.add(tile)
            yield tile


def forward(
    x: View,
    y: View,
    window: Window,
    tile: Tile,
    *,
    bias: bool,
    activation: Layer | None = None,
    residual: View | None = None,
    squeeze: bool = False,
) -> Work:
    """y = activation(conv(x) + bias + residual). With `squeeze` also `sums`: (N, `chunks_of`, C), float32, what the
    outputs of each chunk of an image add up to."""
    wide, lane, wide_blocks = lanes(x.channels // tile.v, THREADS)
    images, each = x.shape[0], blocks(y.shape[1], tile.y) * blocks(y.shape[2], tile.x)
    count = chunks_of(y, tile) if squeeze else 0
    kernel = Kernel(
        "depthwise",
        specialised(
            "depthwise.cu",
            _sizes(x, y, window)
            | _strides("X", x) | _strides("Y", y) | _strides("R", residual or y)
            | {"V": tile.v, "TY": tile.y, "TX": tile.x, "WIDE": wide, "LANES": lane, "WIDE_BLOCKS": wide_blocks}
            | {"CHUNKS": count, "COUNT": max(1, count)}
            | {"HAS_BIAS": bias, "HAS_RESIDUAL": residual is not None, "FAST": x.dtype != "float32"},
            {"T": x.dtype},
            [f"typedef {index_type([x, y, residual or y])} INDEX;", function_text("activate", activation)],
        ),
        ("x", "weight", "bias" if bias else NONE, "residual" if residual else NONE, "y", "sums" if squeeze else NONE),
        wide_blocks * (images * count if squeeze else blocks(images * each, lane)),
        (wide, lane, 1),
        writes=("y", "sums") if squeeze else ("y",),
    )  # fmt: skip
    moved = x.bytes + y.bytes + (residual.bytes if residual else 0)
    return Work((kernel,), {}, moved, 2 * window.taps * y.size, f"{tile}{'+sums' if squeeze else ''}")


def chunks_of(y: View, tile: Tile) -> int:
    """How many partial sums of each image the squeezing form leaves."""
    _, lane, _ = lanes(y.channels // tile.v, THREADS)
    each = blocks(y.shape[1], tile.y) * blocks(y.shape[2], tile.x)
    # Two or more tiles a thread where there are enough images to fill the device.
    return blocks(each, lane * (4 if y.shape[0] >= 32 else 1))


def input_gradient(dy: View, dx: View, window: Window, plus: View | None = None) -> Work:
    """dx = d(input) + plus, which may lie over dx."""
    v = vector([dy, dx, *([plus] if plus else [])])
    across = 4 if window.x.s == 1 else 2
    while v > 1 and v * (window.y.s * window.x.s * across + window.x.f + 1) > _REGISTERS:
        v, across = (v // 2, across) if across == 1 or v > 4 else (v, across // 2)
    across = min(across, power_of_two(blocks(dx.shape[2], window.x.s)))
    wide, lane, wide_blocks = lanes(dx.channels // v, THREADS)
    each = blocks(dx.shape[1], window.y.s) * blocks(dx.shape[2], window.x.s * across)
    kernel = Kernel(
        "depthwise_input",
        specialised(
            "depthwise_input.cu",
            _sizes(dx, dy, window)
            | _strides("X", dx) | _strides("Y", dy) | _strides("P", plus or dx)
            | {"V": v, "TX": across, "WIDE": wide, "LANES": lane, "WIDE_BLOCKS": wide_blocks}
            | {"HAS_PLUS": plus is not None}
            | _reach(window, across),
            {"T": dx.dtype},
            [f"typedef {index_type([dx, dy, plus or dx])} INDEX;"],
        ),
        ("dy", "weight", "plus" if plus else NONE, "dx"),
        wide_blocks * blocks(dx.shape[0] * each, lane),
        (wide, lane, 1),
        writes=("dx",),
    )  # fmt: skip
    moved = dy.bytes + dx.bytes + (plus.bytes if plus else 0)
    return Work((kernel,), {}, moved, 2 * window.taps * dy.size, f"{v}x{window.y.s}x{window.x.s * across}")


def weight_gradient(
    x: View, dy: View, window: Window, *, bias: bool = False, add: bool = False, add_bias: bool = False
) -> Work:
    """`dweight` (C, 1, KH, KW) and, if wanted, `dbias` (C), float32; with `add` these are added to what is there."""
    v = vector([x, dy])
    while v > 2 and v * (window.x.f + 4 + 1) > _REGISTERS:
        v //= 2
    across = min(4, power_of_two(dy.shape[2]))
    threads = max(window.y.f, 256 // window.y.f * window.y.f)
    wide, lane, wide_blocks = lanes(x.channels // v, threads // window.y.f, 16)
    # The room for the lanes' sums stays within what a block has.
    while lane > 1 and window.y.f * lane * (wide * v + 1) * 4 > 40 << 10:
        lane //= 2
    segments = dy.shape[0] * dy.shape[1] * blocks(dy.shape[2], across)
    chunks = max(1, min(blocks(segments, lane * 8), blocks(1024, wide_blocks)))
    columns = (window.taps + bias) * x.channels
    kernel = Kernel(
        "depthwise_weight",
        specialised(
            "depthwise_weight.cu",
            _sizes(x, dy, window)
            | _strides("X", x) | _strides("Y", dy)
            | {"V": v, "TX": across, "WIDE": wide, "LANES": lane, "WIDE_BLOCKS": wide_blocks, "CHUNKS": chunks}
            | {"HAS_BIAS": bias},
            {"T": x.dtype},
            [f"typedef {index_type([x, dy])} INDEX;"],
        ),
        ("x", "dy", "parts"),
        wide_blocks * chunks,
        (wide, lane, window.y.f),
        writes=("parts",),
    )  # fmt: skip
    names = ("parts", "dweight", "dbias" if bias else NONE)
    end = fold(1, chunks, columns, add=add, taps=window.taps, channels=x.channels, add_rest=add_bias, names=names)
    return Work(
        (kernel, end),
        {"parts": 4 * chunks * columns},
        x.bytes + dy.bytes,
        2 * window.taps * dy.size,
        f"{v}x{across}x{chunks}",
    )


def _reach(window: Window, across: int) -> dict[str, int]:
    """The first and last outputs, counted from a tile's own, that look at its inputs: SH rows, `across` SW columns."""
    found = {}
    for axis, name, count in ((window.y, "Y", 1), (window.x, "X", across)):
        found[f"FIRST_{name}"] = (axis.before - (axis.f - 1) * axis.d) // axis.s
        found[f"LAST_{name}"] = (axis.s * count - 1 + axis.before) // axis.s
    return found


def _sizes(x: View, y: View, window: Window) -> dict[str, int]:
    n, h, w, c = x.shape
    return {"N": n, "H": h, "W": w, "C": c, "OH": y.shape[1], "OW": y.shape[2]} | window.constants


def _strides(letter: str, view: View) -> dict[str, int]:
    return {f"{letter}_{axis}": stride for axis, stride in zip("NHW", view.strides, strict=True)}
