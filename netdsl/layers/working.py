"""A layer's arithmetic with its numbers filled in, as lines for the board. Letters as in netdsl/layers/sizes.py."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.ir.types import Extent, TensorType
from netdsl.layers.axes import axis_name
from netdsl.layers.sizes import Slide


def number(value: Extent) -> str:
    return "?" if value is None else f"{value:,}"


def product(*factors: Extent) -> str:
    """`7 * 7`"""
    return " * ".join(number(factor) for factor in factors) or "1"


def result(value: Extent) -> str:
    """` = 9,408`; nothing while it is not known."""
    return "" if value is None else f" = {value:,}"


def extents(type: TensorType, formulas: Sequence[str]) -> list[str]:
    """One line for each spatial axis; axes with the same formula share it: `height = width = ...`."""
    found: dict[str, list[str]] = {}
    for axis, formula in enumerate(formulas, start=1):
        found.setdefault(formula, []).append(axis_name(axis, type.rank))
    return [f"{' = '.join(names)} = {formula}" for formula, names in found.items()]


def slid(x: TensorType, slide: Sequence[Slide], ceil_mode: bool = False) -> list[str]:
    """How many windows fit along each axis: `height = width = floor((224 + 2 * 3 - 7) / 2) + 1 = 112`."""
    spans = dict.fromkeys(
        f"the kernel spans {axis.d} * ({axis.f} - 1) + 1 = {axis.span}" for axis in slide if axis.d > 1
    )
    return [*spans, *extents(x, [_windows(axis, ceil_mode) for axis in slide])]


def _windows(axis: Slide, ceil_mode: bool) -> str:
    sides = f" + 2 * {axis.before}" if axis.before else ""
    if axis.before != axis.after:
        sides = f" + {axis.before} + {axis.after}"
    rounded = "ceil" if ceil_mode else "floor"
    formula = f"{rounded}(({number(axis.n)}{sides} - {axis.span}) / {axis.s}) + 1"
    if axis.n is None or axis.o is None:
        return formula
    room = axis.n + axis.before + axis.after - axis.span
    if room % axis.s:
        formula += f" = {rounded}({room / axis.s:.4g}) + 1"
    count = (-(-room // axis.s) if ceil_mode else room // axis.s) + 1
    if count != axis.o:
        return f"{formula} = {count}, of which the last would begin behind the input: {axis.o}"
    return f"{formula} = {axis.o}"


def biases(count: Extent, bias: object) -> list[str]:
    return ["no bias"] if bias is False else [f"bias: {number(count)}"]
