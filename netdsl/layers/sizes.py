"""Sizes: how far a window slides, and how large what comes out is.

    n  extent of the input along one axis            o  extent of the output
    f  extent of the kernel                          s  stride: the step between neighbouring windows
    p  padding: p_before in front, p_after behind    d  dilation: the step between neighbouring taps of the kernel
    e  span of the kernel, dilation included: e = d (f - 1) + 1

    o = floor((n + p_before + p_after - e) / s) + 1                                    (Dumoulin & Visin 2016, eq. 15)

Padding by name: `valid` is none; `half` is p_before = p_after = (e - 1) / 2, the lecture's (f - 1) / 2; `same` makes
o = ceil(n / s): p_before + p_after = max((o - 1) s + e - n, 0), the odd one behind, as TensorFlow does.

Sizes are written as one number for all spatial axes or as one for each: (height, width) for an image. Padding may also
be one pair for each axis: (top, bottom, left, right) for an image, (before, after) for a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, isqrt
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import Field

from netdsl.ir.layer import LayerError
from netdsl.ir.types import Extent, TensorType

MAX_CHANNELS = 2**24
"""Filters, units and groups that one layer may have."""
MAX_KERNEL = 2**16
"""Extent of a kernel, a stride or a dilation, along one axis."""
MAX_PADDING = 2**16
"""Positions added or taken away on one side of an axis."""
MAX_EXTENT = 2**24
"""Extent of one axis that a spec may write down."""
MAX_SPATIAL = 8
"""Spatial axes of a tensor."""

Count = Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
Step = Annotated[int, Field(ge=1, le=MAX_KERNEL)]
Steps = Step | Annotated[tuple[Step, ...], Field(min_length=1, max_length=MAX_SPATIAL)]
"""One for all spatial axes, or one for each."""
Margin = Annotated[int, Field(ge=0, le=MAX_PADDING)]
Margins = Margin | Annotated[tuple[Margin, ...], Field(min_length=1, max_length=2 * MAX_SPATIAL)]
"""One for all sides, one for each axis, or (before, after) for each axis."""
Padding = Literal["valid", "half", "same"] | Margins
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]

E = TypeVar("E", bound=Extent)

_AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}
_SIDES = {1: "before, after", 2: "top, bottom, left, right", 3: "front, back, top, bottom, left, right"}


class Slide(NamedTuple):
    """A window that slides along one axis; the letters are those at the head of this file. n and o may be unknown."""

    n: Extent
    f: int
    s: int
    d: int
    before: int
    after: int
    o: Extent

    @property
    def span(self) -> int:
        """e: from the first tap of the kernel to the last."""
        return self.d * (self.f - 1) + 1


def slides(
    kind: str,
    x: TensorType,
    kernel: Steps,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
) -> tuple[Slide, ...]:
    """The slide along each spatial axis of `x`.

    With `ceil_mode` a last window that hangs over the end counts if it starts inside the input or the padding in front
    of it (PyTorch). Raises E0301 for a kernel larger than its padded input, E0303 without spatial axes, E0305 where an
    attribute has the wrong length, E0306 for half padding of an even kernel.
    """
    rank = spatial_rank(kind, x)
    f = per_axis(kind, "kernel", kernel, x)
    s = per_axis(kind, "stride", stride, x)
    d = per_axis(kind, "dilation", dilation, x)
    spans = [d[axis] * (f[axis] - 1) + 1 for axis in range(rank)]
    sides = _sides(kind, padding, x, spans, s)
    found = []
    for axis, n in enumerate(x.spatial):
        o = None if n is None else output_extent(n, spans[axis], s[axis], *sides[axis], ceil_mode)
        if o is not None and o < 1:
            overhang = [step - 1 for step in s] if ceil_mode else [0] * rank
            raise _too_large(kind, x, f, spans, sides, overhang)
        found.append(Slide(n, f[axis], s[axis], d[axis], *sides[axis], o))
    return tuple(found)


def output_extent(n: int, span: int, stride: int, before: int, after: int, ceil_mode: bool = False) -> int:
    """o: how many windows fit; see the head of this file."""
    room = n + before + after - span
    if not ceil_mode:
        return room // stride + 1
    o = -(-room // stride) + 1
    return o - 1 if (o - 1) * stride >= n + before else o


def spatial_rank(kind: str, x: TensorType) -> int:
    """How many spatial axes `x` has. Raises E0303 where it has none."""
    if x.rank >= 2:
        return x.rank - 1
    raise LayerError(
        "E0303",
        f"{kind} needs channels and at least one spatial axis, and its input is {x}",
        f"use it before `flatten`, or give the vector axes again: reshape({x}x1x1)" if x.rank else None,
    )


def per_axis(kind: str, attribute: str, value: int | tuple[E, ...], x: TensorType) -> tuple[int | E, ...]:
    """`value` for each spatial axis of `x`. Raises E0305 where it is a tuple of another length."""
    rank = len(x.spatial)
    if isinstance(value, int):
        return (value,) * rank
    if len(value) == rank:
        return value
    raise LayerError(
        "E0305",
        f"{kind} has {attribute} {written(value)} and its input is {x}, which has {axes(rank)}",
        f"{attribute} is one number, or {one_for_each(rank)}",
    )


def margins(kind: str, attribute: str, value: Margins, x: TensorType) -> tuple[tuple[int, int], ...]:
    """(before, after) for each spatial axis of `x`. Raises E0305 for a tuple of any other length."""
    rank = len(x.spatial)
    if isinstance(value, int):
        return ((value, value),) * rank
    if len(value) == rank:
        return tuple((margin, margin) for margin in value)
    if len(value) == 2 * rank:
        return tuple(zip(value[::2], value[1::2], strict=True))
    sides = f" ({_SIDES[rank]})" if rank in _SIDES else ""
    raise LayerError(
        "E0305",
        f"{kind} has {attribute} {written(value)} and its input is {x}, which has {axes(rank)}",
        f"{attribute} is one number, {one_for_each(rank)}, or {2 * rank} numbers{sides}",
    )


def _sides(
    kind: str, padding: Padding, x: TensorType, spans: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(spans)
    if padding == "half":
        return tuple(half(kind, span) for span in spans)
    if padding == "same":
        return tuple(same(n, span, stride) for n, span, stride in zip(x.spatial, spans, strides, strict=True))
    return margins(kind, "padding", padding, x)


def half(kind: str, span: int) -> tuple[int, int]:
    """(e - 1) / 2 on both sides. Raises E0306 for an even e."""
    if span % 2 == 0:
        raise LayerError(
            "E0306",
            f"{kind} has padding = half and a kernel that spans {span}: ({span} - 1) / 2 is not a whole number",
            "write padding = same, which puts the odd one behind, or use an odd kernel",
        )
    return (span // 2, span // 2)


def same(n: Extent, span: int, stride: int) -> tuple[int, int]:
    """TensorFlow's padding. For an unknown extent: as if the stride divided it."""
    rest = stride if n is None else n % stride or stride
    total = max(span - rest, 0)
    return total // 2, total - total // 2


def check_padding(kind: str, x: TensorType, sides: Sequence[tuple[int, int]], mode: str) -> None:
    """Raises E0306 where there is not enough input to reflect, replicate or repeat."""
    for n, side in zip(x.spatial, sides, strict=True):
        if n is None or mode not in _MOST_PADDING or max(side) <= n + _MOST_PADDING[mode]:
            continue
        raise LayerError(
            "E0306",
            f"{kind} pads {x} by {max(side)} in mode {mode}, and that axis has {n} positions",
            f"{mode} pads by at most {max(n + _MOST_PADDING[mode], 0)} here; padding with zeros has no such bound",
        )


_MOST_PADDING = {"reflect": -1, "circular": 0}
"""By how much an axis of n positions can be padded: n plus this."""


def _too_large(
    kind: str,
    x: TensorType,
    kernel: Sequence[int],
    spans: Sequence[int],
    sides: Sequence[tuple[int, int]],
    overhang: Sequence[int],
) -> LayerError:
    """E0301. `overhang` is by how much the only window may hang over the end."""
    extents = list(zip(x.spatial, spans, sides, overhang, strict=True))
    spanned = "" if list(kernel) == list(spans) else f" (it spans {written(spans)} with its dilation)"
    padded = TensorType(tuple(None if n is None else n + sum(side) for n, _, side, _ in extents))
    padding = f"{padded} with its padding" if any(map(any, sides)) else "padding is 0"
    least = max(-(-(span - over - n) // 2) for n, span, _, over in extents if n is not None)
    return LayerError(
        "E0301",
        f"{kind} has a kernel of {written(kernel)}{spanned}, which is larger than its input of "
        f"{TensorType(x.spatial)} ({padding})",
        f"padding = {least} is the least that fits; or take a smaller kernel, or a larger input for the network",
    )


def written(value: int | Sequence[Extent]) -> str:
    """A size as it is written in a spec."""
    if isinstance(value, int):
        return str(value)
    return str(TensorType(tuple(value))) if len(value) > 1 else f"({TensorType(tuple(value))},)"


def axes(rank: int) -> str:
    return f"{rank} spatial {'axis' if rank == 1 else 'axes'}"


def one_for_each(rank: int) -> str:
    names = f" ({_AXES[rank]})" if rank in _AXES and rank > 1 else ""
    return f"{rank} {'number' if rank == 1 else 'numbers'}{names}"


def check_groups(kind: str, x: TensorType, channels: int, filters: int, groups: int) -> None:
    """Raises E0302 where the groups do not divide both the channels of `x` and the filters."""
    if channels % groups == 0 == filters % groups:
        return
    what = f"the {channels} channels of its input {x}" if channels % groups else f"its {filters} filters"
    choices = ", ".join(map(str, divisors(gcd(channels, filters))))
    raise LayerError(
        "E0302",
        f"{kind} has {groups} groups, which do not divide {what}",
        f"groups divides both the channels ({channels}) and the filters ({filters}): {choices}",
    )


def divisors(number: int) -> list[int]:
    """The divisors of `number` in rising order; where there are many, the smallest."""
    small = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})[:_DIVISORS_SHOWN]


_DIVISORS_SHOWN = 16
