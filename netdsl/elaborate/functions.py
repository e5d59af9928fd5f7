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

    def total(items: Iterable[Any], start: Any = 0) -> Any:
        result = start
        length = 0
        for item in _bounded(items, limits):
            if isinstance(item, list | tuple):
                length += len(item)
                if length > limits.items:
                    raise OverflowError
                # A list of lists is joined into one list; without a start the first list is it.
                result = list(item) if result == 0 and not isinstance(result, list) else [*result, *item]
            elif isinstance(item, str) or isinstance(result, list):
                raise TypeError("it adds numbers, or joins lists")
            else:
                result = result + item
        return result

    def text(value: Any) -> str:
        if not isinstance(value, str | int | float):
            raise TypeError("it takes a number or a string")
        return str(value)

    return {
        found.name: found
        for found in (
            Builtin("min", min, 1, None),
            Builtin("max", max, 1, None),
            Builtin("abs", abs, 1, 1),
            Builtin("ceil", math.ceil, 1, 1),
            Builtin("floor", math.floor, 1, 1),
            Builtin("round", round, 1, 2),
            Builtin("int", int, 1, 1),
            Builtin("float", float, 1, 1),
            Builtin("str", text, 1, 1),
            Builtin("len", len, 1, 1),
            Builtin("sum", total, 1, 2, ("start",)),
            Builtin("sqrt", math.sqrt, 1, 1),
            Builtin("log2", math.log2, 1, 1),
            Builtin("range", span, 1, 3),
            Builtin("enumerate", enumerated, 1, 2, ("start",)),
            Builtin("zip", zipped, 1, None),
            Builtin("sorted", lambda items: sorted(_bounded(items, limits)), 1, 1),
            Builtin("reversed", lambda items: _bounded(items, limits)[::-1], 1, 1),
            Builtin("any", lambda items: any(_bounded(items, limits)), 1, 1),
            Builtin("all", lambda items: all(_bounded(items, limits)), 1, 1),
            Builtin("make_divisible", make_divisible, 1, 3, ("divisor", "floor")),
            Builtin("transpose", transpose, 1, 1),
            # Answered by the evaluator, which knows the names of the body.
            Builtin("tensor", text, 1, 1),
        )
    }
