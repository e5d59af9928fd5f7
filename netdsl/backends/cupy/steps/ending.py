"""What becomes of a result in float32 on its way to where it belongs: bias, residual, activation, rounding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netdsl.backends.cupy.axes import channels_first, channels_last
from netdsl.backends.cupy.context import Context
from netdsl.ir.layer import Layer
from netdsl.program.ir import Step

FLOAT = np.dtype(np.float32)


class Ending(NamedTuple):
    """target = activation(source + bias + residual)"""

    xp: Any
    y: Any
    """(N, *spatial, C), as it is stored."""
    bias: Any
    """(C) in float32, or None."""
    residual: Any
    """Of the shape of y, as it is stored, or None."""
    activation: Layer | None

    def finish(self, made: Any, place: Any = ..., there: bool = False) -> None:
        """`made` is float32 and is written over; `there`: it is the place itself."""
        if self.bias is not None:
            self.xp.add(made, self.bias, out=made)
        if self.residual is not None:
            self.xp.add(made, single(self.residual[place]), out=made)
        if self.activation is not None:
            self.y[place] = activated(self.xp, made, self.activation)
        elif not there:
            self.y[place] = made

    def turned(self, axis: int) -> Ending:
        """The same for results whose last axis is another one of y."""
        residual = None if self.residual is None else self.xp.moveaxis(self.residual, axis, -1)
        return self._replace(y=self.xp.moveaxis(self.y, axis, -1), residual=residual)


def ending(step: Step, context: Context, biased: bool = True) -> Ending:
    """The ending of a step; `biased`: its weights have a `bias` that is added."""
    bias = None
    if biased and "bias" in step.weights:
        bias = context.packed(step, "bias", lambda: step.weights["bias"], FLOAT)
    residual = None if step.residual is None else context.view(step.residual)
    return Ending(context.xp, context.view(step.output), bias, residual, step.activation)


def single(x: Any) -> Any:
    """The numbers in float32: the array itself where they are."""
    return x.astype(np.float32, copy=False)


def activated(xp: Any, x: Any, activation: Layer) -> Any:
    """An activation of one element, of an array (N, *spatial, C)."""
    return channels_last(activation.forward(xp, [channels_first(x)], {}))
