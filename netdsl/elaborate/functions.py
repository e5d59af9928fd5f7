"""The functions that every expression may call: Python's, with bounds, and `make_divisible` and `transpose`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from netdsl.elaborate.limits import Limits
from netdsl.elaborate.values import Builtin


def make_divisible(value: float, divisor: int = 8, floor: int | None = None) -> int:
    """The multiple of `divisor` nearest to `value`, at least `floor` (default: the divisor) and never more than 10 %
    below `value` (`_make_divisible` of the MobileNet authors, tensorflow/models)."""
    least = divisor if floor is None else floor
    rounded = max(least, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def transpose(matrix: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows become columns. Raises ValueError for rows of different lengths."""
    if not all(isinstance(row, list | tuple) for row in matrix):
        raise TypeError("it takes a list of rows")
    return [list(column) for column in zip(*matrix, strict=True)]


def _bounded(items: Iterable[Any], limits: Limits) -> list[Any]:
    """The items as a list. Raises OverflowError for more than the limit."""
    if isinstance(items, str):
        raise TypeError("a string is not a list")
    listed: list[Any] = []
    for item in items:
        if len(listed) >= limits.items:
            raise OverflowError
        listed.append(item)
    return listed


def builtins(limits: Limits) -> dict[str, Builtin]:
    """Name -> function."""

    def span(*arguments: int) -> list[int]:
        whole = range(*arguments)
        # len() of a huge range overflows by itself; the quotient does not.
        if whole and abs(whole[-1] - whole[0]) // abs(whole.step) >= limits.items:
            raise OverflowError
        return list(whole)

    def enumerated(items: Iterable[Any], start: int = 0) -> list[tuple[int, Any]]:
        return list(enumerate(_bounded(items, limits), start))

    def zipped(*lists: Iterable[Any]) -> list[tuple[Any, ...]]:
        return list(zip(*(_bounded(items, limits) for items in lists), strict=False))

    def total(items: Iterable[Any]) -> Any:
        return sum(_bounded(items, limits))

    def text(value: Any) -> str:
        if not isinstance(value, str | int | float):
            raise TypeError("it takes a number or a string")
        return str(value)

    table: dict[str, Any] = {
        "min": min,
        "max": max,
        "abs": abs,
        "ceil": math.ceil,
        "floor": math.floor,
        "round": round,
        "int": int,
        "float": float,
        "str": text,
        "len": len,
        "sum": total,
        "sqrt": math.sqrt,
        "log2": math.log2,
        "range": span,
        "enumerate": enumerated,
        "zip": zipped,
        "sorted": lambda items: sorted(_bounded(items, limits)),
        "reversed": lambda items: _bounded(items, limits)[::-1],
        "any": lambda items: any(_bounded(items, limits)),
        "all": lambda items: all(_bounded(items, limits)),
        "make_divisible": make_divisible,
        "transpose": transpose,
    }
    return {name: Builtin(name, call) for name, call in table.items()}
