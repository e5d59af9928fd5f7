"""A picture that can be read: as much of a network as fits, and a line about the rest.

Where nobody has said how deep to draw, scopes are closed from the inside until the boxes are few enough. A join of very
many lanes shows the first and the last of them, and so does a network of very many layers without scopes.
"""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.analysis.cost import measure
from netdsl.analysis.tables import shortened
from netdsl.analysis.tree import Item, gathered, tree
from netdsl.draw.errors import DrawError
from netdsl.draw.options import Options
from netdsl.draw.picture import MAX_NESTING, Picture, TooLargeError, picture_of
from netdsl.ir.network import Network
from netdsl.language.diagnostics import did_you_mean

READABLE = 180
"""Boxes of a drawing for which nobody has asked for more."""
MAX_LANES = 24
"""Lanes of a join that are all drawn."""
FIRST_LANES, LAST_LANES = 5, 2
"""Lanes that are drawn of a join that has more."""
MAX_SERIES = 60
"""Parts of a scope that are all drawn where a network has too many boxes even with its scopes closed."""
FIRST_PARTS, LAST_PARTS = 30, 15


def fitted_picture(network: Network, options: Options) -> Picture:
    """The picture of a network that the options ask for.

    Raises DrawError for more boxes than `options.limit` (E0804), and for a name in `options.expand` that is no scope
    (E0806).
    """
    _check_names(network, options.expand)
    report = measure(network)
    items = tree(network, report.rows, options.fold, alike=True, whole=options.expand)
    if not options.fold:
        return _limited(network, options, items, options.depth, options.limit)
    items, notes = _few_lanes(items, options.expand)
    if options.depth is not None or options.expand:
        found = _limited(network, options, items, options.depth, options.limit)
        found.notes = notes
        return found
    for depth in (None, *range(MAX_NESTING - 1, 0, -1)):
        try:
            found = picture_of(network, report, items, depth, limit=min(READABLE, options.limit))
        except TooLargeError:
            continue
        if depth is not None:
            notes += (f"{_drawn_to(network)} {depth}: --depth and --expand show more",)
        found.notes = notes
        return found
    items, note = _few_parts(items)
    found = _limited(network, options, items, 1, options.limit)
    found.notes = (*notes, note) if note else notes
    return found


def closed(found: Picture, depth: int, expand: Sequence[str] = ()) -> Picture:
    """A picture again, with its scopes closed at a depth, but for those that `expand` names."""
    again = picture_of(found.network, found.report, found.items, depth, expand)
    again.notes = tuple(note for note in found.notes if not note.startswith(_drawn_to(found.network)))
    return again


def _drawn_to(network: Network) -> str:
    return f"{len(network.table):,} layers, drawn to depth"


def _check_names(network: Network, names: Sequence[str]) -> None:
    if not names:
        return
    scopes: dict[str, None] = {}
    for name in network.table:
        for end, sign in enumerate(name):
            if sign == ".":
                scopes[name[:end]] = None
    for name in names:
        if name not in scopes:
            found = f"{name} is a layer" if name in network.table else f"{network.name} has no scope called `{name}`"
            raise DrawError("E0806", f"{found}; what is opened is a scope", did_you_mean(name, scopes))


def _limited(network: Network, options: Options, items: Sequence[Item], depth: int | None, limit: int) -> Picture:
    try:
        return picture_of(network, measure(network), items, depth, options.expand, limit)
    except TooLargeError as error:
        help = (
            "fold equal neighbours, or draw less of it: a smaller depth draws whole scopes as one box; "
            "--boxes raises the limit"
        )
        raise DrawError("E0804", f"the drawing of {network.name} would have more than {limit:,} boxes", help) from error


def _few_lanes(items: Sequence[Item], expand: Sequence[str]) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The items, in which a join of very many lanes has few, on every level; and what is to be said about it."""
    if not any(len(row.inputs) > MAX_LANES for item in items for rows in item.rows for row in rows):
        return tuple(items), ()
    notes: list[str] = []
    found = [_inside(item, expand, notes) for item in items]
    place = {row.name: at for at, item in enumerate(found) for rows in item.rows for row in rows}
    # From the last join to the first, so that places stay what they are.
    end = len(found)
    for at in range(len(found) - 1, -1, -1):
        row = found[at].row if at < end else None
        if row is None or len(row.inputs) <= MAX_LANES:
            continue
        ends = [place.get(source, -1) for source in row.inputs]
        start, stop = ends[FIRST_LANES - 1] + 1, ends[-1 - LAST_LANES] + 1
        if ends != sorted(set(ends)) or start < 1 or stop > at or stop - start < 2:
            continue
        found[start:stop] = [_closed(found[start:stop])]
        end = start
        hidden = len(ends) - FIRST_LANES - LAST_LANES
        notes.append(f"{hidden:,} of the {len(ends):,} lanes of {shortened(row.name)} are drawn as one box")
    return tuple(found), tuple(notes)


def _inside(item: Item, expand: Sequence[str], notes: list[str]) -> Item:
    if not item.children or item.name in expand:
        return item
    children, said = _few_lanes(item.children, expand)
    notes.extend(said)
    return item._replace(children=children) if said else item


def _few_parts(items: Sequence[Item]) -> tuple[tuple[Item, ...], str]:
    if len(items) <= MAX_SERIES:
        return tuple(items), ""
    hidden = items[FIRST_PARTS:-LAST_PARTS]
    layers = sum(len(rows) for item in hidden for rows in item.rows)
    note = f"{layers:,} layers in the middle are drawn as one box: --no-fold and --boxes show them"
    return (*items[:FIRST_PARTS], _closed(hidden), *items[-LAST_PARTS:]), note


def _closed(items: Sequence[Item]) -> Item:
    """Neighbours as one item that has nothing inside to be drawn."""
    return gathered(items)._replace(children=())
