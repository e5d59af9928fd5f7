"""What lowering a step needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.steps.conv import Window
from netdsl.backends.native.steps.view import View
from netdsl.backends.native.target import Target
from netdsl.ir.layer import Layer
from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.layers.activation import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    Relu,
    Relu6,
    ScaledTanh,
    Selu,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)  # fmt: skip
from netdsl.layers.sizes import Slide
from netdsl.program.ir import Step, Tensor


class NoKernelError(Exception):
    """There is no native kernel for this step; the reason is the text."""


@dataclass(frozen=True)
class Context:
    """`arena` is the address of the arena, `offsets` where each of its buffers begins in it (bytes).

    `packs` keeps packed weights, by what they were packed for.
    """

    target: Target
    threads: int
    arena: int
    offsets: Mapping[int, int]
    packs: dict[Any, Any]

    @property
    def shares(self) -> int:
        """Into how many units a step is cut at least, where it can be."""
        return 1 if self.threads == 1 else 4 * self.threads

    def view(self, tensor: Tensor) -> View:
        """Where a tensor lies. Raises NoKernelError for more than two spatial axes."""
        images, *spatial, channels = tensor.shape
        if len(spatial) > 2 or not tensor.type.shape:
            raise NoKernelError(f"{len(spatial)} spatial axes")
        strides = [BYTES_PER_ELEMENT * stride for stride in tensor.strides]
        height, width = [1, 1, *spatial][-2:] if spatial else (1, 1)
        pixel = strides[-2] if spatial else BYTES_PER_ELEMENT * channels
        row = strides[-3] if len(spatial) == 2 else width * pixel
        address = self.arena + self.offsets[tensor.buffer] + BYTES_PER_ELEMENT * tensor.offset
        return View(address, images, height, width, channels, strides[0], row, pixel)


def flat(view: View) -> View:
    """The same. Raises NoKernelError where pixels do not follow each other."""
    if not view.flat:
        raise NoKernelError("pixels with gaps of different sizes")
    return view


def window_of(slides: tuple[Slide, ...]) -> Window:
    """The window of one or two axes. Raises NoKernelError for more."""
    if len(slides) > 2:
        raise NoKernelError(f"{len(slides)} spatial axes")
    y, x = ((None, *slides) if len(slides) == 1 else slides)[-2:]
    assert x is not None
    if y is None:
        return Window((1, x.f), (1, x.s), (0, x.before), (1, x.d))
    return Window((y.f, x.f), (y.s, x.s), (y.before, x.before), (y.d, x.d))


def activation_of(layer: Layer | None) -> Activation:
    """The activation that a layer is. Raises NoKernelError for others."""
    if layer is None:
        return ()
    if isinstance(layer, Relu6):
        return ("clip", 0.0, 6.0)
    if isinstance(layer, LeakyRelu):
        return ("leaky_relu", float(layer.slope))
    if isinstance(layer, Elu):
        return ("elu", float(layer.alpha))
    if isinstance(layer, Gelu):
        return ("gelu_tanh",) if layer.approximate == "tanh" else ("gelu",)
    if isinstance(layer, ScaledTanh):
        return ("scaled_tanh", float(layer.amplitude), float(layer.slope))
    if isinstance(layer, _PLAIN):
        return (layer.kind,)
    raise NoKernelError(f"no code for the activation {layer.kind}")


_PLAIN: tuple[Any, ...] = (Relu, Selu, Silu, Sigmoid, HardSigmoid, HardSwish, Mish, Softplus, Tanh)


def plain(step: Step) -> None:
    """Raises NoKernelError for a step with a residual."""
    if step.residual is not None:
        raise NoKernelError("a residual")
