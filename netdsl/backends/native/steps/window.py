"""Depthwise convolution and pools: the block of pixels and the inner range for a shape."""

from __future__ import annotations

from math import ceil

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.window import Operation, WindowKernel
from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned
from netdsl.backends.native.target import Target

LARGEST = 11
"""Taps along x of windows whose code is written out."""


def blocks(target: Target, window: Window, width: int, out_width: int) -> tuple[int, int, int]:
    """Pixels that are computed together (0 where one by one), and the columns outside the map that the first block of a
    row lacks on the left and the last one on the right."""
    most = 8 if target.rows > 8 else 4
    kernel, stride, before = window.kernel[1], window.stride[1], window.before[1]
    if kernel > LARGEST:
        return 0, 0, 0
    # As few blocks as can be, and as little computed twice.
    count = ceil(out_width / most)
    block = ceil(out_width / count)
    reach = (kernel - 1) * window.dilation[1]

    def end(column: int) -> int:
        """The last column of the input that the block which begins at `column` reads."""
        return (column + block - 1) * stride - before + reach

    last = out_width - block
    right = max(0, end(last) - width + 1)
    inside = count == 1 or (min(block, last) * stride >= before and end((count - 2) * block) < width)
    return (block, before, right) if inside else (0, 0, 0)


def window_step(
    name: str,
    target: Target,
    operation: Operation,
    x: View,
    out: View,
    window: Window,
    *,
    weight: Array | None = None,
    bias: Array | None = None,
    inverse: Array | None = None,
    activation: Activation = (),
    shares: int = 8,
) -> NativeStep:
    """`weigh`: weight (C, 1, y, x) and bias (C) or none. `mean`: `inverse` of shape (out height, out width) is what the
    sum of each window is multiplied by."""
    channels, width = x.channels, target.width
    block, left, right = blocks(target, window, x.width, out.width)
    kernel = WindowKernel(
        operation, block, *((window.kernel[1], window.stride[1], window.dilation[1]) if block else (0, 0, 0)),
        left, right, block == out.width, channels % width != 0, activation,
    )  # fmt: skip
    lanes = ceil(channels / width)
    weights, biases = aligned(0), aligned(0)
    if operation == "weigh":
        assert weight is not None
        weights, biases = aligned(window.taps * lanes * width), aligned(lanes * width)
        weights.reshape(window.taps, -1)[:, :channels] = weight.reshape(channels, window.taps).T
        if bias is not None:
            biases[:channels] = bias
    inverses = aligned(0)
    if operation == "mean":
        assert inverse is not None
        inverses = aligned(out.height * out.width)
        inverses[:] = np.asarray(inverse, dtype=np.float32).reshape(-1)
    rows = out.images * out.height
    chunks = min(lanes, max(1, ceil(shares / rows)))
    chunk = ceil(lanes / chunks) * width
    chunks = ceil(channels / chunk)
    values = {
        "x": x.address, "x_image": x.image, "x_row": x.row, "x_pixel": x.pixel, "height": x.height, "width": x.width,
        "out": out.address, "out_image": out.image, "out_row": out.row, "out_pixel": out.pixel,
        "out_height": out.height, "out_width": out.width, "stride_y": window.stride[0], "stride_x": window.stride[1],
        "pad_y": window.before[0], "pad_x": window.before[1], "dilation_y": window.dilation[0],
        "dilation_x": window.dilation[1], "kernel_y": window.kernel[0], "kernel_x": window.kernel[1],
        "weight": weights.ctypes.data, "weight_tap": 4 * lanes * width, "bias": biases.ctypes.data,
        "inverse": inverses.ctypes.data, "channels": channels, "chunk": chunk, "chunks": chunks,
    }  # fmt: skip
    work = 2 * out.pixels * channels * window.taps
    return NativeStep(name, kernel, values, rows * chunks, work, 0, (weights, biases, inverses))
