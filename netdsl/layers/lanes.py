"""When the lanes of a join fit together, and what to say when they do not."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.ir.layer import Array, LayerError
from netdsl.ir.types import Extent, TensorType
from netdsl.layers.axes import axis_name


def broadcast(kind: str, lanes: Sequence[TensorType]) -> TensorType:
    """The type of an elementwise join: along each axis the lanes have the same extent, or 1, which is repeated.

    An unknown extent fits any. Raises E0311 for lanes of different rank or with different extents.
    """
    first = lanes[0]
    for number, lane in enumerate(lanes[1:], start=2):
        if lane.rank != first.rank:
            raise _rank_mismatch(kind, first, number, lane)
    extents: list[Extent] = []
    for axis in range(first.rank):
        extent: Extent = 1
        fixed_by = 1
        for number, lane in enumerate(lanes, start=1):
            other = lane.shape[axis]
            if extent == 1 or (extent is None and other not in (None, 1)):
                extent, fixed_by = other, number
            elif other not in (extent, None, 1):
                raise _extent_mismatch(kind, lanes, fixed_by, number, range(first.rank), repeats=1)
        extents.append(extent)
    return TensorType(tuple(extents))


def to_lane(dy: Array, lane: Array) -> Array:
    """The derivative in a lane that was repeated along axes of extent 1: the sum over its copies."""
    axes = tuple(axis for axis, (n, o) in enumerate(zip(lane.shape, dy.shape, strict=True)) if n == 1 != o)
    return dy.sum(axis=axes, keepdims=True) if axes else dy


def concatenate(kind: str, lanes: Sequence[TensorType], axis: int) -> TensorType:
    """The type of lanes laid end to end along `axis`. Raises E0311 where another axis differs."""
    first = lanes[0]
    for number, lane in enumerate(lanes[1:], start=2):
        if lane.rank != first.rank:
            raise _rank_mismatch(kind, first, number, lane)
    others = [index for index in range(first.rank) if index != axis]
    extents: list[Extent] = list(first.shape)
    for index in others:
        fixed_by = 1
        for number, lane in enumerate(lanes, start=1):
            other = lane.shape[index]
            if extents[index] is None:
                extents[index], fixed_by = other, number
            elif other not in (extents[index], None):
                raise _extent_mismatch(kind, lanes, fixed_by, number, others)
    total: Extent = 0
    for lane in lanes:
        extent = lane.shape[axis]
        total = None if total is None or extent is None else total + extent
    extents[axis] = total
    return TensorType(tuple(extents))


def require_same_rank(kind: str, x: TensorType, reference: TensorType) -> None:
    """Raises E0311 where a tensor cannot take the size of another, because they differ in rank."""
    if x.rank != reference.rank:
        raise LayerError(
            "E0311",
            f"{kind} gives {x} the size of {reference}: they differ in rank",
            "both tensors have channels and the same number of spatial axes",
        )


def _rank_mismatch(kind: str, first: TensorType, number: int, lane: TensorType) -> LayerError:
    message = f"{kind} cannot join lane 1, which is {first}, and lane {number}, which is {lane}: they differ in rank"
    shorter, longer, where = (first, lane, 1) if first.rank < lane.rank else (lane, first, number)
    if shorter.rank == 1 and shorter.channels is not None and shorter.channels == longer.channels:
        ones = ", ".join(["1"] * (longer.rank - 1))
        return LayerError("E0311", message, f"end lane {where} with reshape(({shorter.channels}, {ones}))")
    if shorter.rank == 1:
        other = number if where == 1 else 1
        return LayerError("E0311", message, f"end lane {other} with flatten")
    return LayerError("E0311", message, "give the lanes the same number of axes")


def _extent_mismatch(
    kind: str, lanes: Sequence[TensorType], a: int, b: int, axes: Sequence[int], repeats: Extent = None
) -> LayerError:
    """The error for lanes `a` < `b` (counted from 1) that differ along at least one of `axes`.

    `repeats` is the extent that fits any other, where there is one.
    """
    one, two = lanes[a - 1], lanes[b - 1]
    fit = (None, repeats)
    pairs = ((axis, one.shape[axis], two.shape[axis]) for axis in axes)
    differing = [axis for axis, m, n in pairs if m != n and m not in fit and n not in fit]
    found = ", ".join(f"{axis_name(axis, one.rank)} {one.shape[axis]} and {two.shape[axis]}" for axis in differing)
    message = f"{kind} cannot join lane {a}, which is {one}, and lane {b}, which is {two}: {found}"
    hints = [
        hint for hint in (_channel_hint(kind, one, b, differing), _spatial_hint(one, two, a, b, differing)) if hint
    ]
    return LayerError("E0311", message, "; ".join(hints) or "the lanes must agree along every other axis")


def _channel_hint(kind: str, one: TensorType, b: int, differing: Sequence[int]) -> str | None:
    if 0 not in differing or kind == "concat":
        return None
    if one.rank == 1:
        return f"end lane {b} with dense({one.channels}), or join with concat"
    kernel = "x".join(["1"] * (one.rank - 1))
    return f"end lane {b} with conv({one.channels}, {kernel}), or join with concat"


def _spatial_hint(one: TensorType, two: TensorType, a: int, b: int, differing: Sequence[int]) -> str | None:
    """A stride or a padding that would make the spatial extents equal, where one number serves for all of them."""
    strides: set[tuple[int, int]] = set()
    margins: set[tuple[int, int]] = set()
    for axis in differing:
        m, n = one.shape[axis], two.shape[axis]
        if axis == 0 or m is None or n is None:
            continue
        lane, large, small = (a, m, n) if m > n else (b, n, m)
        stride = -(-large // small)
        if -(-large // stride) == small:
            strides.add((lane, stride))
        else:
            strides.add((0, 0))
        other = b if lane == a else a
        margins.add((other, (large - small) // 2) if (large - small) % 2 == 0 else (0, 0))
    if len(strides) == 1 and (0, 0) not in strides:
        lane, stride = strides.pop()
        return f"a stride of {stride} in lane {lane} would fit"
    if len(margins) == 1 and (0, 0) not in margins:
        lane, margin = margins.pop()
        return f"{margin} more of padding on each side in lane {lane} would fit"
    return None
