"""Names, sizes and divisors of axes: what several families of layers ask of their inputs.

Axes are counted without the batch: 0 is the channels, the spatial axes follow.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from netdsl.ir.layer import Array, LayerError
from netdsl.ir.types import Extent, TensorType

Axis = Literal["channels", "length", "depth", "height", "width"] | Annotated[int, Field(ge=0)]
"""An axis by its name, or counted from 0 without the batch axis."""
Axes = Axis | Literal["positions"] | Annotated[tuple[Axis, ...], Field(min_length=1)]
"""One axis or several that a layer works along together; `positions` are all spatial axes."""

_NAMES: dict[int, tuple[str, ...]] = {
    1: ("channels",),
    2: ("channels", "length"),
    3: ("channels", "height", "width"),
    4: ("channels", "depth", "height", "width"),
}
_DIVISORS_SEARCHED = 4096
_DIVISORS_SHOWN = 12


def axis_name(index: int, rank: int) -> str:
    """What axis `index` of a tensor of this rank is called: `channels`, `height`, ... or `axis 5`."""
    names = _NAMES.get(rank, ("channels",))
    return names[index] if index < len(names) else f"axis {index}"


def axis_index(kind: str, axis: Axis, type: TensorType) -> int:
    """The position of an axis in `type.shape`. Raises E0315 where the tensor has no such axis."""
    rank = type.rank
    if isinstance(axis, int):
        if axis < rank:
            return axis
        raise LayerError(
            "E0315",
            f"{kind} works along axis {axis}, and its input is {type}",
            f"axes are counted from 0 without the batch: 0 to {rank - 1}" if rank else None,
        )
    names = _NAMES.get(rank, ("channels",) if rank else ())
    if axis in names:
        return names.index(axis)
    raise LayerError(
        "E0315",
        f"{kind} works along the {axis}, and its input is {type}",
        f"the axes of this tensor are: {', '.join(names)}" if names else None,
    )


def axes_indices(kind: str, axes: Axes, type: TensorType) -> tuple[int, ...]:
    """The positions of axes in `type.shape`, in rising order. Raises E0315 for one that is missing or named twice."""
    if axes == "positions":
        require_rank(kind, type, 2)
        return tuple(range(1, type.rank))
    found = sorted(axis_index(kind, axis, type) for axis in (axes if isinstance(axes, tuple) else (axes,)))
    for before, index in pairwise(found):
        if before == index:
            raise LayerError("E0315", f"{kind} names the {axis_name(index, type.rank)} twice", "name each axis once")
    return tuple(found)


def known_channels(kind: str, type: TensorType) -> int:
    """The number of channels. Raises E0315 for a scalar and E0309 where the number is not known."""
    if not type.shape:
        raise LayerError("E0315", f"{kind} needs channels, and its input is a scalar", "reshape it to (1,) before")
    return known(kind, "the number of channels", type.shape[0], type)


def known(kind: str, what: str, extent: Extent, type: TensorType) -> int:
    """`extent`, which must be known. Raises E0309."""
    if extent is None:
        raise LayerError(
            "E0309",
            f"{kind} needs {what}, and its input is {type}",
            "give this extent as a number in the shape of the network's input",
        )
    return extent


def require_rank(kind: str, type: TensorType, least: int) -> None:
    """Raises E0315 where a tensor has fewer than `least` axes."""
    if type.rank < least:
        raise LayerError(
            "E0315",
            f"{kind} needs channels and at least one spatial axis, and its input is {type}",
            "use it before the tensor is flattened, or reshape the tensor first",
        )


def require_divisible(kind: str, what: str, extent: int, divisor: int, attribute: str) -> int:
    """`extent // divisor`, which must leave no rest. Raises E0312 and names the divisors that would do."""
    quotient, rest = divmod(extent, divisor)
    if rest:
        choices = ", ".join(str(d) for d in _divisors_near(extent, divisor))
        raise LayerError(
            "E0312",
            f"{kind} divides {extent} {what} by {divisor}, which leaves {rest}",
            f"choose {attribute} from the divisors of {extent}: {choices}",
        )
    return quotient


def _divisors_near(extent: int, wanted: int) -> list[int]:
    """Divisors of `extent` in rising order; where there are many, those around `wanted`.

    Searches small divisors and their complements only, so that a huge extent costs no more than a small one.
    """
    small = [d for d in range(1, min(extent, _DIVISORS_SEARCHED) + 1) if extent % d == 0]
    divisors = sorted({*small, *(extent // d for d in small)})
    nearest = sorted(divisors, key=lambda d: abs(d - wanted))[:_DIVISORS_SHOWN]
    return sorted(nearest)


def per_channel(values: Array, x: Array) -> Array:
    """A vector with one value for each channel, laid out and typed to broadcast against `x` of shape (N, C, ...)."""
    return values.astype(x.dtype, copy=False).reshape((-1,) + (1,) * (x.ndim - 2))


def sum_per_channel(x: Array) -> Array:
    """The sum over all but the channels, (N, C, ...) to (C): the adjoint of `per_channel`."""
    return x.sum(axis=(0, *range(2, x.ndim)))
