"""Pooling: the largest number or the mean of each window, channel by channel. No weights.

Sizes: see netdsl/layers/sizes.py. What is padded never wins a maximum; whether it counts in a mean is said below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Cost, Global, Gradients, Layer, LayerError, Passed, Window
from netdsl.ir.types import TensorType
from netdsl.layers import working
from netdsl.layers.conv import window_of
from netdsl.layers.patches import max_gradient, padded, reduced, sum_gradient, type_of, unpadded
from netdsl.layers.sizes import Padding, Slide, Steps, slides


class Pool(Layer):
    """Base of the pools whose window slides."""

    category: ClassVar[str] = "pool"
    positional: ClassVar[tuple[str, ...]] = ("kernel", "stride")

    kernel: Steps = Field(description="Extent of the window: a number for a square, or one for each axis.")
    stride: Steps | None = Field(None, description="Step between windows, for all axes or for each; else the kernel.")
    padding: Padding = Field(
        0,
        description="Positions added around the input: a number, one for each axis (height, width), or one for each "
        "side (top, bottom, left, right); `valid` is none, `half` is (f - 1) / 2, `same` makes the output "
        "ceil(n / stride).",
    )
    ceil_mode: bool = Field(
        False, description="Whether a last window counts that hangs over the end, if it starts before the end."
    )

    def slides(self, x: TensorType) -> tuple[Slide, ...]:
        """How the window slides along each spatial axis."""
        return self._slides(x, 1)

    def _slides(self, x: TensorType, dilation: Steps) -> tuple[Slide, ...]:
        stride = self.kernel if self.stride is None else self.stride
        found = slides(self.kind, x, self.kernel, stride, self.padding, dilation, self.ceil_mode)
        for axis in found:
            if not _all_see_input(axis):
                raise LayerError(
                    "E0306",
                    f"{self.kind} pads {x} by {max(axis.before, axis.after)} along an axis where its kernel is "
                    f"{axis.f}: a window would see nothing but padding",
                    f"padding is at most {axis.span // 2} here",
                )
        return found

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return TensorType((*x.shape[:1], *(axis.o for axis in self.slides(x))))

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        (x,) = inputs
        return {"output": ["channels stay", *working.slid(x, self.slides(x), self.ceil_mode)]}

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return window_of(self.slides(inputs[0]))


class MaxPool(Pool):
    """The largest number of each window: (C, *spatial) to (C, *o), o = floor((n + 2 padding - f) / stride) + 1.

    With `ceil_mode` the quotient is rounded up, and a window that would start behind the input and the padding in front
    of it is left out (PyTorch). FLOPs for each output: window - 1 comparisons.

    Errors: E0301 where the kernel is larger than its padded input, E0303 without spatial axes, E0305 where an attribute
    has the wrong length, E0306 where a window would see nothing but padding.
    """

    kind: ClassVar[str] = "max_pool"
    reference: ClassVar[str] = "Riesenhuber & Poggio 1999; Krizhevsky et al. 2012, section 3.4; ONNX MaxPool"
    keeps: ClassVar[frozenset[str]] = frozenset({"inputs"})

    dilation: Steps = Field(1, description="Step between neighbouring taps of the window, for all axes or for each.")

    def slides(self, x: TensorType) -> tuple[Slide, ...]:
        return self._slides(x, self.dilation)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        return None if elements is None else Cost(flops=elements * (_window_size(self.slides(inputs[0])) - 1))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        slide = self.slides(type_of(x))
        return reduced(padded(xp, x, _reach(slide), value=-float("inf")), slide, xp.maximum)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        slide = self.slides(type_of(passed.x))
        sides = _reach(slide)
        x = padded(xp, passed.x, sides, value=-float("inf"))
        return Gradients((unpadded(xp, max_gradient(xp, dy, x, slide), sides),))


class AvgPool(Pool):
    """The mean of each window: (C, *spatial) to (C, *o), o = floor((n + 2 padding - f) / stride) + 1.

    With `ceil_mode` the quotient is rounded up, and a window that would start behind the input and the padding in front
    of it is left out (PyTorch); what hangs over the end never counts. The sum of a window is divided by how many of its
    positions lie in the input or, with `count_include_pad`, in its padding too. FLOPs for each output: window - 1
    additions and 1 division.

    Errors: those of `max_pool`.
    """

    kind: ClassVar[str] = "avg_pool"
    reference: ClassVar[str] = "LeCun et al. 1989; Lin et al. 2014, Network in network, section 3.2; ONNX AveragePool"

    count_include_pad: bool | None = Field(
        None,
        description="Whether padding counts in the mean, as zeros. If it is not said: true, as in PyTorch, but false "
        "for padding = same, as in TensorFlow.",
    )

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        return None if elements is None else Cost(flops=elements * _window_size(self.slides(inputs[0])))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        slide = self.slides(type_of(x))
        y = reduced(padded(xp, x, _reach(slide)), slide, xp.add)
        y /= self._divisor(xp, x, slide)
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        x = passed.x
        slide = self.slides(type_of(x))
        sides = _reach(slide)
        dx = sum_gradient(xp, dy / self._divisor(xp, x, slide), _extents(x, sides), slide)
        return Gradients((unpadded(xp, dx, sides),))

    def _divisor(self, xp: Any, x: Array, slide: Sequence[Slide]) -> Array:
        """How many positions count in each window: shape (*o)."""
        divisor = xp.ones((1,) * len(slide), dtype=x.dtype)
        for axis, counts in enumerate(map(self.counts, slide)):
            shape = [1] * len(slide)
            shape[axis] = len(counts)
            divisor = divisor * xp.asarray(counts, dtype=x.dtype).reshape(shape)
        return divisor

    def counts(self, axis: Slide) -> list[int]:
        """For each window, how many of its positions count."""
        assert axis.n is not None and axis.o is not None
        include = self.padding != "same" if self.count_include_pad is None else self.count_include_pad
        first, end = (-axis.before, axis.n + axis.after) if include else (0, axis.n)
        starts = (index * axis.s - axis.before for index in range(axis.o))
        return [min(start + axis.f, end) - max(start, first) for start in starts]


def _all_see_input(axis: Slide) -> bool:
    """Whether every window has a tap inside the input. Unknown extents are given the benefit of the doubt."""
    n, d = axis.n, axis.d
    if n is None or axis.o is None:
        return True
    # Windows that start inside the input see its first position there; the others start in front of it or behind.
    in_front = range(-axis.before, min(0, (axis.o - 1) * axis.s - axis.before + 1), axis.s)
    last = (axis.o - 1) * axis.s - axis.before
    # The first tap at or behind 0 of a window that starts at -a is number ceil(a / d), at -a + d ceil(a / d).
    return last < n and all(-(start // d) < axis.f and start % d < n for start in in_front)


def _reach(slide: Sequence[Slide]) -> list[tuple[int, int]]:
    """The padding that all windows need; those that hang over the end need more than is padded."""
    found = []
    for axis in slide:
        assert axis.n is not None and axis.o is not None
        end = (axis.o - 1) * axis.s + axis.span - axis.before
        found.append((axis.before, max(axis.after, end - axis.n)))
    return found


def _extents(x: Array, sides: Sequence[tuple[int, int]]) -> list[int]:
    """The spatial extents with their padding."""
    return [n + before + after for n, (before, after) in zip(x.shape[2:], sides, strict=True)]


def _window_size(slide: Sequence[Slide]) -> int:
    return prod(axis.f for axis in slide)


LAYERS: tuple[type[Layer], ...] = (MaxPool, AvgPool)
