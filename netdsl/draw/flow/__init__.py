"""A picture read as a flow: what follows what, what stands side by side, what skips.

The boxes of a picture become steps. A step that every way through the network leads through ends what stands before
it: between two of those lie the lanes of a fork, each a flow of its own. Lanes that are wired among each other are a
tangle: steps in order, each with the list of those that it reads.
"""

from __future__ import annotations

from collections import defaultdict

from netdsl.draw.flow.group import Grouper
from netdsl.draw.flow.parts import Flow, Fork, Group, Head, Part, Series, Step, Tangle, steps_of
from netdsl.draw.flow.split import Splitter, ordered
from netdsl.draw.flow.steps import heads_in, merge, steps_in
from netdsl.draw.picture import Picture

__all__ = ["Flow", "Fork", "Group", "Head", "Part", "Series", "Step", "Tangle", "flow", "steps_of"]


def flow(picture: Picture) -> Flow:
    """Reads a picture as a flow."""
    frames, steps = steps_in(picture)
    sources = merge(picture, steps, frames)
    main = {number for number, step in steps.items() if not step.main.auxiliary}
    outputs: dict[int, list[str]] = defaultdict(list)
    for name, box, _, training in picture.ends:
        if not training:
            outputs[sources[box]].append(name)
    heads = heads_in(picture, steps, sources, main)
    order = ordered(steps, main)
    place = {number: at for at, number in enumerate(order)}
    edges = [(place[source], place[number]) for number in order for source in steps[number].inputs if source in place]
    reading, read = {target for _, target in edges}, {source for source, _ in edges}
    edges += [(-1, at) for at in range(len(order)) if at not in reading]
    edges += [(at, len(order)) for at in range(len(order)) if at not in read]
    parts = Splitter([steps[number] for number in order]).series(list(range(len(order))), edges, -1, len(order), 0)
    kept = {number: steps[number] for number in order}
    return Flow(Grouper(frames, kept).grouped(parts, 0), kept, frames, dict(outputs), heads)
