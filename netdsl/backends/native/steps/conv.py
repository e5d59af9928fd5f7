"""Convolution and dense layers: the register tile, the packed weights and the blocks for a shape."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.conv import ConvKernel
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned
from netdsl.backends.native.target import Target
from netdsl.weights.mapping import release

BLOCK_BYTES = 192 * 1024
"""What a block of tiles reads and writes: it stays in the second cache while all panels of weights pass."""
WHOLE_BYTES = 1024 * 1024
"""An input that is read as one block."""
TABLE_BYTES = 96 * 1024
"""Addresses of a block of tiles."""
_TURN_NUMBERS = 128 * 1024
"""Weights that are turned around at a time."""


@dataclass(frozen=True)
class Window:
    """How a kernel slides: (y, x) each. `before` is the padding in front; what lies outside the map is 0."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def point(self) -> bool:
        """Whether output pixel m reads input pixel m, where the maps are of the same size."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.before == (0, 0)


@dataclass(frozen=True)
class Tiling:
    """The register tile of a convolution: see `ConvKernel`."""

    rows: int
    rest: int
    vectors: int
    panels: int
    last: int
    count: int


def tiling(target: Target, pixels: int, filters: int) -> Tiling:
    """The tiles for `pixels` outputs of `filters` channels."""
    needed = ceil(filters / target.width)
    rows = min(target.rows, pixels)
    vectors = target.vectors
    if rows < target.rows:
        # Few pixels: more channels at a time keep as many sums in flight.
        registers = 32 if target.rows > 8 else 16
        vectors = max(1, min(8, (registers - 2) // (rows + 1)))
        if rows * vectors > registers - vectors - 2:
            vectors = max(1, vectors - 1)
    vectors = min(vectors, needed)
    whole = filters // (vectors * target.width)
    left = filters - whole * vectors * target.width
    last = ceil(left / target.width)
    count = left - (last - 1) * target.width if last else target.width
    return Tiling(rows, pixels % rows, vectors, whole + (1 if last else 0), last, count)


def pack(weight: Array, bias: Array | None, groups: int, tiles: Tiling, target: Target) -> tuple[Array, Array]:
    """Weights (K, C / G, y, x) as [group][panel][tap][channel][vectors * width], and the bias as [group][panels].

    The last panel of a group may be narrower. Channels that are not there count as zeros. What has been packed of a
    mapped file need not stay in memory beside it.
    """
    filters, channels, *extents = weight.shape
    each = filters // groups
    depth = channels * int(np.prod(extents, dtype=np.int64))
    wide = tiles.vectors * target.width
    whole = tiles.panels - (1 if tiles.last else 0)
    narrow = tiles.last * target.width
    columns = whole * wide + narrow
    packed = aligned(groups * depth * columns)
    biases = aligned(groups * columns)
    for group in range(groups):
        # (K, C, y, x) -> (y, x, C, K), a panel at a time: its weights stay in the cache while they are turned around.
        own = weight[group * each : (group + 1) * each].transpose(2, 3, 1, 0)
        out = packed[group * depth * columns : (group + 1) * depth * columns]
        for panel in range(whole):
            block = out[panel * depth * wide : (panel + 1) * depth * wide].reshape(*own.shape[:3], wide)
            part = slice(panel * wide, (panel + 1) * wide)
            _turn(own[..., part], block)
            release(weight[group * each : (group + 1) * each][part])
        if tiles.last:
            block = out[whole * depth * wide :].reshape(*own.shape[:3], narrow)
            _turn(own[..., whole * wide :], block[..., : each - whole * wide])
        if bias is not None:
            biases[group * columns : group * columns + each] = bias[group * each : (group + 1) * each]
    return packed, biases


def _inside_x(window: Window, x: View, out: View) -> bool:
    """Whether no tap lies left or right of the map."""
    last = (out.width - 1) * window.stride[1] - window.before[1] + (window.kernel[1] - 1) * window.dilation[1]
    return window.before[1] == 0 and last < x.width


def _turn(source: Array, out: Array) -> None:
    """Copies (y, x, C, K), some channels at a time where one pass would leave the cache."""
    y, x, channels, filters = source.shape
    chunk = max(1, _TURN_NUMBERS // (y * x * filters))
    for first in range(0, channels, chunk):
        out[:, :, first : first + chunk] = source[:, :, first : first + chunk]


def double_bits(value: float) -> int:
    """A double as the 64-bit integer with the same bits."""
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits


def conv_step(
    name: str,
    target: Target,
    x: View,
    out: View,
    window: Window,
    weight: Array,
    bias: Array | None,
    *,
    groups: int = 1,
    activation: Activation = (),
    residual: View | None = None,
    shares: int = 8,
    packs: dict[Any, Any] | None = None,
) -> NativeStep:
    """A convolution of `x` into `out`, which must be flat (as the residual): about `shares` units or more.

    `packs` keeps the packed weights by the step's name and their layout.
    """
    channels, each = x.channels // groups, out.channels // groups
    tiles = tiling(target, out.pixels, each)
    layout = (name, "tiles", target, tiles.vectors, tiles.panels, tiles.last)
    found = None if packs is None else packs.get(layout)
    packed, biases = found or pack(weight, bias, groups, tiles, target)
    if packs is not None:
        packs[layout] = (packed, biases)
    depth = channels * window.taps
    flat = window.point and x.flat and (x.height, x.width) == (out.height, out.width)
    kernel = ConvKernel(
        tiles.rows, tiles.rest, tiles.vectors, tiles.last, tiles.count < target.width, activation,
        residual is not None, flat,
    )  # fmt: skip
    count = ceil(out.pixels / tiles.rows)
    table = 8 * kernel.lanes * window.taps
    read = tiles.rows * window.stride[0] * window.stride[1] * x.channels * 4
    # Every block of pixels reads all weights: where these are the larger part, there is one block if it can be, and
    # threads share the panels first.
    heavy = depth * each > x.pixels * channels
    if heavy and 4 * x.pixels * x.channels <= WHOLE_BYTES:
        block = max(1, min(TABLE_BYTES // table, count))
    else:
        block = max(1, min(BLOCK_BYTES // (read + 4 * tiles.rows * out.channels), TABLE_BYTES // table, count))
    blocks = ceil(count / block)
    panel_blocks = min(tiles.panels, max(1, ceil(shares / (blocks * groups)))) if heavy else 1
    if blocks * groups * panel_blocks < shares and blocks < count:
        blocks = min(count, max(blocks, ceil(shares / (groups * panel_blocks))))
        block = ceil(count / blocks)
        blocks = ceil(count / block)
    panel_blocks = min(tiles.panels, max(1, ceil(shares / (blocks * groups))))
    block_panels = ceil(tiles.panels / panel_blocks)
    panel_blocks = ceil(tiles.panels / block_panels)
    kernel_x, run = window.kernel[1], channels
    if groups == 1 and x.pixel == 4 * channels and window.dilation[1] == 1 and _inside_x(window, x, out):
        # The taps of a row follow each other in memory: they are one.
        kernel_x, run = 1, channels * kernel_x
    zeros = aligned(run)
    columns = biases.size // groups
    values = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "x_group": 4 * channels,
        "height": x.height, "width": x.width, "zeros": zeros.ctypes.data,
        "out_height": out.height, "out_width": out.width,
        "inverse_height": double_bits(1 / out.height), "inverse_width": double_bits(1 / out.width),
        "stride_y": window.stride[0], "stride_x": window.stride[1],
        "pad_y": window.before[0], "pad_x": window.before[1],
        "dilation_y": window.dilation[0], "dilation_x": window.dilation[1],
        "kernel_y": window.kernel[0], "kernel_x": kernel_x,
        "k": run, "weight": packed.ctypes.data, "weight_panel": 4 * depth * tiles.vectors * target.width,
        "weight_group": 4 * depth * columns, "bias": biases.ctypes.data, "bias_group": 4 * columns,
        "out": out.address, "out_pixel": out.pixel, "out_group": 4 * each,
        "residual": residual.address if residual else 0, "residual_pixel": residual.pixel if residual else 0,
        "pixels": out.pixels, "tiles": count, "block_tiles": block, "blocks": blocks,
        "panels": tiles.panels, "block_panels": block_panels, "panel_blocks": panel_blocks, "count": tiles.count,
    }  # fmt: skip
    return NativeStep(
        name, kernel, values, blocks * groups * panel_blocks, 2 * out.pixels * each * groups * depth, block * table,
        (packed, biases, zeros),
    )  # fmt: skip
