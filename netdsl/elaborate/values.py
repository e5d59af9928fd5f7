"""What an expression of a spec can be worth, besides Python's numbers, strings, truth values, lists and tuples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from netdsl.elaborate.linked import LoadedModule
from netdsl.ir import Layer, TensorType
from netdsl.language import syntax

Value = Any


class Poison:
    """Stands for a value whose making failed: the error has been reported, and what follows from it is not."""

    def __repr__(self) -> str:
        return "an earlier error"


POISON = Poison()


class Unknown:
    """`?`: an extent that is only known when the network runs. `of` says which, where a spec asked for it."""

    def __init__(self, of: str = "") -> None:
        self.of = of

    def __repr__(self) -> str:
        return "?"


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the network: the node that makes it and its type."""

    node: str
    type: TensorType


@dataclass(frozen=True, slots=True)
class BlockValue:
    declaration: syntax.Block
    module: LoadedModule

    @property
    def name(self) -> str:
        return self.declaration.name


@dataclass(frozen=True, slots=True)
class FunctionValue:
    declaration: syntax.Function
    module: LoadedModule

    @property
    def name(self) -> str:
        return self.declaration.name


@dataclass(frozen=True, slots=True)
class LayerValue:
    layer: type[Layer]

    @property
    def name(self) -> str:
        return self.layer.kind


@dataclass(frozen=True, slots=True)
class Builtin:
    """A function of the language: how many values it takes by position, and which by keyword."""

    name: str
    call: Callable[..., Value]
    least: int
    most: int | None
    keywords: tuple[str, ...] = ()

    def misfit(self, positional: int, keywords: Iterable[str]) -> str | None:
        """Why a call does not fit, as "takes ..."; None where it does."""
        unknown = [name for name in keywords if name not in self.keywords]
        if unknown:
            has = f"it has {', '.join(self.keywords)}" if self.keywords else "it has none"
            return f"has no parameter `{unknown[0]}`, {has}"
        given = positional + sum(1 for _ in keywords)
        if given >= self.least and (self.most is None or given <= self.most):
            return None
        if self.most is None:
            count = f"at least {self.least}"
        else:
            count = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
        return f"takes {count} value{'s' * (count != '1')}, found {given}"


class Bound(NamedTuple):
    """An argument with its value."""

    name: str | None
    value: Value
    node: syntax.Argument


@dataclass(frozen=True, slots=True)
class Partial:
    """A block or layer with some of its arguments bound, e.g. `leaky_relu(0.1)`."""

    target: BlockValue | LayerValue
    arguments: tuple[Bound, ...]

    @property
    def name(self) -> str:
        return self.target.name


Callee = BlockValue | LayerValue | Partial


def model_of(callee: Callee | Poison) -> type[Layer] | None:
    """The layer that a call makes; None for a block."""
    target = callee.target if isinstance(callee, Partial) else callee
    return target.layer if isinstance(target, LayerValue) else None


def show(value: Value) -> str:
    """A value as it would be written in a spec."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Tensor):
        return f"the tensor {value.node} ({value.type})"
    if isinstance(value, BlockValue | LayerValue | FunctionValue | Builtin | Partial):
        return f"`{value.name}`"
    if isinstance(value, tuple):
        if len(value) > 1 and all(v is None or (isinstance(v, int) and not isinstance(v, bool)) for v in value):
            return "x".join("?" if v is None else str(v) for v in value)
        return _sequence("(", value, ",)" if len(value) == 1 else ")")
    if isinstance(value, list):
        return _sequence("[", tuple(value), "]")
    return str(value)


def _sequence(opening: str, items: tuple[Value, ...], closing: str, most: int = 8) -> str:
    shown = [show(item) for item in items[:most]]
    if len(items) > most:
        shown.append(f"... {len(items) - most} more")
    return opening + ", ".join(shown) + closing
