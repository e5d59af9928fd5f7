"""The convolutions that apply their weights as they are stored. What they share is in netdsl/layers/convolution.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from pydantic import Field

from netdsl.ir.layer import Array, Layer, LayerError, Nested
from netdsl.ir.types import TensorType
from netdsl.layers.convolution import AnyConvolution, Convolution, Filtered, window_of
from netdsl.layers.correlate import correlate
from netdsl.layers.sizes import Count, Slide, check_groups
from netdsl.layers.values import stated

__all__ = ["LAYERS", "AnyConvolution", "Conv", "Convolution", "DepthwiseConv", "Filtered", "correlate", "window_of"]


# Fields are listed, in messages and in the documentation, from the last base to the first: filters, kernel, stride, ...
class Conv(Convolution, Filtered):
    """Convolution of (C, *spatial) to (filters, *spatial): images (C, H, W), sequences (C, L) or volumes (C, D, H, W).

    Output extent: floor((n + 2 padding - f) / stride) + 1 along each axis, where f counts the dilation in. Owns
    `weight` of shape (filters, C / groups, *kernel) and `bias` of shape (filters).

    With `connections`, filter k reads the channels in row k of the table only, as C3 of LeNet-5 does, and the weight
    keeps only the kernels that exist: shape (links, *kernel), row by row in the order of the table.

    Errors: E0301 where the kernel is larger than its padded input, E0302 where groups do not divide channels and
    filters, E0303 without spatial axes, E0304 where stated values have another shape, E0305 where an attribute has the
    wrong length, E0306 where a padding cannot be made, E0308 for a table that does not fit, E0309 where the number of
    channels is not known.
    """

    kind: ClassVar[str] = "conv"
    positional: ClassVar[tuple[str, ...]] = ("filters", "kernel")
    reference: ClassVar[str] = "LeCun et al. 1989; Dumoulin & Visin 2016, A guide to convolution arithmetic; ONNX Conv"

    groups: Count = Field(1, description="Slices of the channels that are convolved apart; divides channels, filters.")
    connections: tuple[tuple[int, ...], ...] | None = Field(
        None, description="For each filter the list of the input channels it reads, counted from 0."
    )

    def _filters(self, x: TensorType) -> int:
        return self.filters

    def _groups(self, x: TensorType) -> int:
        check_groups(self.kind, x, self._channels(x), self.filters, self.groups)
        return self.groups

    def _links(self, x: TensorType) -> int:
        return super()._links(x) if self.connections is None else sum(map(len, self.connections))

    def _weight_shape(self, x: TensorType, slide: Sequence[Slide]) -> tuple[int, ...]:
        shape = super()._weight_shape(x, slide)
        if self.connections is None:
            return shape
        self._check_connections(self.connections, x)
        return (self._links(x), *shape[2:])

    def _check_connections(self, table: tuple[tuple[int, ...], ...], x: TensorType) -> None:
        channels = self._channels(x)
        if self.groups != 1:
            raise LayerError("E0308", f"conv has connections and {self.groups} groups", "leave groups out")
        if len(table) != self.filters:
            raise LayerError(
                "E0308",
                f"conv has {self.filters} filters and a table of connections with {len(table)} rows",
                "the table has one row for each filter: the channels that it reads",
            )
        for row, read in enumerate(table):
            missing = sorted({channel for channel in read if not 0 <= channel < channels})
            if missing:
                raise LayerError(
                    "E0308",
                    f"row {row} of the connections reads channel {missing[0]}, and the input {x} has {channels}",
                    f"channels are counted from 0: 0 to {channels - 1}",
                )
            if not read or len(set(read)) < len(read):
                what = "reads a channel twice" if read else "is empty"
                raise LayerError(
                    "E0308", f"row {row} of the connections {what}", "list each channel that it reads once"
                )

    def _stated(self, values: Nested, shape: tuple[int, ...]) -> Nested:
        if self.connections is None:
            return super()._stated(values, shape)
        return stated(self.kind, "weight", values, [shape[1:], shape])

    def _kernels(self, xp: Any, weights: Mapping[str, Array], channels: int, slide: Sequence[Slide]) -> Array:
        kernels = super()._kernels(xp, weights, channels, slide)
        if self.connections is None:
            return kernels
        # Kernels that do not exist count as zeros.
        full = xp.zeros((self.filters, channels, *kernels.shape[1:]), dtype=kernels.dtype)
        full[self._table(self.connections)] = kernels
        return full

    def _kernels_gradient(self, xp: Any, dw: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
        found = super()._kernels_gradient(xp, dw, weights)
        return found if self.connections is None else {"weight": found["weight"][self._table(self.connections)]}

    def _table(self, connections: tuple[tuple[int, ...], ...]) -> tuple[list[int], list[int]]:
        """The filter and the channel of each kernel that exists."""
        rows = [row for row, read in enumerate(connections) for _ in read]
        return rows, list(chain.from_iterable(connections))


class DepthwiseConv(Convolution):
    """Convolution of each channel by itself: (C, *spatial) to (C * multiplier, *spatial).

    The same as `conv` with as many groups as channels: output channel c * multiplier + m is filter m of channel c. Owns
    `weight` of shape (C * multiplier, 1, *kernel) and `bias` of shape (C * multiplier).

    Errors: those of `conv`.
    """

    kind: ClassVar[str] = "depthwise_conv"
    positional: ClassVar[tuple[str, ...]] = ("kernel",)
    reference: ClassVar[str] = "Howard et al. 2017, MobileNets, section 3.1; ONNX Conv with group = C"

    multiplier: Count = Field(1, description="Filters for each channel.")

    def _filters(self, x: TensorType) -> int:
        return self._channels(x) * self.multiplier

    def _groups(self, x: TensorType) -> int:
        return self._channels(x)


LAYERS: tuple[type[Layer], ...] = (Conv, DepthwiseConv)
