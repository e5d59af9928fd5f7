"""From the boxes of a picture to steps: what belongs to one operation is one step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from netdsl.analysis.cost import total
from netdsl.analysis.tree import Item
from netdsl.draw.flow.parts import Head, Step
from netdsl.draw.picture import Box, Frame, Picture

MAX_OPENED = 4
"""Layers of a scope that is drawn as one of them."""

_FIRST = frozenset({"norm", "activation", "regularisation"})
"""Categories of layers that are written in front of the convolution that they are for."""


def steps_in(picture: Picture) -> tuple[list[Frame], dict[int, Step]]:
    frames: list[Frame] = []
    steps: dict[int, Step] = {}
    stack: list[tuple[Box | Frame, tuple[int, ...]]] = [(picture.root, ())]
    while stack:
        part, path = stack.pop()
        if isinstance(part, Box):
            steps[part.number] = Step(part.number, _opened(part.items), part.scope, path)
            continue
        if part.item is not None:
            path = (*path, len(frames))
            frames.append(part)
        stack.extend((inner, path) for inner in reversed(part.parts))
    return frames, steps


def _opened(items: Sequence[Item]) -> list[Item]:
    """The items of a box; a scope that holds no more than a layer and what is done to its output is that layer."""
    (first, *rest) = items
    leaves = _leaves(first) if first.row is None and not rest and len(first.rows[0]) <= MAX_OPENED else []
    if not leaves or any(
        item.row is None
        or item.repeats > 1
        or (at and (item.row.layer.category not in _FIRST or item.row.inputs != (leaves[at - 1].name,)))
        or item.type != leaves[0].type
        for at, item in enumerate(leaves)
    ):
        return list(items)
    place = {row.name: at for at, row in enumerate(first.rows[0])}
    return [_repeated(leaf, first, place[leaf.name]) for leaf in leaves]


def _repeated(leaf: Item, scope: Item, place: int) -> Item:
    """A layer of the first of several equal scopes, as one that stands for those of all."""
    rows = tuple((repeat[place],) for repeat in scope.rows)
    totals = total([row for (row,) in rows])
    return leaf._replace(repeats=scope.repeats, last=rows[-1][0].name, rows=rows, totals=totals)


def _leaves(item: Item) -> list[Item]:
    found: list[Item] = []
    stack = [item]
    while stack:
        item = stack.pop()
        if item.children:
            stack.extend(reversed(item.children))
        else:
            found.append(item)
    return found


def merge(picture: Picture, steps: dict[int, Step], frames: list[Frame]) -> dict[int, int]:
    """Wires the steps, and takes together those that one picture of a tensor is enough for.

    Returns the step that makes what each box makes.
    """
    readers: dict[int, list[int]] = defaultdict(list)
    for wire in picture.wires:
        steps[wire.target].inputs.append(wire.source)
        readers[wire.source].append(wire.target)
    ends = {box for _, box, _, _ in picture.ends}
    sources = {number: number for number in steps}
    for number in sorted(steps):
        step = steps[number]
        before = steps.get(step.inputs[0]) if len(step.inputs) == 1 else None
        alone = before is not None and len(readers[before.number]) == 1 and before.number not in ends
        if before is not None and alone and (_comes_behind(step, before, frames) or _only_flattens(before, step)):
            before.items = [*before.items, *step.before, *step.items]
            readers[before.number] = readers[number]
            for reader in set(readers[number]):
                steps[reader].inputs = [before.number if n == number else n for n in steps[reader].inputs]
            del steps[number]
            sources[number] = before.number
            if number in ends:
                ends.add(before.number)
            continue
        if number in ends or len(readers[number]) != 1 or len(step.inputs) != 1:
            continue
        after = steps.get(readers[number][0])
        if after is None or len(after.inputs) != 1 or after.main.auxiliary != step.main.auxiliary:
            continue
        if not _goes_ahead(step, after, frames):
            continue
        after.before = [*step.before, *step.items, *after.before]
        after.inputs = list(step.inputs)
        (source,) = step.inputs
        readers[source] = [after.number if reader == number else reader for reader in readers[source]]
        del steps[number]
        sources[number] = after.number
    return {box: _final(sources, box) for box in sources}


def _final(sources: dict[int, int], number: int) -> int:
    while sources[number] != number:
        number = sources[number]
    return number


def _comes_behind(step: Step, before: Step, frames: list[Frame]) -> bool:
    """Whether a step is what is done to the tensor before it, without a change of shape, as dropout behind a block."""
    return (
        all(item.row is not None and item.repeats == 1 and item.row.layer.category in _FIRST for item in step.items)
        and step.type == before.type
        and before.main.row is not None
        and before.main.repeats == 1
        and before.category != "input"
        and step.main.auxiliary == before.main.auxiliary
        and _all_single(set(step.path) ^ set(before.path), frames)
    )


def _all_single(numbers: set[int], frames: list[Frame]) -> bool:
    """Whether none of these frames stands for several equal ones."""
    return all(item.repeats == 1 for number in numbers if (item := frames[number].item) is not None)


def _goes_ahead(step: Step, after: Step, frames: list[Frame]) -> bool:
    """Whether a step only prepares the next one, as where normalization comes before the convolution."""
    return (
        all(item.row is not None and item.repeats == 1 and item.row.layer.category in _FIRST for item in step.items)
        and after.main.row is not None
        and _all_single(set(step.path) ^ set(after.path), frames)
        and after.category in ("conv", "dense", "pool")
        and step.type == step.main.type
    )


def _only_flattens(step: Step, after: Step) -> bool:
    """Whether a step makes C numbers of C maps of one number."""
    return (
        after.main.row is not None
        and after.main.repeats == 1
        and not after.before
        and after.main.auxiliary == step.main.auxiliary
        and after.category == "reshape"
        and step.main.row is not None
        and step.main.repeats == 1
        and step.category != "input"
        and after.type.rank == 1
        and step.type.rank > 1
        and set(step.type.spatial) == {1}
        and after.type.shape == step.type.shape[:1]
    )


def heads_in(picture: Picture, steps: dict[int, Step], sources: dict[int, int], main: set[int]) -> list[Head]:
    found = []
    for name, box, type, training in picture.ends:
        if not training:
            continue
        seen: set[int] = set()
        stack, tapped = [sources[box]], None
        while stack:
            number = stack.pop()
            if number in main:
                tapped = number if tapped is None else max(tapped, number)
            elif number not in seen:
                seen.add(number)
                stack.extend(steps[number].inputs)
        layers = sum(len(rows) for n in seen for item in (*steps[n].before, *steps[n].items) for rows in item.rows)
        found.append(Head(name, tapped, layers, type))
    return found
