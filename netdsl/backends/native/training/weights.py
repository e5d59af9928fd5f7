"""The gradient of a convolution's weight: tiles, blocks and chunks for a shape."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil

from netdsl.backends.native.lower.context import NoKernelError
from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View
from netdsl.backends.native.training.context import Training, address
from netdsl.backends.native.training.kernels.spread import BorderKernel
from netdsl.backends.native.training.kernels.weights import FoldKernel, WeightsKernel

FEW_CHANNELS = 16
"""Channels below which a tile takes several taps."""
BLOCK_BYTES = 512 * 1024
"""What the positions of a block take in x and dy."""
MOST_POSITIONS = 1024
FOLD_NUMBERS = 288
"""Numbers of a filter that are turned around at a time: 18 KiB for a vector of 16."""
SUMS_BYTES = 16 * 1024 * 1024
"""What the sums of all chunks may take."""


def weight_steps(
    training: Training, name: str, x: View, dy: View, window: Window, gradient: Array, *, add: bool
) -> list[NativeStep]:
    """d(weight) of shape (K, C, *f), from `x` and the flat `dy`, written or added."""
    target = training.target
    channels, filters, taps = x.channels, dy.channels, window.taps
    made: list[NativeStep] = []
    scattered = channels < FEW_CHANNELS
    if scattered:
        x, window, made = _bordered(training, name, x, dy, window)
    rows, tiles = _tiles(training, x, window, scattered)
    vectors = min(target.vectors, ceil(filters / target.width))
    wide = vectors * target.width
    panels = ceil(filters / wide)
    left = filters % wide
    last = ceil(left / target.width)
    sums_row = 4 * target.width * ceil(filters / target.width)
    depth = taps * channels
    lines = dy.images * dy.height
    shares = training.context.shares
    part_panels = ceil(panels / min(panels, shares))
    parts = ceil(panels / part_panels)
    chunks = max(1, min(ceil(shares / parts), lines, SUMS_BYTES // (depth * sums_row)))
    bytes_each = 4 * (channels * window.stride[0] * window.stride[1] + part_panels * wide)
    positions = max(64, min(MOST_POSITIONS, BLOCK_BYTES // bytes_each))
    block = max(1, positions // dy.width)
    sums = training.take(chunks * depth * sums_row // 4)
    values = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "height": x.height, "width": x.width,
        "dy": dy.address, "dy_pixel": dy.pixel, "out_height": dy.height, "out_width": dy.width,
        "stride_y": window.stride[0], "stride_x": window.stride[1], "pad_y": window.before[0],
        "pad_x": window.before[1], "dilation_y": window.dilation[0], "dilation_x": window.dilation[1],
        "kernel_y": window.kernel[0], "kernel_x": window.kernel[1], "lines": lines, "block": block, "chunks": chunks,
        "parts": parts,
        "panels": panels, "part_panels": part_panels, "sums": sums, "chunk": depth * sums_row,
        "sums_row": sums_row, "depth": depth,
        "tiles": tiles, "channels": channels, "count": left - (last - 1) * target.width if last else target.width,
    }  # fmt: skip
    kernel = WeightsKernel(rows, scattered, vectors, last, left % target.width != 0)
    work = 2 * dy.pixels * filters * depth
    scratch = 64 + 16 * block * dy.width
    made.append(NativeStep(name, kernel, values, chunks * parts, work, scratch))
    return [*made, fold_step(training, name, sums, chunks, sums_row, channels, filters, taps, gradient, add)]


def fold_step(
    training: Training, name: str, sums: int, chunks: int, sums_row: int, channels: int, filters: int, taps: int,
    gradient: Array, add: bool,
) -> NativeStep:  # fmt: skip
    """The sums of all chunks, in the order of the weight."""
    target = training.target
    columns = ceil(filters / target.width)
    blocks = max(ceil(channels * taps / FOLD_NUMBERS), min(channels, ceil(4 * training.threads / columns)))
    block = ceil(channels / blocks)
    blocks = ceil(channels / block)
    values = {
        "sums": sums, "chunks": chunks, "chunk": taps * channels * sums_row, "sums_row": sums_row, "channels": channels,
        "tap_count": taps, "gradient": address(gradient), "filters": filters, "block": block, "blocks": blocks,
    }  # fmt: skip
    work = 4 * channels * filters * taps * chunks
    scratch = FoldKernel.scratch(target, block, taps)
    return NativeStep(name, FoldKernel(add), values, columns * blocks, work, scratch, (gradient,))


def _tiles(training: Training, x: View, window: Window, scattered: bool) -> tuple[tuple[tuple[int, ...], ...], int]:
    """The rows of the tiles, and how many tiles a tap has."""
    most = training.target.rows
    if not scattered:
        tiles = ceil(x.channels / most)
        size = ceil(x.channels / tiles)
        tiles = ceil(x.channels / size)
        whole = tuple(range(0, 4 * size, 4))
        rest = x.channels - (tiles - 1) * size
        return ((whole,) if rest == size else (whole, whole[:rest])), tiles
    offsets = [
        i * window.dilation[0] * x.row + j * window.dilation[1] * x.pixel + 4 * channel
        for i in range(window.kernel[0]) for j in range(window.kernel[1]) for channel in range(x.channels)
    ]  # fmt: skip
    tiles = ceil(len(offsets) / most)
    cuts = [len(offsets) * tile // tiles for tile in range(tiles + 1)]
    return tuple(tuple(offsets[low:high]) for low, high in pairwise(cuts)), 1


def _bordered(
    training: Training, name: str, x: View, dy: View, window: Window
) -> tuple[View, Window, list[NativeStep]]:
    """The map with as much around it that no tap lies outside."""
    reach = [
        (out - 1) * stride + (kernel - 1) * dilation + 1
        for out, stride, kernel, dilation in zip(
            (dy.height, dy.width), window.stride, window.kernel, window.dilation, strict=True
        )
    ]  # fmt: skip
    if min(window.before) < 0:
        raise NoKernelError("windows that begin inside the map")
    plain = replace(window, before=(0, 0))
    if window.before == (0, 0) and reach[0] <= x.height and reach[1] <= x.width:
        return x, plain, []
    if not x.dense and (x.pixel != 4 * x.channels):
        raise NoKernelError("a map with gaps")
    height = max(reach[0], window.before[0] + x.height)
    width = max(reach[1], window.before[1] + x.width)
    larger = training.scratch_view(x.images, height, width, x.channels)
    values = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "numbers": x.width * x.channels, "height": x.height,
        "out": larger.address, "out_height": height, "out_row": width * x.channels, "above": window.before[0],
        "before": window.before[1] * x.channels,
    }  # fmt: skip
    step = NativeStep(name, BorderKernel(), values, x.images * height, larger.pixels * x.channels)
    return larger, plain, [step]
