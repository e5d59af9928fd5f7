"""From a flow to the pieces of its drawing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from netdsl.analysis.notation import printable
from netdsl.analysis.receptive import Reach, receptive_fields
from netdsl.analysis.tree import Item
from netdsl.draw.flow import Flow, Fork, Group, Series, Step, Tangle, steps_of
from netdsl.draw.graph.figures import Figures, cost
from netdsl.draw.lettering import fitted
from netdsl.draw.options import Options
from netdsl.draw.picture import Picture
from netdsl.draw.volumes.pieces import ASIDE, CAPTION, Line, Name, Piece, Symbol, Volume
from netdsl.draw.volumes.scale import Scale, sized
from netdsl.draw.volumes.stack import MOST_LANES, Stack
from netdsl.draw.volumes.strip import Arc, Bracket, Strip, Stub, strip
from netdsl.draw.words import SIGNS, TIMES, broken, followers, local_name, operation, spaced
from netdsl.ir.types import TensorType

CAPTION_WIDTH = 66.0
"""Pixels of a caption's line, if its words let it."""
LONGEST_NAME = 150.0
"""Pixels of the name of an output or a scope."""
_LONG = 4
"""Steps of a lane beside which one single step is drawn on the arc that it skips the lane by."""
_MOST_BESIDE = 2
"""Steps on an arc."""


@dataclass(eq=False)
class Draft:
    """Pieces in the making, in order, and what hangs on them."""

    pieces: list[Piece] = field(default_factory=list)
    arcs: list[Arc] = field(default_factory=list)
    stubs: list[Stub] = field(default_factory=list)
    brackets: list[Bracket] = field(default_factory=list)
    made: dict[int, int] = field(default_factory=dict)
    """Step -> the piece that shows what it makes."""
    pending: dict[int, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    """Step -> pieces that arcs come from which end at it, and what happens on the way."""

    def strip(self) -> Strip:
        return strip(self.pieces, self.arcs, self.stubs, self.brackets)


class Builder:
    """Makes the pieces. `most` is how wide a piece may be: lanes that are wider follow one another. `size` is that of
    the boxes."""

    def __init__(self, picture: Picture, flow: Flow, options: Options, most: float, size: float = 1.0) -> None:
        self._flow = flow
        self._options = options
        self._most = most
        self._fields: dict[str, Reach] = {}
        if any(None in step.type.spatial for step in flow.steps.values()):
            self._fields = receptive_fields(picture.network)
        self._scale = Scale([self._sized(step) for step in flow.steps.values()], size)
        self._read = {source for step in flow.steps.values() for source in step.inputs}
        self._heads = defaultdict(list)
        for head in flow.heads:
            if head.source is not None:
                self._heads[head.source].append(head)
        outputs = [name for names in flow.outputs.values() for name in names]
        self._named = len(outputs) > 1
        self._repeated = 0
        """Repeated groups around what is being made."""
        self._network = picture.network
        self._shown = {frame.item.name for frame in flow.frames if frame.item is not None and frame.item.block}
        self._steps = len(flow.steps)
        self._figures = Figures(picture.network, options.labels)
        costs = [self._cost(step) for step in flow.steps.values()] if options.heat else []
        self._dearest = max(costs, default=0)

    def _sized(self, step: Step) -> TensorType:
        return sized(step.type, self._fields.get(step.items[-1].rows[0][-1].name))

    def line(self) -> Draft:
        """The whole network as one line."""
        line = Draft()
        self._series(line, self._flow.series, trunk=True)
        return line

    # ------------------------------------------------------------------------------------------------------- parts

    def _series(self, line: Draft, parts: Series, trunk: bool) -> None:
        for part in parts:
            if isinstance(part, Step):
                self._step(line, part)
            elif isinstance(part, Fork):
                self._fork(line, part, trunk)
            elif isinstance(part, Tangle):
                self._tangle(line, part)
            else:
                self._group(line, part, trunk)

    def _title(self, item: Item) -> str:
        """What a group is called: by its block, if its name is a number, and else by its name.

        Nothing for a scope that only names a part of a block.
        """
        name = local_name(item)
        if item.is_run:
            return ""
        if item.block:
            # A name with a number would be that of the first of several.
            several = item.repeats > 1 or self._repeated
            return spaced(item.block) if several or not name[0].isalpha() else name
        calls = self._network.table[item.rows[0][0].name].calls
        around = [call for call in calls if item.name.startswith(call.scope + ".")]
        if not around:
            return name if name[0].isalpha() else ""
        return "" if around[-1].scope in self._shown else spaced(around[-1].block)

    def _group(self, line: Draft, group: Group, trunk: bool) -> None:
        first = len(line.pieces)
        item = group.frame.item
        repeats = item is not None and item.repeats > 1
        self._repeated += repeats
        self._series(line, group.parts, trunk)
        self._repeated -= repeats
        last = len(line.pieces) - 1
        if item is None or last < first:
            return
        share = sum(1 for _ in steps_of(group.parts)) / self._steps
        name = self._title(item)
        if item.repeats > 1 or (name and trunk and last > first and share < 0.6):
            title = fitted(printable(name), LONGEST_NAME, CAPTION, bold=item.repeats > 1)
            if item.repeats > 1:
                beside = " side by side" if group.frame.side_by_side else ""
                title = f"{title} {TIMES} {item.repeats:,}{beside}".strip()
            line.brackets.append(Bracket(first, last, title, item.repeats > 1))

    def _fork(self, line: Draft, fork: Fork, trunk: bool) -> None:
        main, beside = self._skips(fork)
        if main is not None or (beside and not any(fork.lanes)):
            source = line.made.get(fork.source) if fork.source is not None else None
            if source is not None and fork.join is not None:
                line.pending[fork.join].extend((source, text) for text in beside)
                self._series(line, main or [], trunk)
                return
        lanes: list[Strip | int | None] = []
        shown = fork.lanes
        if len(shown) > MOST_LANES:
            shown = [*shown[: MOST_LANES - 2], shown[-1]]
        for number, parts in enumerate(shown):
            if len(shown) < len(fork.lanes) and number == len(shown) - 1:
                lanes.append(len(fork.lanes) - len(shown))
            lanes.append(self._lane(parts) if parts else None)
        widest = max((lane.width for lane in lanes if isinstance(lane, Strip)), default=0.0)
        if widest > self._most and trunk:
            self._one_by_one(line, fork)
            return
        line.pieces.append(Stack(lanes, opens=fork.source is not None, closes=fork.join is not None))

    def _lane(self, parts: Series) -> Strip:
        lane = Draft()
        self._series(lane, parts, trunk=False)
        return lane.strip()

    def _skips(self, fork: Fork) -> tuple[Series | None, list[str]]:
        """The lane that is drawn as the line itself, where all others are drawn as arcs over it; and what they do."""
        if fork.source is None or fork.join is None:
            return None, []
        counts = [sum(1 for _ in steps_of(lane)) for lane in fork.lanes]
        length = max(counts)
        longest = fork.lanes[counts.index(length)]
        sums = self._flow.steps[fork.join].main.row
        least = 2 if sums is not None and sums.kind in SIGNS else _LONG
        beside: list[str] = []
        for lane, count in zip(fork.lanes, counts, strict=True):
            if lane is longest:
                continue
            # One step may stand beside two of a sum; two steps stand beside a lane that is much longer.
            if length < least + 3 * (count - 1) or count > _MOST_BESIDE or not _is_plain(lane):
                return None, []
            beside.append(", ".join(", ".join(operation(step.main)) for step in steps_of(lane)))
        if not length:
            # Every lane is the tensor itself.
            return None, beside
        return longest, beside

    def _one_by_one(self, line: Draft, fork: Fork) -> None:
        """Lanes that are too wide to stand above each other, each on rows of its own."""
        source = line.made.get(fork.source) if fork.source is not None else None
        for number, lane in enumerate(fork.lanes):
            if not lane:
                if source is not None and fork.join is not None:
                    line.pending[fork.join].append((source, ""))
                continue
            first = len(line.pieces)
            self._series(line, lane, trunk=True)
            if len(line.pieces) == first:
                continue
            if number:
                line.pieces[first].fresh = True
                line.pieces[first].linked = False
                if source is not None:
                    line.arcs.append(Arc(source, first))
            if fork.join is not None and number < len(fork.lanes) - 1:
                line.pending[fork.join].append((len(line.pieces) - 1, ""))

    def _tangle(self, line: Draft, tangle: Tangle) -> None:
        for step in tangle.steps:
            last = len(line.pieces) - 1
            first = len(line.pieces)
            self._step(line, step)
            sources = [line.made[source] for source in step.inputs if source in line.made]
            line.pieces[first].linked = last in sources or (not sources and last >= 0 and bool(step.inputs))
            for source in sources:
                if source != last and (source, first) not in {(arc.source, arc.target) for arc in line.arcs[-40:]}:
                    line.arcs.append(Arc(source, first))

    # ------------------------------------------------------------------------------------------------------- pieces

    def _step(self, line: Draft, step: Step) -> None:
        first = len(line.pieces)
        before = line.pieces[-1] if line.pieces else None
        if step.is_join and step.main.row is not None:
            self._join(line, step, before)
        else:
            line.pieces.append(self._volume(step, self._caption(step)))
        line.made[step.number] = len(line.pieces) - 1
        if not step.inputs and step.category == "input":
            line.pieces[first].linked = False
        if step.main.repeats > 1:
            line.brackets.append(Bracket(first, line.made[step.number], f"{TIMES} {step.main.repeats:,}", True))
        line.arcs.extend(Arc(source, first, text) for source, text in line.pending.pop(step.number, []))
        self._ends(line, step)

    def _join(self, line: Draft, step: Step, before: Piece | None) -> None:
        row = step.main.row
        assert row is not None
        sign = row.kind if row.kind in SIGNS else ""
        word = "" if sign else fitted(printable(", ".join(operation(step.main))), LONGEST_NAME, ASIDE)
        below = broken(followers(step.items[1:]), CAPTION_WIDTH, ASIDE)
        line.pieces.append(Symbol(step, sign, word, below))
        kept = before is not None and before.type == step.type
        if not kept and not (sign and isinstance(before, Stack) and set(row.input_types) == {step.type}):
            line.pieces.append(self._volume(step, []))

    def _volume(self, step: Step, caption: list[Line]) -> Volume:
        name = ""
        if step.category == "input":
            name = fitted(printable(step.main.name), LONGEST_NAME, CAPTION, bold=True)
        return Volume(
            step, step.type, self._scale.solid(self._sized(step)), caption, fill=self._heat(step), name=name,
            last=self._flow.last_type(step).channels, notes=self._figures.lines([*step.before, *step.items]),
        )  # fmt: skip

    def _caption(self, step: Step) -> list[Line]:
        if step.category == "input":
            return []
        lines = [Line(text, True) for text in broken(followers(step.before), CAPTION_WIDTH, ASIDE)]
        lines += [Line(text) for text in broken(operation(step.main), CAPTION_WIDTH, CAPTION)]
        lines += [Line(text, True) for text in broken(followers(step.items[1:]), CAPTION_WIDTH, ASIDE)]
        return lines

    def _ends(self, line: Draft, step: Step) -> None:
        """The outputs that a step makes, and heads that hang on it."""
        at = line.made[step.number]
        names = self._flow.outputs.get(step.number, [])
        own = {item.name for item in step.items} | {"output"}
        for name in names if self._named else [name for name in names if name not in own]:
            text = fitted(printable(name), LONGEST_NAME, CAPTION, bold=True)
            if step.number in self._read or len(names) > 1:
                line.stubs.append(Stub(at, text, True))
            else:
                line.pieces.append(Name(text))
        for head in self._heads.get(step.number, []):
            text = f"{fitted(printable(head.name), LONGEST_NAME, ASIDE)}: {head.layers} layers, training only"
            line.stubs.append(Stub(at, text, True, True))

    # ------------------------------------------------------------------------------------------------------ figures

    def _cost(self, step: Step) -> int:
        assert self._options.heat is not None
        return cost([*step.before, *step.items], self._options.heat) or 0

    def _heat(self, step: Step) -> str:
        """What a step's volume is filled with: nothing where it is coloured by its kind."""
        if not self._options.heat:
            return ""
        return self._options.theme.heat(self._cost(step) / self._dearest if self._dearest else 0.0)


def _is_plain(lane: Series) -> bool:
    """Whether a lane is a chain of steps, none of them repeated."""
    return all(
        part.main.repeats == 1
        if isinstance(part, Step)
        else isinstance(part, Group)
        and (part.frame.item is None or part.frame.item.repeats == 1)
        and _is_plain(part.parts)
        for part in lane
    )
