"""Copies between channels first and channels last."""

from __future__ import annotations

from math import ceil

from netdsl.backends.native.kernels.transpose import TransposeKernel
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import View


def transpose_step(name: str, view: View, inward: bool) -> NativeStep:
    """Between `view`, which is flat, and an array (N, C, positions) without gaps, whose address the caller fills in.

    Inward it is read (its address is the value `x`), else it is written (`out`).
    """
    positions, channels = view.height * view.width, view.channels
    ours = {"": view.address, "_image": view.image, "_position": view.pixel, "_channel": 4}
    theirs = {"": 0, "_image": 4 * channels * positions, "_position": 4, "_channel": 4 * positions}
    block = max(1, min(positions, ceil(4096 / channels)))
    blocks = ceil(positions / block)
    values = {f"x{key}": value for key, value in (theirs if inward else ours).items()}
    values |= {f"out{key}": value for key, value in (ours if inward else theirs).items()}
    values |= {"positions": positions, "channels": channels, "block": block, "blocks": blocks}
    return NativeStep(name, TransposeKernel(), values, view.images * blocks, 4 * view.pixels * channels)


def deal_step(name: str, x: View, out: View, groups: int) -> NativeStep:
    """Channels of `groups` equal slices dealt round, at each pixel; both are flat."""
    each = x.channels // groups
    values = {
        "x": x.address, "x_image": x.pixel, "x_position": 4, "x_channel": 4 * each,
        "out": out.address, "out_image": out.pixel, "out_position": 4 * groups, "out_channel": 4,
        "positions": each, "channels": groups, "block": each, "blocks": 1,
    }  # fmt: skip
    return NativeStep(name, TransposeKernel(), values, x.pixels, 4 * x.pixels * x.channels)


def flatten_step(name: str, x: View, out: View) -> NativeStep:
    """A map, which is flat, as a vector in the order of its channels first."""
    positions = x.height * x.width
    values = {
        "x": x.address, "x_image": x.image, "x_position": x.pixel, "x_channel": 4,
        "out": out.address, "out_image": out.image, "out_position": 4, "out_channel": 4 * positions,
        "positions": positions, "channels": x.channels, "block": positions, "blocks": 1,
    }  # fmt: skip
    return NativeStep(name, TransposeKernel(), values, x.images, 4 * x.pixels * x.channels)
