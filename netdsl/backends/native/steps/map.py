"""Element by element: which operands move with the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.map import MOST_OPERANDS, MapKernel
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import View
from netdsl.backends.native.target import Target

CHUNK = 2048
"""Numbers that are taken at a time where the operands have nothing between them."""


def map_step(
    name: str,
    target: Target,
    operation: str,
    operands: Sequence[View],
    out: View,
    *,
    activation: Activation = (),
    keep: tuple[Any, ...] = (),
) -> NativeStep:
    """Operands are as large as `out`, or 1 along the images, the map (as a whole) or the channels.

    All must be flat. Raises ValueError for what does not fit or has too many operands.
    """
    if not 0 < len(operands) <= MOST_OPERANDS:
        raise ValueError(f"{len(operands)} operands")
    for view in (*operands, out):
        if not view.flat:
            raise ValueError("an operand is not flat")
    size = out.height * out.width
    for view in operands:
        if (
            view.images not in (1, out.images)
            or view.height * view.width not in (1, size)
            or (view.height * view.width == size and size > 1 and (view.height, view.width) != (out.height, out.width))
            or view.channels not in (1, out.channels)
        ):
            raise ValueError("an operand does not fit")
    scalar = tuple(view.channels == 1 and out.channels > 1 for view in operands)
    images, pixels, channels = out.images, size, out.channels
    steps = [
        (view.image if view.images > 1 else 0, view.pixel if view.height * view.width > 1 else 0) for view in operands
    ]
    out_step = (out.image, out.pixel)
    run, total = 0, channels
    if out.dense and all(view.dense and view.pixels == out.pixels for view in operands) and not any(scalar):
        # One run of numbers, cut where it is convenient.
        count = images * pixels * channels
        images, pixels, channels = 1, ceil(count / CHUNK), min(count, CHUNK)
        steps = [(0, 4 * CHUNK)] * len(operands)
        out_step = (0, 4 * CHUNK)
        run, total = CHUNK, count
    block = max(1, min(ceil(pixels / 16), ceil(16384 / channels)))
    blocks = ceil(pixels / block)
    values = dict.fromkeys(MapKernel.fields, 0) | {
        "out": out.address, "out_image": out_step[0], "out_pixel": out_step[1],
        "pixels": pixels, "block": block, "blocks": blocks, "channels": channels,
        "run": run, "total": total,
    }  # fmt: skip
    for i, (view, (image, pixel)) in enumerate(zip(operands, steps, strict=True)):
        values |= {f"x{i}": view.address, f"x{i}_image": image, f"x{i}_pixel": pixel}
    masked = bool(channels % target.width) or bool(total % target.width)
    kernel = MapKernel(operation, scalar, masked, activation)
    return NativeStep(name, kernel, values, images * blocks, len(operands) * out.pixels * out.channels, 0, keep)
