"""Two graphs side by side, with what differs marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from netdsl.analysis.compare import Comparison, compare
from netdsl.analysis.notation import scaled
from netdsl.draw.fit import fitted_picture
from netdsl.draw.graph.layout import Layout
from netdsl.draw.graph.paint import Mark
from netdsl.draw.graph.place import placed
from netdsl.draw.graph.plan import Plan, plan, widen_first
from netdsl.draw.graph.sheet import Panel, sheet
from netdsl.draw.options import Options
from netdsl.ir.network import Network


def draw(before: Network, after: Network, options: Options) -> str:
    """Both networks as one SVG document: removed and changed layers are marked in the first, added and changed ones in
    the second. Raises DrawError."""
    found = compare(before, after)
    changed = [change for change in found.changed if not change.is_renamed]
    first: dict[str, Mark] = {row.name: "removed" for row in found.removed}
    first |= {change.before.name: "changed" for change in changed}
    second: dict[str, Mark] = {row.name: "added" for row in found.added}
    second |= {change.after.name: "changed" for change in changed}
    panels = [
        _panel(before, first, _options(before, options), ()),
        _panel(after, second, _options(after, options), _difference(found)),
    ]
    counts = f"{len(found.removed):,} layers removed, {len(found.added):,} added, {len(changed):,} changed."
    return sheet(panels, options, options.title or f"{before.name} and {after.name}", counts)


def _options(network: Network, options: Options) -> Options:
    """A scope to expand may be in one of the networks only."""
    scopes = {name[:at] for name in network.table for at, sign in enumerate(name) if sign == "."}
    return replace(options, expand=tuple(name for name in options.expand if name in scopes))


def _panel(network: Network, marks: Mapping[str, Mark], options: Options, said: tuple[str, ...]) -> Panel:
    picture = fitted_picture(network, options)
    planned = plan(picture, options)
    shown = _marks(planned, marks)
    widen_first(planned.groups, planned.cards)
    layout: Layout = placed(planned, options)
    return Panel(picture, planned, layout, network.name, said, shown)


def _marks(planned: Plan, marks: Mapping[str, Mark]) -> dict[str, Mark]:
    """The marks of cards and groups. Of several equal ones the first is drawn: how many differ is written."""
    shown: dict[str, Mark] = {}
    for id, card in planned.cards.items():
        mark, count = _of_copies(card.copies, marks)
        if mark is not None:
            shown[id] = mark
            if count < len(card.copies):
                card.lines.append(f"{count:,} of {len(card.copies):,} {mark}")
    for group in planned.groups:
        mark, count = _of_copies(group.copies, marks)
        if mark is not None and count < len(group.copies):
            shown[group.id] = mark
            group.under = ", ".join(
                part for part in (f"{count:,} of {len(group.copies):,} {mark}", group.under) if part
            )
    return shown


def _of_copies(copies: Sequence[Sequence[str]], marks: Mapping[str, Mark]) -> tuple[Mark | None, int]:
    """The mark of equal ones together, and how many of them have one."""
    found = [mark for names in copies if (mark := _together(names, marks)) is not None]
    if not found:
        return None, 0
    return found[0] if len(set(found)) == 1 else "changed", len(found)


def _together(names: Sequence[str], marks: Mapping[str, Mark]) -> Mark | None:
    found = {marks.get(name) for name in names}
    if found <= {None}:
        return None
    return found.pop() if len(found) == 1 else "changed"


def _difference(found: Comparison) -> tuple[str, ...]:
    facts = []
    for what, (before, after) in found.totals().items():
        if what in ("parameters", "macs") and before is not None and after is not None and before != after:
            sign = "+" if after > before else "\N{MINUS SIGN}"
            unit = "MACs" if what == "macs" else what
            facts.append(f"{sign}{scaled(abs(after - before))} {unit}")
    return (", ".join(facts),) if facts else ()
