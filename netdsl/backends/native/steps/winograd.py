"""Winograd's convolution: where it pays, and the transformed weights."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.winograd import POINTS, WinogradKernel
from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned
from netdsl.backends.native.target import Target

PATCH_BYTES = 1024 * 1024
"""Transformed patches of a block: about half of the second cache."""
PRODUCT_BYTES = 4 * 1024 * 1024
"""Products of a block, which are written once and read once."""
LEAST_PATCHES = 12
"""With fewer, reading the transformed weights, which are four times as many, costs more than is saved."""
LARGE_BYTES = 12 * 1024 * 1024
LARGE_BYTES_MATRIX = 4 * 1024 * 1024
"""The same beside a matrix unit, which computes the direct form faster."""
LEAST_PATCHES_LARGE = 32
"""The same where the transformed weights do not fit into the caches."""
LEAST_GAIN = 2.2
"""Multiplications of the direct form for one of this."""

_G = np.array(
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
     [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
)  # fmt: skip

_BOTH = np.kron(_G, _G)
"""(36, 9): G g G' as one product with the nine numbers of g."""
_CHANNELS = 32
"""Channels whose weights are transformed at a time."""


def patches_of(out: View) -> int:
    """Patches of 4x4 outputs."""
    return out.images * ceil(out.height / 4) * ceil(out.width / 4)


def pays(window: Window, x: View, out: View, groups: int, target: Target) -> bool:
    """Whether this form is legal, and faster than the direct one."""
    if window.kernel != (3, 3) or window.stride != (1, 1) or window.dilation != (1, 1) or groups != 1:
        return False
    if x.channels % target.width or out.channels % target.width or x.channels < 32 or out.channels < 32:
        return False
    patches = patches_of(out)
    large = 4 * POINTS * x.channels * out.channels > (LARGE_BYTES_MATRIX if target.matrix else LARGE_BYTES)
    return (
        patches >= (LEAST_PATCHES_LARGE if large else LEAST_PATCHES)
        and out.pixels * 9 / (patches * POINTS) >= LEAST_GAIN
    )


def transform(weight: Array, wide: int) -> Array:
    """G g G' of (K, C, 3, 3), in double precision, as [panel of `wide` filters][36][C][filters of the panel]."""
    filters, channels = weight.shape[:2]
    packed = aligned(POINTS * channels * filters)
    for first in range(0, filters, wide):
        part = weight[first : first + wide]
        block = packed[POINTS * channels * first : POINTS * channels * (first + len(part))]
        block = block.reshape(POINTS, channels, len(part))
        for since in range(0, channels, _CHANNELS):
            # (K, C, 3, 3) -> (9, C K); then one product makes (36, C K), of as many channels as stay in the cache.
            some = part[:, since : since + _CHANNELS].transpose(2, 3, 1, 0)
            products = _BOTH @ some.astype(np.float64).reshape(9, -1)
            block[:, since : since + _CHANNELS] = products.reshape(POINTS, -1, len(part))
    return packed


def winograd_step(
    name: str,
    target: Target,
    x: View,
    out: View,
    window: Window,
    weight: Array,
    bias: Array | None,
    *,
    activation: Activation = (),
    residual: View | None = None,
    shares: int = 1,
    packs: dict[Any, Any] | None = None,
) -> NativeStep:
    """A convolution for which `pays` holds, in `shares` units or more where it can be.

    Units of the same patches transform them each for itself: `shares` is best as small as the number of threads.
    """
    channels, filters, width = x.channels, out.channels, target.width
    patches = patches_of(out)
    most = max(4 * target.rows, PATCH_BYTES // (POINTS * 4 * channels))
    blocks = ceil(patches / most)
    if blocks < shares and patches >= 4 * target.rows * shares:
        blocks = shares
    block = ceil(patches / blocks)
    blocks = ceil(patches / block)
    tiles = ceil(block / target.rows)
    rows = ceil(block / tiles)
    vectors = min(target.vectors, filters // width)
    wide = vectors * width
    layout = (name, "winograd", target, wide)
    packed = None if packs is None else packs.get(layout)
    if packed is None:
        packed = transform(weight, wide)
        if packs is not None:
            packs[layout] = packed
    biases, zeros = aligned(filters), aligned(max(channels, wide))
    if bias is not None:
        biases[:] = bias
    last = (filters % wide) // width
    panels = ceil(filters / wide)
    products = 4 * POINTS * block * filters
    panel_blocks = min(panels, max(ceil(shares / blocks), ceil(products / PRODUCT_BYTES)))
    block_panels = ceil(panels / panel_blocks)
    panel_blocks = ceil(panels / block_panels)
    room = tiles * rows
    kernel = WinogradKernel(rows, vectors, last, activation, residual is not None, min(tiles, 4))
    after = residual or out
    values = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "height": x.height, "width": x.width,
        "pad_y": window.before[0], "pad_x": window.before[1], "zeros": zeros.ctypes.data, "channels": channels,
        "out": out.address, "out_image": out.image, "out_row": out.row, "out_pixel": out.pixel,
        "out_height": out.height, "out_width": out.width, "residual": after.address, "residual_image": after.image,
        "residual_row": after.row, "residual_pixel": after.pixel, "weight": packed.ctypes.data,
        "weight_panel": 4 * POINTS * channels * wide, "bias": biases.ctypes.data, "nothing": zeros.ctypes.data,
        "patches": patches, "patches_x": ceil(out.width / 4),
        "patches_image": ceil(out.height / 4) * ceil(out.width / 4), "block": block, "room": room,
        "panels": panels, "block_panels": block_panels, "panel_blocks": panel_blocks, "vectors": filters // width,
    }  # fmt: skip
    scratch = 4 * POINTS * room * (channels + block_panels * wide) + 8 * tiles * kernel.lanes
    work = 2 * POINTS * patches * channels * filters
    return NativeStep(name, kernel, values, blocks * panel_blocks, work, scratch, (packed, biases, zeros))
