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
