"""Weights whose values a spec states: the kernels of edge detectors, the pictures that LeNet-5 compares with.

Values are a number, or numbers in nested lists, which arrive here as nested tuples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import FiniteFloat
from typing_extensions import TypeAliasType

from netdsl.ir.layer import LayerError, Nested, Weight
from netdsl.layers.sizes import written

Values = TypeAliasType("Values", "FiniteFloat | tuple[Values, ...]")
"""A number, or numbers in nested lists."""

Bias = bool | tuple[FiniteFloat, ...]
"""Whether there is a bias, or its values."""


def stated(kind: str, attribute: str, values: Nested, accepted: Sequence[tuple[int, ...]]) -> Nested:
    """`values` as the initial values of a weight, if they have one of the `accepted` shapes.

    A single number stands for all of them. Raises E0304 for any other shape.
    """
    found = shape_of(values)
    if found == ():
        return (values,)
    if found in accepted:
        return values
    shapes = [written(shape) for shape in dict.fromkeys(accepted)]
    choices = " or ".join(shapes)
    if found is None:
        raise LayerError(
            "E0304", f"{kind} has values for its {attribute} in rows of different lengths", f"the shape is {choices}"
        )
    raise LayerError(
        "E0304",
        f"{kind} has values of shape {written(found)} for its {attribute}, which has shape {shapes[-1]}",
        f"the shape of the values is {choices}, or they are a single number",
    )


def shape_of(values: Any) -> tuple[int, ...] | None:
    """The shape of nested tuples, () for a number; None where rows differ in shape."""
    if not isinstance(values, tuple):
        return ()
    inner = shape_of(values[0]) if values else ()
    if inner is None or any(shape_of(row) != inner for row in values[1:]):
        return None
    return (len(values), *inner)


def weight_and_bias(
    kind: str, shape: tuple[int, ...], values: Nested | None, bias: Bias, units: int, trainable: bool
) -> tuple[Weight, ...]:
    """The weights of a layer of `units` outputs (channels), with the values that are stated.

    Raises E0304 where there is a list of another length for the bias.
    """
    weight = Weight("weight", shape, trainable=trainable, initial="kaiming" if values is None else values)
    if bias is False:
        return (weight,)
    if bias is True:
        return (weight, Weight("bias", (units,), trainable=trainable))
    if len(bias) != units:
        raise LayerError(
            "E0304",
            f"{kind} has {len(bias)} values for its bias, which has shape {written((units,))}",
            f"give {units}, one for each output channel; or bias = false",
        )
    return (weight, Weight("bias", (units,), trainable=trainable, initial=bias))
