"""Receptive fields: which part of an input a position of a tensor sees (Araujo et al. 2019, Computing receptive fields
of convolutional neural networks, distill.pub).

Along one axis, the position i of a tensor sees the inputs from start + i * stride to start + i * stride + size - 1.
An input sees itself: start 0, stride 1, size 1. A layer whose window has k inputs from its first to its last (dilation
included), step s and padding p turns the field (start, stride, size) of its input into

    start - p * stride,   s * stride,   size + (k - 1) * stride

and where several paths meet, the union of what they see counts. What is padded counts as seen: a field may begin before
the input (start < 0) and be larger than it. Behind an upsampling the step is a fraction, and what a position sees
depends on where it lies between two positions of the coarse grid: the equations then hold up to one step of that grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from netdsl.collector import paused_collector
from netdsl.ir.layer import Global, Layer, Window
from netdsl.ir.network import Network
from netdsl.ir.types import Extent, TensorType

Number = int | Fraction


class Axis(NamedTuple):
    """What a position sees along one axis, in inputs."""

    start: Number = 0
    """First input that position 0 sees; negative in the padding."""
    stride: Number = 1
    """Step between the fields of neighbouring positions; a Fraction below 1 behind an upsampling."""
    extent: Number = 1
    """From the first input seen to the last; may be a fraction behind an upsampling."""

    @property
    def size(self) -> int:
        """How many inputs a position sees, from the first to the last; a fraction is rounded up."""
        return ceil(self.extent)

    @property
    def center(self) -> Number:
        """The middle of what position 0 sees."""
        return _plain(self.start + Fraction(self.extent - 1) / 2)


class Field(NamedTuple):
    """The receptive field of the positions of a tensor, one Axis for each spatial axis of the input."""

    axes: tuple[Axis, ...]


class Whole(NamedTuple):
    """Every position sees the whole input."""

    extents: tuple[Extent, ...]
    """The spatial extents of the input; empty for a vector."""


Reach = Field | Whole


@paused_collector()
def receptive_fields(network: Network, source: str | None = None) -> dict[str, Reach]:
    """The receptive field of every node that depends on the input `source`, by name.

    Without `source`: on the input that was declared first among those that reach the node. Raises KeyError for a name
    that is no input.
    """
    if source is not None and source not in network.inputs:
        raise KeyError(source)
    fields: dict[str, Reach] = {}
    for name in reversed(network.inputs) if source is None else [source]:
        fields |= _from(network, name)
    return {name: fields[name] for name in network.table if name in fields}


def _from(network: Network, source: str) -> dict[str, Reach]:
    table = network.table
    spatial = network.type_of(source).spatial
    whole = Whole(spatial)
    # By identity, as in `measure`.
    windows: dict[tuple[int, tuple[TensorType, ...]], Window | Global | None] = {}
    fields: dict[str, Reach] = {source: Field((Axis(),) * len(spatial)) if spatial else whole}
    for name, node in table.items():
        reached = [fields[before] for before in node.inputs[: node.layer.read] if before in fields]
        if name == source or not reached:
            continue
        types = network.types_of(node.inputs)
        key = (id(node.layer), types)
        if key not in windows:
            windows[key] = _window(node.layer, types, node.type)
        fields[name] = through(unite(reached, whole), windows[key], whole)
    return fields


def _window(layer: Layer, inputs: tuple[TensorType, ...], output: TensorType) -> Window | Global | None:
    """What the layer says. A layer that says nothing and changes the number of axes mixes all positions, if there are
    several."""
    window = layer.window(inputs)
    if window is None and any(type.rank != output.rank and set(type.spatial) - {1} for type in inputs):
        return Global()
    return window


def through(field: Reach, window: Window | Global | None, whole: Whole) -> Reach:
    """The field behind a layer with this window."""
    if window is None or isinstance(field, Whole):
        return field
    if isinstance(window, Global) or len(window.size) != len(field.axes):
        return whole
    return Field(
        tuple(
            Axis(
                _plain(axis.start - padding * axis.stride),
                _plain(axis.stride * stride),
                _plain(axis.extent + (size - 1) * axis.stride),
            )
            for axis, size, stride, padding in zip(field.axes, *window, strict=True)
        )
    )


def unite(fields: list[Reach], whole: Whole) -> Reach:
    """What somebody sees who sees all of `fields`. Paths that step differently have no common window: the whole."""
    first = fields[0]
    if all(field == first for field in fields):
        return first
    axes: list[Axis] = []
    known = [field for field in fields if isinstance(field, Field)]
    if len(known) < len(fields):
        return whole
    for paths in zip(*(field.axes for field in known), strict=True):
        start, stride, _ = paths[0]
        if any(path.stride != stride for path in paths):
            return whole
        start = min(path.start for path in paths)
        end = max(path.start + path.extent for path in paths)
        axes.append(Axis(start, stride, _plain(end - start)))
    return Field(tuple(axes))


def describe(reach: Reach | None) -> Mapping[str, object] | None:
    """A receptive field as plain data: size, stride, start and center along each axis; fractions become floats."""
    if reach is None:
        return None
    if isinstance(reach, Whole):
        return {"size": list(reach.extents), "whole": True}
    return {
        "size": [axis.size for axis in reach.axes],
        "stride": [_number(axis.stride) for axis in reach.axes],
        "start": [_number(axis.start) for axis in reach.axes],
        "center": [_number(axis.center) for axis in reach.axes],
        "whole": False,
    }


def _plain(number: Number) -> Number:
    """A whole number as int: ints are exact, and much faster than Fractions."""
    return number.numerator if isinstance(number, Fraction) and number.denominator == 1 else number


def _number(number: Number) -> float | int:
    plain = _plain(number)
    return plain if isinstance(plain, int) else float(plain)
