"""A few layers, and networks built from them by hand."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from netdsl.ir.layer import MANY, Array, Layer, LayerError, Weight
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType


class Tiny(Layer):
    category: ClassVar[str] = "fixed"
    reference: ClassVar[str] = "none"

    def infer(self, *inputs: TensorType) -> TensorType:
        return inputs[0]


class Input(Tiny):
    kind: ClassVar[str] = "input"


class Same(Tiny):
    """The identity, which hands its input on as it is."""

    kind: ClassVar[str] = "same"

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0]


class Add(Tiny):
    kind: ClassVar[str] = "add"
    arity = MANY

    def infer(self, *inputs: TensorType) -> TensorType:
        if any(given != inputs[0] for given in inputs):
            raise LayerError("E0304", f"add wants equal shapes, found {', '.join(map(str, inputs))}", "pad one of them")
        return inputs[0]

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return sum(inputs[1:], inputs[0])


class Double(Tiny):
    kind: ClassVar[str] = "double"

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0] * 2


class Scale(Tiny):
    """y = x * weight + offset, channel by channel; the offset is a buffer."""

    kind: ClassVar[str] = "scale"

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        channels = inputs[0].channels or 0
        return (
            Weight("weight", (channels, 1, 1), initial="kaiming"),
            Weight("offset", (channels, 1, 1), role="buffer"),
        )

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0] * weights["weight"] + weights["offset"]


class Halve(Tiny):
    """Every second row and column."""

    kind: ClassVar[str] = "halve"

    def infer(self, *inputs: TensorType) -> TensorType:
        channels, height, width = inputs[0].shape
        return TensorType((channels, *(None if extent is None else (extent + 1) // 2 for extent in (height, width))))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0][:, :, ::2, ::2]


class Call(Tiny):
    """Runs whatever a test wants to happen in a forward."""

    kind: ClassVar[str] = "call"
    act: Any

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return self.act(inputs[0])


def network(
    inputs: Mapping[str, tuple[int | None, ...]],
    steps: Sequence[tuple[str, Layer, tuple[str, ...]]],
    outputs: Mapping[str, str],
    addresses: Mapping[str, str] | None = None,
) -> Network:
    """A network from (name, layer, names of inputs) in execution order."""
    built = Network("tiny")
    for name, shape in inputs.items():
        built.add(Node(name, Input(), (), TensorType(shape), None, name, ()))
        built.inputs.append(name)
    for name, layer, sources in steps:
        type_ = layer.infer(*(built.type_of(source) for source in sources))
        built.add(Node(name, layer, sources, type_, None, (addresses or {}).get(name, name), ()))
    built.outputs.update(outputs)
    return built


def chain(shape: tuple[int | None, ...], *layers: Layer) -> Network:
    """image -> 0 -> 1 -> ..."""
    names = ["image", *map(str, range(len(layers)))]
    steps = [(names[i + 1], layer, (names[i],)) for i, layer in enumerate(layers)]
    return network({"image": shape}, steps, {"output": names[-1]})


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
