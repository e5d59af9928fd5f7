"""Layers that move numbers or leave some out, and compute nothing: 0 FLOPs each.

Axes are counted without the batch: 0 is the channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from netdsl.ir.layer import Array, Global, Gradients, Layer, LayerError, Passed, Window
from netdsl.ir.types import Extent, TensorType
from netdsl.layers import working
from netdsl.layers.axes import Axis, axis_index, axis_name, known, require_rank
from netdsl.layers.channels import ChannelShuffle, DepthToSpace, PadChannels, SpaceToDepth
from netdsl.layers.rearrange import Rearrangement


class Identity(Rearrangement):
    """Passes its input on: y = x. Any shape; the output has the same."""

    kind: ClassVar[str] = "identity"
    reference: ClassVar[str] = "ONNX Identity"

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return x

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return inputs[0]

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((dy,))


class Flatten(Rearrangement):
    """All numbers of an image as one vector, the last axis running fastest: (C, H, W) becomes (C * H * W).

    The vector holds every position, so it sees the whole input (unless there is only one position).
    """

    kind: ClassVar[str] = "flatten"
    reference: ClassVar[str] = "ONNX Flatten"

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return TensorType((x.elements,))

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        return {"output": [working.product(*inputs[0].shape) + working.result(output.elements)]}

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return _whole(inputs[0])

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x.reshape(x.shape[0], prod(x.shape[1:]))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((dy.reshape(passed.x.shape),))


class Reshape(Rearrangement):
    """The same numbers, in the same order (the last axis running fastest), in another shape.

    One extent may be -1 or `?`: it is what is left. Positions are mixed, so the output sees the whole input (unless
    the input has only one position).
    Errors: E0314 where the numbers of elements differ; E0309 where an extent of the input is not known and none is
    left open.
    """

    kind: ClassVar[str] = "reshape"
    positional: ClassVar[tuple[str, ...]] = ("shape",)
    reference: ClassVar[str] = "ONNX Reshape"

    shape: int | tuple[int | None, ...] = Field(
        description="The new shape without the batch: an int for a vector, or a list of which one may be -1."
    )

    @model_validator(mode="after")
    def _extents_are_positive(self) -> Reshape:
        extents = self._extents()
        if any(extent is not None and extent < 1 for extent in extents):
            raise ValueError("extents are positive, but for one -1")
        if extents.count(None) > 1:
            raise ValueError("at most one extent may be left open")
        return self

    def _extents(self) -> tuple[Extent, ...]:
        shape = self.shape if isinstance(self.shape, tuple) else (self.shape,)
        return tuple(None if extent == -1 else extent for extent in shape)

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        extents = self._extents()
        stated = prod(extent for extent in extents if extent is not None)
        if None not in extents:
            if known(self.kind, "the number of elements", x.elements, x) != stated:
                raise self._misfit(x, stated, f"{stated} elements")
            return TensorType(extents)
        if x.elements is None:
            return TensorType(extents)
        rest, over = divmod(x.elements, stated)
        if over:
            raise self._misfit(x, stated, f"a multiple of {stated} elements")
        return TensorType(tuple(rest if extent is None else extent for extent in extents))

    def _misfit(self, x: TensorType, stated: int, needed: str) -> LayerError:
        extents = self._extents()
        elements = x.elements or 0
        message = f"reshape to {TensorType(extents)} needs {needed}, and its input is {x}, which has {elements}"
        for index, extent in enumerate(extents):
            others = stated // (extent or 1)
            if None not in extents and elements % others == 0:
                fitting = TensorType((*extents[:index], elements // others, *extents[index + 1 :]))
                return LayerError("E0314", message, f"{fitting} would fit")
        return LayerError("E0314", message, f"the extents must multiply to {elements}")

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return _whole(inputs[0])

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x.reshape(x.shape[0], *self.infer(_type_of(x)).shape)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((dy.reshape(passed.x.shape),))


class Permute(Rearrangement):
    """Reorders the axes: axis i of the output is axis `axes[i]` of the input. (1, 2, 0) takes (C, H, W) to (H, W, C).

    Errors: E0316 where `axes` are not all the axes of the input, each once.
    """

    kind: ClassVar[str] = "permute"
    positional: ClassVar[tuple[str, ...]] = ("axes",)
    reference: ClassVar[str] = "ONNX Transpose"

    axes: tuple[int, ...] = Field(description="Axes of the input, counted from 0 without the batch, in the new order.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if sorted(self.axes) != list(range(x.rank)):
            axes = ", ".join(str(axis) for axis in self.axes)
            raise LayerError(
                "E0316",
                f"permute({axes}) does not reorder the axes of its input, which is {x}",
                f"name each of {', '.join(str(axis) for axis in range(x.rank))} once" if x.rank else None,
            )
        return TensorType(tuple(x.shape[axis] for axis in self.axes))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return _whole(inputs[0]) if self.axes[:1] != (0,) else None

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        return xp.ascontiguousarray(inputs[0].transpose(0, *(1 + axis for axis in self.axes)))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        back = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return Gradients((dy.transpose(0, *(1 + axis for axis in back)),))


class Slice(Rearrangement):
    """The part of a tensor from `start` up to, and without, `stop` along one axis, the channels unless it is said.

    (C, H, W) becomes (stop - start, H, W).
    Errors: E0313 where the part is not inside the tensor; E0315 where it has no such axis; E0309 where `stop` is given
    and the extent is not known.
    """

    kind: ClassVar[str] = "slice"
    positional: ClassVar[tuple[str, ...]] = ("start", "stop")
    reference: ClassVar[str] = "ONNX Slice"

    start: int = Field(0, ge=0, description="The first that is kept, counted from 0.")
    stop: Annotated[int, Field(ge=1)] | None = Field(None, description="The one behind the last that is kept.")
    axis: Axis = Field("channels", description="The axis that is cut.")

    @model_validator(mode="after")
    def _keeps_something(self) -> Slice:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError("stop must be above start")
        return self

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        index = axis_index(self.kind, self.axis, x)
        name = axis_name(index, x.rank)
        extent = x.shape[index]
        if extent is None and self.stop is None:
            return x
        extent = known(self.kind, f"the extent of the axis it cuts ({name})", extent, x)
        stop = extent if self.stop is None else self.stop
        if stop > extent or self.start >= extent:
            raise LayerError(
                "E0313",
                f"slice from {self.start} to {stop} along the {name}, and its input is {x}, which has {extent} there",
                f"stop is at most {extent}" if self.start < extent else f"start is at most {extent - 1}",
            )
        return TensorType((*x.shape[:index], stop - self.start, *x.shape[index + 1 :]))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        index = axis_index(self.kind, self.axis, inputs[0])
        if index == 0:
            return None
        spatial = len(inputs[0].spatial)
        padding = tuple(-self.start if axis == index - 1 else 0 for axis in range(spatial))
        return Window((1,) * spatial, (1,) * spatial, padding)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        index = axis_index(self.kind, self.axis, _type_of(inputs[0]))
        return inputs[0][(slice(None),) * (1 + index) + (slice(self.start, self.stop),)]

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        index = axis_index(self.kind, self.axis, _type_of(passed.x))
        dx = xp.zeros(passed.x.shape, dtype=dy.dtype)
        dx[(slice(None),) * (1 + index) + (slice(self.start, self.stop),)] = dy
        return Gradients((dx,))


class Decimate(Rearrangement):
    """Keeps every `stride`-th position, the first included: (C, H, W) becomes (C, ceil(H / s), ceil(W / s)).

    With `pad_channels` behind it, the parameter-free shortcut of the CIFAR ResNets (option A).
    Errors: E0315 without spatial axes, or where `stride` is a list of another length than there are.
    """

    kind: ClassVar[str] = "decimate"
    positional: ClassVar[tuple[str, ...]] = ("stride",)
    reference: ClassVar[str] = "He et al. 2016, Deep residual learning, section 3.3, option A; ONNX Slice with steps"

    stride: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] = Field(
        description="Step along every spatial axis, or a list with one for each."
    )

    def _strides(self, x: TensorType) -> tuple[int, ...]:
        require_rank(self.kind, x, 2)
        spatial = len(x.spatial)
        if isinstance(self.stride, int):
            return (self.stride,) * spatial
        if len(self.stride) != spatial:
            raise LayerError(
                "E0315",
                f"decimate has strides for {len(self.stride)} spatial axes, and its input is {x}, which has {spatial}",
                "give one stride for all axes, or one for each",
            )
        return self.stride

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        pairs = zip(x.spatial, self._strides(x), strict=True)
        return TensorType((x.shape[0], *(None if n is None else -(-n // s) for n, s in pairs)))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        strides = self._strides(inputs[0])
        return Window((1,) * len(strides), strides, (0,) * len(strides))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        return x[(slice(None), slice(None), *(slice(None, None, s) for s in self._strides(_type_of(x))))]

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        dx = xp.zeros(passed.x.shape, dtype=dy.dtype)
        dx[(slice(None), slice(None), *(slice(None, None, s) for s in self._strides(_type_of(passed.x))))] = dy
        return Gradients((dx,))


LAYERS: tuple[type[Layer], ...] = (
    Identity, Flatten, Reshape, Permute, Slice, Decimate, PadChannels, ChannelShuffle, SpaceToDepth, DepthToSpace,
)  # fmt: skip


def _type_of(x: Array) -> TensorType:
    """The type of the images in a batch."""
    return TensorType(tuple(x.shape[1:]))


def _whole(x: TensorType) -> Global | None:
    """What a layer sees that mixes the positions of `x`: everything, unless there is but one."""
    return None if all(extent == 1 for extent in x.spatial) else Global()
