"""Convolution with the matrix unit: where it pays, the order of the weights, and the blocks for a shape."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.amx import CONFIG_BYTES, DEPTH, PANEL, ROWS, STEP, SUMS, WEIGHTS, AmxKernel
from netdsl.backends.native.steps.conv import Window, double_bits
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned
from netdsl.backends.native.target import Target
from netdsl.weights.mapping import release

BLOCK_BYTES = 768 * 1024
"""Inputs and sums of a block: they stay in the second cache while the weights pass."""
CHUNK = 4
"""Steps of the depth at a time."""
LEAST_PIXELS = 192
"""With fewer, reading and splitting the weights takes most of the time."""
LEAST_HALVES = 6
"""Tiles of 16 pixels for which a thread splits all weights."""
BLOCK_HALVES = 8
"""So many are a good block."""
SHARE = 4
"""So many tiles of pixels together fetch the next panel of weights."""
_SPLIT, _PRODUCT, _FINISH = 76, 140, 31
"""Nanoseconds to split 32 pixels of 32 channels, to multiply them with 32 filters, and to finish so many sums."""
_VECTOR = 170
"""Operations in a nanosecond without the unit."""
_GAIN = 1.25
"""How much faster it must be."""


def pays(x: View, out: View, window: Window, groups: int, target: Target) -> bool:
    """Whether there is a matrix unit, and it is faster than vectors."""
    if not target.matrix or out.pixels < LEAST_PIXELS:
        return False
    channels, filters = x.channels // groups, out.channels // groups
    steps, panels = window.taps * ceil(channels / DEPTH), ceil(filters / (PANEL // 2)) / 2
    time = steps * (_SPLIT + _PRODUCT * panels) + _FINISH * panels
    return _GAIN * time < 2 * ROWS * channels * window.taps * filters / _VECTOR


def pack(weight: Array, bias: Array | None, groups: int, chunk: int) -> tuple[Array, Array]:
    """Weights (K, C / G, y, x) as [group][chunk][panel][step][2][16 channels][2][16 filters].

    A step is a tap of 32 channels, a chunk has so many steps; a panel has 2 x 16 filters, and channel c lies beside
    c + 16. What is not there counts as zero; so in the bias, [group][panels of 32]. What has been packed of a mapped
    file need not stay in memory beside it.
    """
    filters, channels, height, width = weight.shape
    each, taps = filters // groups, height * width
    panels, blocks = ceil(each / PANEL), ceil(channels / DEPTH)
    packed = aligned(groups * panels * taps * blocks * WEIGHTS // 4)
    places = packed.reshape(groups, taps * blocks * panels, 2, DEPTH // 2, 2, PANEL // 2)
    biases = aligned(groups * panels * PANEL)
    steps = np.arange(taps * blocks)
    begins = steps // chunk * chunk
    lengths = np.minimum(chunk, taps * blocks - begins)
    for group in range(groups):
        for panel in range(panels):
            first, end = group * each + panel * PANEL, group * each + min(each, (panel + 1) * PANEL)
            block = np.zeros((PANEL, blocks * DEPTH, taps), dtype=np.float32)
            block[: end - first, :channels] = weight[first:end].reshape(end - first, channels, taps)
            # (2 x 16 filters, blocks x 2 x 16 channels, taps) -> (taps, blocks, 2, 16 channels, 2, 16 filters)
            turned = block.reshape(2, PANEL // 2, blocks, 2, DEPTH // 2, taps).transpose(5, 2, 0, 4, 3, 1)
            places[group, begins * panels + panel * lengths + steps - begins] = turned.reshape(-1, *places.shape[2:])
            release(weight[first:end])
            if bias is not None:
                start = (group * panels + panel) * PANEL
                biases[start : start + end - first] = bias[first:end]
    return packed, biases


def _configuration() -> Array:
    """The shapes of the eight tiles: 16 rows of 64 bytes each."""
    config: Array = aligned(CONFIG_BYTES // 4).view(np.uint8)
    config[0] = 1  # the palette
    config[16:32].view(np.uint16)[:] = 64
    config[48:56] = 16
    return config


def amx_step(
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
    shares: int = 4,
    packs: dict[Any, Any] | None = None,
) -> NativeStep:
    """A convolution of `x` into `out`, which must be flat (as the residual): about `shares` units or more.

    `packs` keeps the weights by the step's name and their layout.
    """
    channels, each = x.channels // groups, out.channels // groups
    steps_tap, panels = ceil(channels / DEPTH), ceil(each / PANEL)
    steps = window.taps * steps_tap
    chunk = ceil(steps / ceil(steps / CHUNK))
    waits = chunk < steps
    layout = (name, "amx", chunk)
    found = None if packs is None else packs.get(layout)
    packed, biases = found or pack(weight, bias, groups, chunk)
    if packs is not None:
        packs[layout] = (packed, biases)
    # Threads share the pixels where each has enough of them for the weights that it splits; else they share the panels.
    half = ROWS // 2
    halves = ceil(out.pixels / half)
    tile_bytes = STEP * chunk + (SUMS * panels if waits else 0) + 8 * ROWS * window.taps
    blocks = max(1, ceil(halves / 2 * tile_bytes / BLOCK_BYTES))
    threads = max(1, shares // 4)
    by_pixels = halves >= LEAST_HALVES * threads
    if by_pixels:
        blocks = max(blocks, min(shares, halves // BLOCK_HALVES))
        blocks = min(halves, threads * ceil(blocks / threads))
    parts = 1 if by_pixels else threads
    block_panels = ceil(panels / min(panels, ceil(parts / (blocks * groups))))
    panel_blocks = ceil(panels / block_panels)
    tiles = ceil(ceil(halves / blocks) / 2)
    wide = 1 if each <= PANEL // 2 else 2
    odd = each % PANEL
    last = 0 if not odd or (wide == 1 and each == PANEL // 2) else ceil(odd / (PANEL // 2))
    inside = (odd - 1) % (PANEL // 2) + 1 if odd else PANEL // 2
    flat = window.point and x.flat and (x.height, x.width) == (out.height, out.width)
    kernel = AmxKernel(
        wide, last, inside < PANEL // 2, channels % DEPTH != 0, activation, residual is not None, flat,
        min(SHARE, tiles),
    )  # fmt: skip
    zeros = aligned(steps_tap * DEPTH)
    config = _configuration()
    weights_at = 8 * ROWS * window.taps * tiles
    inputs_at = weights_at + STEP * chunk
    sums_at = inputs_at + STEP * chunk * tiles
    values = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "x_group": 4 * channels,
        "height": x.height, "width": x.width, "zeros": zeros.ctypes.data,
        "out_height": out.height, "out_width": out.width,
        "inverse_height": double_bits(1 / out.height), "inverse_width": double_bits(1 / out.width),
        "stride_y": window.stride[0], "stride_x": window.stride[1],
        "pad_y": window.before[0], "pad_x": window.before[1],
        "dilation_y": window.dilation[0], "dilation_x": window.dilation[1],
        "kernel_y": window.kernel[0], "kernel_x": window.kernel[1],
        "channels": channels, "steps_tap": steps_tap, "steps": steps, "chunk": chunk,
        "weight": packed.ctypes.data, "weight_group": panels * steps * WEIGHTS,
        "bias": biases.ctypes.data, "bias_group": 4 * panels * PANEL,
        "out": out.address, "out_pixel": out.pixel, "out_group": 4 * each,
        "residual": residual.address if residual else 0, "residual_pixel": residual.pixel if residual else 0,
        "config": config.ctypes.data, "pixels": out.pixels, "halves": halves, "blocks": blocks,
        "panels": panels, "block_panels": block_panels, "panel_blocks": panel_blocks, "count": inside,
        "weights_at": weights_at, "inputs_at": inputs_at, "sums_at": sums_at,
        "sums_tile": SUMS * block_panels if waits else 0, "sums_panel": SUMS if waits else 0,
    }  # fmt: skip
    scratch = sums_at + (SUMS * tiles * block_panels if waits else SUMS)
    work = 2 * out.pixels * each * groups * channels * window.taps
    return NativeStep(
        name, kernel, values, blocks * groups * panel_blocks, work, scratch, (packed, biases, zeros, config)
    )
