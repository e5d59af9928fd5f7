"""What becomes of the products of a convolution or a dense layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netdsl.backends.numpy.context import Context
from netdsl.backends.numpy.epilogue import Task, epilogue, halved
from netdsl.backends.numpy.memory import Array
from netdsl.ir.layer import Layer
from netdsl.program.ir import Step


class Ending(NamedTuple):
    """Where products go, and what is done on the way."""

    y: Array
    """(N, H, W, filters)"""
    bias: Array | None
    residual: Array | None
    activation: Layer | None
    half: bool

    def tasks(self, context: Context, source: Array, place: Any) -> list[Task]:
        """For a part of the map that has been computed: the calls that finish it."""
        residual = None if self.residual is None else self.residual[place]
        return epilogue(source, self.y[place], self.bias, residual, self.activation, context.scratch, self.half)

    def filters(self, some: slice) -> Ending:
        """The same for some of the filters."""
        bias = None if self.bias is None else self.bias[some]
        residual = None if self.residual is None else self.residual[..., some]
        return self._replace(y=self.y[..., some], bias=bias, residual=residual)

    def tiles(self, place: Any, tile: int, across: int) -> Ending:
        """A part of the map cut into square tiles, none of which hangs over: see `_cut`."""
        return self._replace(
            y=_cut(self.y[place], tile, across),
            residual=None if self.residual is None else _cut(self.residual[place], tile, across),
        )


def ending(step: Step, context: Context) -> tuple[np.float32, Ending]:
    """What to multiply the weights with, and the ending that goes with it."""
    half = halved(step)
    bias = step.weights.get("bias")
    residual = None if step.residual is None else context.maps(step.residual)
    made = Ending(context.maps(step.output), bias, residual, step.activation, half)
    if not half:
        return np.float32(1), made
    return np.float32(0.5), made._replace(bias=None if bias is None else bias / np.float32(2))


def _cut(part: Array, tile: int, across: int) -> Array:
    """(images, H, W, C) as a view (images, H / tile, tile, across, tile, C)."""
    n, h, w, c = part.strides
    shape = (part.shape[0], part.shape[1] // tile, tile, across, tile, part.shape[3])
    return as_strided(part, shape, (n, tile * h, h, tile * w, w, c))
