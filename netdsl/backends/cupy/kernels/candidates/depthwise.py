"""Depthwise convolutions: a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netdsl.backends.cupy.kernels import depthwise
from netdsl.backends.cupy.kernels.candidates.base import Family, Form, Pack, function_of, vector_pack, view
from netdsl.backends.cupy.kernels.depthwise import Window
from netdsl.program.ir import Step, Tensor

MOST_VARIANTS = 6


def window_of(step: Step) -> Window:
    """How the window slides. Raises ValueError where no kernel computes the step."""
    layer: Any = step.layer
    x, y = step.inputs[0], step.output
    if layer.padding_mode != "zeros" or layer.flip_kernel or "weight" not in step.weights:
        raise ValueError("a form of convolution that only the layer itself knows")
    if x.type.channels != y.type.channels or getattr(layer, "groups", x.type.channels) != x.type.channels:
        raise ValueError("no filter for each channel")
    slides = layer.slides(x.type)
    if len(slides) > 2:
        raise ValueError("more than two spatial axes")
    window = Window.of(slides)
    if not depthwise.fits(window):
        raise ValueError(f"a window of {window.y.f}x{window.x.f} taps, which is too large to unroll")
    return window


def weights_of(step: Step, storage: str) -> dict[str, Pack]:
    """Taps first, and the bias."""
    found = {"weight": Pack(step, "taps", lambda: _taps_first(step), storage)}
    return found | ({"bias": vector_pack(step, "bias")} if "bias" in step.weights else {})


def _taps_first(step: Step) -> Any:
    weight = step.weights["weight"]
    return weight.reshape(weight.shape[0], -1).T


class Depthwise(Family):
    name = "depthwise"
    kinds = frozenset({"depthwise_conv"})

    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        (step,) = steps
        window, activation = window_of(step), function_of(step.activation)
        x, y = view(step.inputs[0], storage), view(step.output, storage)
        residual = None if step.residual is None else view(step.residual, storage)
        tensors: dict[str, Tensor] = {"x": step.inputs[0], "y": step.output}
        if step.residual is not None:
            tensors["residual"] = step.residual
        found = []
        for tile in list(depthwise.tiles(x, y, window, residual))[:MOST_VARIANTS]:
            work = depthwise.forward(
                x, y, window, tile, bias="bias" in step.weights, activation=activation, residual=residual
            )
            found.append(Form(work, tensors, weights_of(step, storage), work.tile))
        return found


CANDIDATE = Depthwise()
