"""Layers that move numbers between channels, or between channels and positions; 0 FLOPs each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from netdsl.ir.layer import Array, Global, Gradients, LayerError, Passed, Window
from netdsl.ir.types import Extent, TensorType
from netdsl.layers.axes import known, known_channels, require_divisible, require_rank
from netdsl.layers.rearrange import Rearrangement


class PadChannels(Rearrangement):
    """Channels of zeros in front of and behind those of the input: (C, ...) becomes (before + C + after, ...).

    `to = n` puts as many behind as make n. He et al. do not say where the zeros go; the implementation that most CIFAR
    results come from puts half on each side.
    Errors: E0319 where the input has more than `to` channels; E0309 where their number is not known and `to` is given;
    E0315 for a scalar.
    """

    kind: ClassVar[str] = "pad_channels"
    positional: ClassVar[tuple[str, ...]] = ("before", "after")
    reference: ClassVar[str] = "He et al. 2016, Deep residual learning, section 3.3, option A; ONNX Pad"

    before: int = Field(0, ge=0, description="Number of channels in front.")
    after: int = Field(0, ge=0, description="Number of channels behind.")
    to: Annotated[int, Field(ge=1)] | None = Field(None, description="Number of channels of the output, instead.")

    @model_validator(mode="after")
    def _one_way(self) -> PadChannels:
        if self.to is not None and (self.before or self.after):
            raise ValueError("give either before and after, or to")
        return self

    def _after(self, x: TensorType) -> int:
        if self.to is None:
            return self.after
        channels = known_channels(self.kind, x)
        if channels > self.to:
            raise LayerError(
                "E0319",
                f"pad_channels to {self.to} channels, and its input is {x}, which has {channels}",
                f"`to` is at least {channels}; a slice leaves channels out",
            )
        return self.to - channels

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if not x.shape:
            known_channels(self.kind, x)
        channels: Extent = x.shape[0]
        after = self._after(x)
        return TensorType((None if channels is None else self.before + channels + after, *x.spatial))

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        channels = x.shape[1]
        after = self._after(TensorType(tuple(x.shape[1:])))
        y = xp.zeros((x.shape[0], self.before + channels + after, *x.shape[2:]), dtype=x.dtype)
        y[:, self.before : self.before + channels] = x
        return y

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((dy[:, self.before : self.before + passed.x.shape[1]],))


class ChannelShuffle(Rearrangement):
    """Deals the channels of `groups` equal slices round: (g, C / g) channels are read as (C / g, g).

    Any shape (C, ...); the output has the same.
    Errors: E0312 where groups do not divide the channels; E0309 where their number is not known; E0315 for a scalar.
    """

    kind: ClassVar[str] = "channel_shuffle"
    positional: ClassVar[tuple[str, ...]] = ("groups",)
    reference: ClassVar[str] = "Zhang et al. 2018, ShuffleNet, section 3.1; ONNX Reshape, Transpose, Reshape"

    groups: int = Field(ge=1, description="Number of slices; divides the channels.")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        require_divisible(self.kind, "channels", known_channels(self.kind, x), self.groups, "groups")
        return x

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        n, c, *spatial = x.shape
        # (N, g, C / g, ...) -> (N, C / g, g, ...)
        return x.reshape(n, self.groups, c // self.groups, *spatial).swapaxes(1, 2).reshape(x.shape)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        n, c, *spatial = dy.shape
        # (N, C / g, g, ...) -> (N, g, C / g, ...)
        dx = dy.reshape(n, c // self.groups, self.groups, *spatial).swapaxes(1, 2)
        return Gradients((dx.reshape(dy.shape),))


class _Block(Rearrangement):
    """What the two directions share: the block, and the order of the channels made of it."""

    positional: ClassVar[tuple[str, ...]] = ("block",)

    block: int = Field(ge=1, description="Side of a block, along every spatial axis.")
    order: Literal["crd", "dcr"] = Field(
        "crd",
        description="Which index runs slowest in the deep channels: the channel (crd: PyTorch's pixel shuffle) "
        "or the place in the block (dcr: ONNX SpaceToDepth, TensorFlow).",
    )


class SpaceToDepth(_Block):
    """Moves the positions of each block into channels: (C, H, W) becomes (C * b * b, H / b, W / b).

    Output channel c * b * b + i * b + j (or (i * b + j) * C + c with `order = dcr`) holds the positions (i, j) of the
    blocks of channel c. Any number of spatial axes.
    Errors: E0312 where the block does not divide an extent; E0315 without spatial axes.
    """

    kind: ClassVar[str] = "space_to_depth"
    reference: ClassVar[str] = (
        "Shi et al. 2016, Real-time single image super-resolution, eq. 4 inverted; ONNX SpaceToDepth"
    )

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        require_rank(self.kind, x, 2)
        spatial = [
            None if n is None else require_divisible(self.kind, "positions", n, self.block, "block") for n in x.spatial
        ]
        channels = x.shape[0]
        return TensorType((None if channels is None else channels * self.block ** len(spatial), *spatial))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        k = len(inputs[0].spatial)
        return Window((self.block,) * k, (self.block,) * k, (0,) * k)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        n, c, *spatial = x.shape
        b, k = self.block, len(spatial)
        # (N, C, H / b, b, W / b, b) -> (N, C, b, b, H / b, W / b), or with C behind the b's
        split = [m for extent in spatial for m in (extent // b, b)]
        places = [3 + 2 * axis for axis in range(k)]
        positions = [2 + 2 * axis for axis in range(k)]
        deep = [1, *places] if self.order == "crd" else [*places, 1]
        y = x.reshape(n, c, *split).transpose(0, *deep, *positions)
        return y.reshape(n, c * b**k, *(extent // b for extent in spatial))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((DepthToSpace(block=self.block, order=self.order).forward(xp, (dy,), {}),))


class DepthToSpace(_Block):
    """Moves channels into the positions of blocks (pixel shuffle): (C * b * b, H, W) becomes (C, H * b, W * b).

    The inverse of `space_to_depth` with the same order. Any number of spatial axes.
    Errors: E0312 where b * b (b to the number of spatial axes) does not divide the channels; E0309 where their number
    is not known; E0315 without spatial axes.
    """

    kind: ClassVar[str] = "depth_to_space"
    reference: ClassVar[str] = "Shi et al. 2016, Real-time single image super-resolution, eq. 4; ONNX DepthToSpace"

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        require_rank(self.kind, x, 2)
        channels = known(self.kind, "the number of channels", x.shape[0], x)
        parts = self.block ** len(x.spatial)
        width = require_divisible(self.kind, "channels", channels, parts, f"block ** {len(x.spatial)}")
        return TensorType((width, *(None if n is None else n * self.block for n in x.spatial)))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        k = len(inputs[0].spatial)
        return Window((1,) * k, (Fraction(1, self.block),) * k, (0,) * k)

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        x = inputs[0]
        n, deep, *spatial = x.shape
        b, k = self.block, len(spatial)
        c = deep // b**k
        # (N, C, b, b, H, W), or with C behind the b's -> (N, C, H, b, W, b)
        crd = self.order == "crd"
        y = x.reshape(n, *((c, *[b] * k) if crd else (*[b] * k, c)), *spatial)
        channel, first_place = (1, 2) if crd else (1 + k, 1)
        pairs = [m for axis in range(k) for m in (2 + k + axis, first_place + axis)]
        return y.transpose(0, channel, *pairs).reshape(n, c, *(extent * b for extent in spatial))

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        return Gradients((SpaceToDepth(block=self.block, order=self.order).forward(xp, (dy,), {}),))
