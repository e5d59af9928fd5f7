"""What the operands of single entries of a recipe say."""

from __future__ import annotations

from typing import Any, NamedTuple

from netdsl.elaborate.calls import Calls
from netdsl.elaborate.linked import LoadedModule
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, SpecError
from netdsl.language.source import Span
from netdsl.train import recipe_parts as parts


class Placed(NamedTuple):
    """An entry, and the file that it stands in."""

    entry: syntax.Entry
    module: LoadedModule

    @property
    def span(self) -> Span:
        return self.module.syntax.span(self.entry)


def text_of(operand: Any) -> str:
    return str(operand.value)


def word_of(placed: Placed) -> str:
    """A bare name."""
    operand = placed.entry.operands[0]
    return str(getattr(operand, "path", None) or getattr(operand, "name", ""))


def _constant(placed: Placed) -> Any:
    return getattr(placed.entry.operands[0], "value", None)


def whole(placed: Placed, least: int, most: int) -> int:
    value = _constant(placed)
    if type(value) is not int or not least <= value <= most:
        raise _misfit(placed, value, f"a whole number from {least} to {most:_}")
    return value


def number(placed: Placed, least: float, below: float, what: str) -> float:
    value = _constant(placed)
    if type(value) not in (int, float) or not least <= value < below:
        raise _misfit(placed, value, f"a number {what}")
    return float(value)


def rate_of(placed: Placed) -> float:
    value = _constant(placed)
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise _misfit(placed, value, "a number above 0")
    return float(value)


def clip_of(placed: Placed) -> parts.ClipNorm | parts.ClipValue:
    operand = placed.entry.operands[0]
    if isinstance(operand, syntax.Call):
        model = Calls(placed.module).model(operand, parts.CLIPS, "clipping")
        assert isinstance(model, parts.ClipNorm | parts.ClipValue)
        return model
    return parts.ClipNorm(most=rate_of(placed))


def _misfit(placed: Placed, value: Any, expected: str) -> SpecError:
    message = f"`{placed.entry.name}` is {value}, expected {expected}"
    return SpecError([Diagnostic("E0204", message, placed.span)])
