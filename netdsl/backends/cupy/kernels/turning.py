"""Batches on their way into the arena and out of it, turned around by a kernel."""

from __future__ import annotations

from math import prod
from typing import Any

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.kernels.launching import launch
from netdsl.backends.cupy.kernels.layout import turned
from netdsl.program.ir import Tensor


def turning(context: Context, tensor: Tensor, array: Any, *, out: bool) -> Launch:
    """Copies `array` (N, C, *spatial), float32 without gaps, into a tensor of the arena, or with `out` the other way.

    Raises ValueError where there is nothing to turn, where the tensor has gaps, or where no kernel can be had.
    """
    n, *spatial, c = tensor.shape
    positions = prod(spatial)
    if not tensor.dense or min(c, positions) < 1 or n < 1:
        raise ValueError(f"{tensor.name} is a part of another tensor, or empty")
    storage = context.precision.storage
    sides, types = ((positions, c), (storage, "float32")) if out else ((c, positions), ("float32", storage))
    work = turned(n, *sides, *types)
    here, there = context.address(tensor), context.device.address(array)
    addresses = {"x": here, "y": there} if out else {"x": there, "y": here}
    name = "kernel outputs" if out else "kernel inputs"
    return launch(name, work, context.device, context.workspace, addresses, (array,))
