"""What the two directions of a step need of each other: tensors that are read again, numbers that are saved.

Layers say it themselves (`Layer.keeps`). Here stands what is narrower than that because every executor computes these
layers in a form of its own, and which results may lie over what a step reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from netdsl.ir.layer import Layer, LayerError
from netdsl.ir.types import BYTES_PER_ELEMENT, TensorType
from netdsl.layers.activation import Activation, Prelu
from netdsl.layers.conv import AnyConvolution
from netdsl.layers.dense import Dense
from netdsl.layers.join import Add, Average, Join, Magnitude
from netdsl.layers.norm import BatchNorm, FrozenBatchNorm
from netdsl.layers.pool import MaxPool
from netdsl.layers.reshape import Flatten, Reshape
from netdsl.passes import Fused

MOMENTS = 4
"""Numbers that batch norm saves for each channel: the mean, one over the deviation, and the scale and shift that they
make with its weights."""
MOST_TAPS = 255
"""Taps of a max pool whose number fits into a byte."""


class Reads(NamedTuple):
    """Whose numbers the backward of a step reads."""

    inputs: bool
    output: bool


def parts(layer: Layer) -> tuple[Layer, bool, Layer | None]:
    """The core of a layer, whether a residual is added, and the activation behind it."""
    if isinstance(layer, Fused):
        return layer.core, layer.residual, layer.activation
    return layer, False, None


def reads(layer: Layer, wanted: frozenset[str], inputs: Sequence[TensorType]) -> Reads:
    """What the backward of `layer` (maybe a fused one) reads where the weights in `wanted` get a gradient."""
    core, residual, activation = parts(layer)
    if isinstance(core, BatchNorm):
        again = activation is not None and not residual
        return Reads(learns(core) or again, activation is not None and residual)
    by_core = Reads("inputs" in core.keeps, "output" in core.keeps and activation is None)
    if isinstance(core, AnyConvolution | Dense):
        by_core = Reads("weight" in wanted and "inputs" in core.keeps, False)
    if saves_places(core, inputs):
        by_core = Reads(False, False)
    if activation is None:
        return by_core
    return Reads(by_core.inputs, True)


def saves_places(layer: Layer, inputs: Sequence[TensorType]) -> bool:
    """Whether a max pool notes which tap of each window was the largest, a byte each."""
    if not isinstance(layer, MaxPool) or len(inputs[0].spatial) > 2:
        return False
    return prod(axis.f for axis in layer.slides(inputs[0])) <= MOST_TAPS


def saved(layer: Layer, inputs: Sequence[TensorType], output: TensorType, batch: int) -> dict[str, tuple[int, int]]:
    """What the forward of `layer` leaves for its backward: name -> (how many items, bytes of each)."""
    core, _, _ = parts(layer)
    if isinstance(core, BatchNorm):
        return {"moments": (MOMENTS * (inputs[0].channels or 0), BYTES_PER_ELEMENT)}
    if saves_places(core, inputs):
        return {"places": (batch * (output.elements or 0), 1)}
    return {}


def shares_gradient(layer: Layer, inputs: Sequence[TensorType], output: TensorType) -> bool:
    """Whether the gradient of every input is that of the output, number for number: a sum of equal shapes."""
    return isinstance(layer, Add) and all(type_ == output for type_ in inputs)


def twice(core: Layer) -> bool:
    """Whether the backward of a layer goes over its input a second time, so that it computes again what an activation
    took."""
    return isinstance(core, BatchNorm)


def learns(core: Layer) -> bool:
    """Whether a batch norm normalises by the statistics of the batch."""
    return isinstance(core, BatchNorm) and not isinstance(core, FrozenBatchNorm)


def adds(layer: Layer) -> bool:
    """Whether the backward of a layer adds to a gradient that is there at no cost."""
    core, _, _ = parts(layer)
    return isinstance(core, AnyConvolution | Dense)


def is_view(layer: Layer) -> bool:
    """Whether a layer may be another shape of the same memory."""
    return isinstance(layer, Flatten | Reshape)


def by_element(layer: Layer) -> bool:
    """Whether each number of the output depends on those at the same place of the inputs alone."""
    core, _, _ = parts(layer)
    if isinstance(core, Average | Magnitude):
        return False  # they work in several sweeps
    return isinstance(core, Activation | Join | BatchNorm) and not isinstance(core, Prelu)


def check_batch(layer: Layer, x: TensorType, batch: int) -> None:
    """Raises LayerError E0953 where a batch norm would have a single value for each channel."""
    core, _, _ = parts(layer)
    if learns(core) and batch * (x.elements or 0) == (x.channels or 0):
        raise LayerError(
            "E0953",
            f"batch_norm in training has a single value for each channel: one image of {x}",
            "take batches of more than one image, or freeze this layer",
        )
