"""Depthwise convolutions of training by our CUDA kernels."""

from __future__ import annotations

from typing import Any

from netdsl.backends.cupy.kernels import depthwise
from netdsl.backends.cupy.kernels.depthwise import Window
from netdsl.backends.cupy.training.kernel_parts import KernelWork, known, undone
from netdsl.layers.conv import Convolution
from netdsl.program.training.ir import Backward, Forward


def window_of(step: Forward) -> Window:
    layer: Any = step.layer
    return Window.of(layer.slides(step.inputs[0].type))


def knows(step: Forward) -> bool:
    """Whether a step is a depthwise convolution of at most two axes, one filter a channel."""
    layer, channels = step.layer, step.inputs[0].shape[-1]
    groups = getattr(layer, "groups", channels)
    plain = isinstance(layer, Convolution) and layer.padding_mode == "zeros" and not layer.flip_kernel
    alone = groups == channels == step.output.shape[-1] and getattr(layer, "connections", None) is None
    return plain and alone and len(step.inputs[0].type.spatial) <= 2


def _taps(step: Forward, made: KernelWork) -> Any:
    """The weights (C, 1, *f) as (taps, C)."""

    def turned(weight: Any) -> Any:
        return weight.reshape(weight.shape[0], -1).transpose(1, 0)

    return made.bench.stored(step, "weight", "depthwise", turned)


def forward(step: Forward, made: KernelWork) -> None:
    window, x, y = window_of(step), made.view(step.inputs[0]), made.view(step.output)
    if not depthwise.fits(window):
        raise ValueError("a window that is too large to be unrolled")
    known(step.activation)
    tile = next(depthwise.tiles(x, y, window))
    weight = _taps(step, made)
    kernels = depthwise.forward(x, y, window, tile, bias="bias" in step.weights, activation=step.activation)
    addresses = made.at(x=step.inputs[0], y=step.output) | {"weight": made.array(weight)}
    if "bias" in step.weights:
        addresses["bias"] = made.array(made.bench.weight(step, "bias"))
    made.add("depthwise", kernels, addresses, weight)


def backward(step: Backward, made: KernelWork) -> None:
    ahead, bench, window = step.forward, made.bench, window_of(step.forward)
    if not depthwise.fits(window):
        raise ValueError("a window that is too large to be unrolled")
    if step.dz is not None:
        undone(made, step.dy, ahead.output, step.dz, ahead.activation)
    dy = step.dz or step.dy
    if "weight" in step.wanted:
        kernels = depthwise.weight_gradient(
            made.view(ahead.inputs[0]), made.view(dy), window, bias="bias" in step.wanted,
            add="weight" in step.add_to, add_bias="bias" in step.add_to,
        )  # fmt: skip
        addresses = made.at(x=ahead.inputs[0], dy=dy)
        addresses |= {f"d{name}": made.array(bench.gradient(ahead, name)) for name in step.wanted}
        made.add("d depthwise weight", kernels, addresses)
    elif step.wanted:
        raise ValueError("a gradient of the bias alone")
    if step.dx[0] is not None:
        plus = step.plus[0]
        kernels = depthwise.input_gradient(
            made.view(dy), made.view(step.dx[0]), window, None if plus is None else made.view(plus)
        )
        weight = _taps(ahead, made)
        addresses = made.at(dy=dy, dx=step.dx[0], plus=plus) | {"weight": made.array(weight)}
        made.add("d depthwise", kernels, addresses, weight)
