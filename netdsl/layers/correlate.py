"""The sum of products behind every convolution, and its two derivatives. Arrays as in netdsl/layers/patches.py.

    y[k, i] = sum over c, j of  w[k, c, j] * x[c, i * s + j * d]          x has its padding
    dw[k, c, j] = sum over i of  dy[k, i] * x[c, i * s + j * d]
    dx[c, i * s + j * d] += w[k, c, j] * dy[k, i]                         for all k, i, j

Legend: N batch, C channels of the input, K filters, G groups, f extents of the kernel, o extents of the output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

from netdsl.ir.layer import Array
from netdsl.layers.patches import MOST_PATCH_BYTES, blocks, windows
from netdsl.layers.sizes import Slide


def correlate(xp: Any, x: Array, weight: Array, slide: Sequence[Slide], groups: int = 1) -> Array:
    """y: (N, C, *padded) and (K, C / G, *f) to (N, K, *o), without bias.

    Patches are laid out as columns, a block of positions at a time, and multiplied with all filters at once, group by
    group: (G, K / G, C / G f) @ (G, C / G f, positions).
    """
    batch, filters = x.shape[0], weight.shape[0]
    taps = weight[0].size
    rows = weight.reshape(groups, filters // groups, taps)
    extents = windows(xp, x, slide).shape[2 : 2 + len(slide)]
    y = xp.empty((batch, filters, *extents), dtype=x.dtype)
    for image, block, columns in _columns(xp, x, slide, groups, taps):
        box = y[(image, slice(None), *block)].shape
        y[(image, slice(None), *block)] = xp.matmul(rows, columns).reshape(box)
    return y


def weight_gradient(xp: Any, dy: Array, x: Array, shape: Sequence[int], slide: Sequence[Slide], groups: int) -> Array:
    """dw: (N, K, *o) and (N, C, *padded) to `shape`, (K, C / G, *f)."""
    filters, taps = shape[0], prod(shape[1:])
    if filters == groups == x.shape[1]:
        return _depthwise_weight_gradient(xp, dy, x, shape, slide)
    dw = xp.zeros((groups, filters // groups, taps), dtype=x.dtype)
    for image, block, columns in _columns(xp, x, slide, groups, taps):
        # (G, K / G, positions) @ (G, positions, C / G f)
        part = dy[(image, slice(None), *block)].reshape(groups, filters // groups, columns.shape[2])
        dw += xp.matmul(part, columns.swapaxes(1, 2))
    return dw.reshape(tuple(shape))


def input_gradient(
    xp: Any, dy: Array, weight: Array, extents: Sequence[int], slide: Sequence[Slide], groups: int = 1
) -> Array:
    """dx: (N, K, *o) and (K, C / G, *f) to (N, C, *extents), the padding included; tap after tap."""
    batch, filters, *o = dy.shape
    width = weight.shape[1]
    dx = xp.zeros((batch, groups * width, *extents), dtype=dy.dtype)
    depthwise = width == 1 and filters == groups
    flat = dy.reshape(batch, groups, filters // groups, prod(o))
    # (K, C / G, *f) -> (*f, G, C / G, K / G)
    rows = weight.reshape(groups, filters // groups, *weight.shape[1:])
    rows = xp.ascontiguousarray(xp.moveaxis(rows, (0, 2, 1), (-3, -2, -1)))
    for tap, places in _taps(slide, o):
        if depthwise:
            part = dy * weight[(slice(None), 0, *tap)].reshape((1, -1) + (1,) * len(o))
        else:
            # (G, C / G, K / G) @ (N, G, K / G, positions)
            part = xp.matmul(rows[tap], flat).reshape(batch, groups * width, *o)
        dx[(slice(None), slice(None), *places)] += part
    return dx


def _columns(
    xp: Any, x: Array, slide: Sequence[Slide], groups: int, taps: int
) -> Iterator[tuple[int, tuple[slice, ...], Array]]:
    """The patches of each image, a block of positions at a time, as (G, C / G f, positions)."""
    k = len(slide)
    patches = windows(xp, x, slide)
    most = max(1, MOST_PATCH_BYTES // max(1, taps * groups * x.dtype.itemsize))
    for image in range(x.shape[0]):
        for block in blocks(patches.shape[2 : 2 + k], most):
            patch = patches[(image, slice(None), *block)]
            # (C, *o, *f) -> (C, *f, *o) -> (G, C / G f, positions)
            columns = patch.transpose(0, *range(1 + k, 1 + 2 * k), *range(1, 1 + k))
            yield image, block, columns.reshape(groups, taps, prod(patch.shape[1 : 1 + k]))


def _depthwise_weight_gradient(xp: Any, dy: Array, x: Array, shape: Sequence[int], slide: Sequence[Slide]) -> Array:
    """The same where every channel has one filter of its own: products of matrices would be of single rows."""
    dw = xp.empty(tuple(shape), dtype=x.dtype)
    axes = (0, *range(2, dy.ndim))
    for tap, places in _taps(slide, dy.shape[2:]):
        dw[(slice(None), 0, *tap)] = (dy * x[(slice(None), slice(None), *places)]).sum(axis=axes)
    return dw


def _taps(slide: Sequence[Slide], extents: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each tap of the kernel, and the positions of the padded input that it meets."""
    for tap in product(*(range(axis.f) for axis in slide)):
        starts = [j * axis.d for j, axis in zip(tap, slide, strict=True)]
        yield (
            tap,
            tuple(
                slice(start, start + (o - 1) * axis.s + 1, axis.s)
                for start, o, axis in zip(starts, extents, slide, strict=True)
            ),
        )
