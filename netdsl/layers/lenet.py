"""Layers of LeNet-5 as it was in 1998 that nothing else uses: trained subsampling, and distances to fixed pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, Passed, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.axes import known, per_channel, sum_per_channel
from netdsl.layers.conv import window_of
from netdsl.layers.dense import features
from netdsl.layers.patches import MOST_PATCH_BYTES, blocks, reduced, sum_gradient, type_of
from netdsl.layers.sizes import Count, Slide, Steps, slides
from netdsl.layers.values import Values, stated


class Subsample(Layer):
    """Trained subsampling: y_c = weight_c * (sum of the window of x_c) + bias_c; windows do not overlap.

    (C, *spatial) to (C, floor(n / f), ...). Owns `weight` and `bias` of shape (C): two trainable parameters for each
    map. A fresh weight is 1 / window, which makes the mean. FLOPs for each output: window - 1 additions, 1
    multiplication, 1 addition; connections: window + 1.

    Errors: E0301 where the window is larger than its input, E0303 without spatial axes, E0305 where the kernel has the
    wrong length, E0309 where the number of channels is not known.
    """

    kind: ClassVar[str] = "subsample"
    positional: ClassVar[tuple[str, ...]] = ("kernel",)
    category: ClassVar[str] = "pool"
    reference: ClassVar[str] = "LeCun et al. 1998, Gradient-based learning, section II.B (S2, S4)"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    kernel: Steps = Field((2, 2), description="Extent of the window, and the step between windows.")
    trainable: bool = Field(True, description="Whether training changes the weight and the bias.")

    def slides(self, x: TensorType) -> tuple[Slide, ...]:
        """How the window slides along each spatial axis."""
        return slides(self.kind, x, self.kernel, self.kernel)

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        self.weights(x)
        return TensorType((x.channels, *(axis.o for axis in self.slides(x))))

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        shape = (known(self.kind, "the number of channels", x.channels, x),)
        size = prod(axis.f for axis in self.slides(x))
        return (
            Weight("weight", shape, trainable=self.trainable, initial=1 / size),
            Weight("bias", shape, trainable=self.trainable, initial="zeros"),
        )

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        if elements is None:
            return None
        each = prod(axis.f for axis in self.slides(inputs[0])) + 1
        return Cost(0, elements * each, elements * each)

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        (x,) = inputs
        return {"output": ["channels stay", *working.slid(x, self.slides(x))]}

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return window_of(self.slides(inputs[0]))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        y = reduced(x, self.slides(type_of(x)), xp.add)
        y *= per_channel(weights["weight"], y)
        y += per_channel(weights["bias"], y)
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x, weight = passed.x, passed.weights["weight"]
        slide = self.slides(type_of(x))
        found = {"bias": sum_per_channel(dy)} if "bias" in passed.wanted_weights else {}
        if "weight" in passed.wanted_weights:
            found["weight"] = sum_per_channel(dy * reduced(x, slide, xp.add))
        if not passed.wanted[0]:
            return Gradients((None,), found)
        return Gradients((sum_gradient(xp, dy * per_channel(weight, dy), x.shape[2:], slide),), found)


class Rbf(Layer):
    """Squared Euclidean distances to centres: y_i = sum over j of (x_j - weight_ij)^2, for a vector (n) to (units).

    Each unit measures how far its input is from a picture of its class, so the smallest output is the answer. The
    centres are the tensor `weight` of shape (units, n): a buffer, as LeCun et al. fixed them by hand and count 60,000
    parameters without them, or a parameter with `trainable = true`. FLOPs for each output: n subtractions, n squares,
    n - 1 additions; connections: n.

    Errors: E0303 where the input is not a vector, E0304 where the centres have another shape, E0309 where n is not
    known.
    """

    kind: ClassVar[str] = "rbf"
    positional: ClassVar[tuple[str, ...]] = ("units", "centers")
    category: ClassVar[str] = "dense"
    reference: ClassVar[str] = "LeCun et al. 1998, Gradient-based learning, section II.B, eq. 7"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    units: Count = Field(description="Number of outputs: one for each class.")
    centers: Values | None = Field(
        None, description="The centres, a row for each unit; without them a buffer starts as zeros."
    )
    trainable: bool = Field(False, description="Whether the centres are a parameter that training changes.")

    def infer(self, *inputs: TensorType) -> TensorType:
        self.weights(*inputs)
        return TensorType((self.units,))

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        shape = (self.units, features(self.kind, x))
        initial: Any = "kaiming" if self.trainable else "zeros"
        if self.centers is not None:
            initial = stated(self.kind, "weight", self.centers, [shape])
        role: Any = "parameter" if self.trainable else "buffer"
        return (Weight("weight", shape, role, self.trainable, initial),)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        n = features(self.kind, inputs[0])
        return Cost(0, self.units * (3 * n - 1), self.units * n)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global()

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        centers = weights["weight"].astype(x.dtype, copy=False)
        y = xp.empty((x.shape[0], self.units), dtype=x.dtype)
        # Differences with all centres at once would take `units` times the memory of the input.
        for (block,) in blocks((self.units,), max(1, MOST_PATCH_BYTES // max(1, x.nbytes))):
            y[:, block] = ((x[:, None] - centers[block]) ** 2).sum(axis=2)
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        """dx = 2 (x sum_i dy_i - sum_i dy_i weight_i); dweight_i = 2 (weight_i sum_n dy_i - sum_n dy_i x_n)."""
        x = passed.x
        centers = passed.weights["weight"].astype(x.dtype, copy=False)
        found = {}
        if "weight" in passed.wanted_weights:
            found["weight"] = 2 * (centers * dy.sum(axis=0)[:, None] - dy.T @ x)
        dx = 2 * (x * dy.sum(axis=1, keepdims=True) - dy @ centers) if passed.wanted[0] else None
        return Gradients((dx,), found)


LAYERS: tuple[type[Layer], ...] = (Subsample, Rbf)
