"""What a flow is made of: steps, forks with lanes, tangles, groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from netdsl.analysis.tree import Item
from netdsl.draw.picture import Frame
from netdsl.ir.types import TensorType


@dataclass(eq=False)
class Step:
    """One operation and the tensor that it makes."""

    number: int
    items: list[Item]
    """The layer (or the scope) and those that share its box: normalization, activation."""
    scope: str
    path: tuple[int, ...]
    """The frames around it, outermost first, as indices of `Flow.frames`."""
    before: list[Item] = field(default_factory=list)
    """Normalization and activation in front of it that only it reads."""
    inputs: list[int] = field(default_factory=list)
    """Numbers of the steps that it reads, in the order in which it does."""

    @property
    def main(self) -> Item:
        return self.items[0]

    @property
    def type(self) -> TensorType:
        return self.items[-1].type

    @property
    def category(self) -> str:
        return "scope" if self.main.row is None else self.main.row.layer.category

    @property
    def is_join(self) -> bool:
        return self.category == "join" or len(self.inputs) > 1


@dataclass(eq=False)
class Fork:
    """Lanes that begin at one step and end at one; a lane without parts is the tensor itself.

    `source` is None where the lanes begin with inputs of the network, `join` where they end with its outputs.
    """

    lanes: list[Series]
    source: int | None
    join: int | None


@dataclass(eq=False)
class Tangle:
    """Steps in order that no nesting of lanes describes."""

    steps: list[Step]


@dataclass(eq=False)
class Group:
    """Parts that a frame of the picture holds: a scope, or several equal ones."""

    frame: Frame
    parts: Series


Part: TypeAlias = Step | Fork | Tangle | Group
Series: TypeAlias = list[Part]


@dataclass(eq=False)
class Head:
    """What runs in training only: an output, the step that it hangs on, and its layers."""

    name: str
    source: int | None
    layers: int
    type: TensorType


@dataclass(eq=False)
class Flow:
    series: Series
    steps: dict[int, Step]
    frames: list[Frame]
    outputs: dict[int, list[str]]
    """Names of the outputs that a step makes."""
    heads: list[Head]

    def last_type(self, step: Step) -> TensorType:
        """What a step makes in the last of the equal ones that are drawn as one: it may have more channels."""
        row = step.items[-1].rows[-1][-1]
        for number in step.path:
            item = self.frames[number].item
            if item is not None and item.repeats > 1:
                place = next((at for at, other in enumerate(item.rows[0]) if other.name == row.name), None)
                row = row if place is None else item.rows[-1][place]
        return row.type


def steps_of(parts: Sequence[Part]) -> Iterator[Step]:
    """All steps of a series, in order."""
    stack: list[Part] = list(reversed(parts))
    while stack:
        part = stack.pop()
        if isinstance(part, Step):
            yield part
        elif isinstance(part, Fork):
            stack.extend(inner for lane in reversed(part.lanes) for inner in reversed(lane))
        else:
            stack.extend(reversed(part.steps if isinstance(part, Tangle) else part.parts))
