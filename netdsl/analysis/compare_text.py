"""A comparison of two networks as text and as plain data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from netdsl.analysis.compare import Change, Comparison
from netdsl.analysis.cost import Row
from netdsl.analysis.notation import byte_size, caption, grouped, printable, scaled
from netdsl.ir.network import Network

MOST_NAMES = 6
"""Names of weights that are listed."""


class Part(NamedTuple):
    """A layer that was added or removed, or a scope all of whose layers were."""

    name: str
    block: str
    rows: tuple[Row, ...]


def text(found: Comparison) -> str:
    """The comparison, as people read it."""
    lines = [f"{found.before.name} -> {found.after.name}", ""]
    lines += _totals(found)
    if found.are_equal:
        lines += ["", "The layers are the same."]
    else:
        lines += ["", *_layers(found)]
    lines += ["", *_weights(found)]
    return "\n".join(printable(line) for line in lines)


def _totals(found: Comparison) -> Iterator[str]:
    cells = [("", "before", "after", "difference")]
    for what, (before, after) in found.totals().items():
        spell = byte_size if what.endswith("bytes") else grouped
        cells.append((what.removesuffix(" bytes"), spell(before), spell(after), _difference(before, after)))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    for row in cells:
        yield "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()


def _difference(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return "?"
    if before == after:
        return "0"
    share = f" ({(after - before) / before:+.1%})" if before else ""
    return f"{after - before:+,}{share}"


def _layers(found: Comparison) -> Iterator[str]:
    renamed = [change for change in found.changed if change.is_renamed]
    for part in parts(found.removed, found.before):
        yield f"- {_part(part)}"
    for part in parts(found.added, found.after):
        yield f"+ {_part(part)}"
    for change in found.changed:
        if not change.is_renamed:
            yield f"~ {_names(change)}: {'; '.join(f'{what} {a} -> {b}' for what, a, b in change.facts)}"
    for change in renamed:
        yield f"= {change.before.name} is called {change.after.name}: {_said(change.after)}"


def _names(change: Change) -> str:
    same = change.before.name == change.after.name
    return change.after.name if same else f"{change.before.name} -> {change.after.name}"


def _part(part: Part) -> str:
    if len(part.rows) == 1 and not part.block and part.name == part.rows[0].name:
        return f"{part.name}: {_said(part.rows[0])}, {part.rows[0].type}"
    parameters = sum(row.parameters for row in part.rows)
    facts = [part.block] if part.block else []
    facts.append(f"{len(part.rows):,} layer{'s' * (len(part.rows) != 1)}")
    if parameters:
        facts.append(f"{scaled(parameters)} parameters")
    return f"{part.name}: {', '.join([*facts, str(part.rows[-1].type)])}"


def _said(row: Row) -> str:
    return caption(row.layer, row.input_types)


def parts(rows: Sequence[Row], network: Network) -> list[Part]:
    """The rows, with whole scopes as one part each: the outermost scopes that hold nothing else."""
    names = {row.name for row in rows}
    left = {scope for name in network.table if name not in names for scope in _scopes(name)}
    blocks = {call.scope: call.block for node in network.nodes() for call in node.calls}
    found: dict[str, list[Row]] = {}
    for row in rows:
        whole = next((scope for scope in _scopes(row.name) if scope not in left), row.name)
        found.setdefault(whole, []).append(row)
    return [Part(name, blocks.get(name, ""), tuple(inside)) for name, inside in found.items()]


def _scopes(name: str) -> Iterator[str]:
    """The scopes around a name, outermost first."""
    return (name[:at] for at, sign in enumerate(name) if sign == ".")


def _weights(found: Comparison) -> Iterator[str]:
    stored, before, after = found.weights, found.before.name, found.after.name
    if stored.loads:
        yield f"Weights of {before} load in {after}: all {stored.fitting:,} of them fit."
        return
    total = stored.fitting + len(stored.missing) + len(stored.reshaped)
    yield f"Weights of {before} do not load in {after} as they are: {stored.fitting:,} of {total:,} fit."
    if stored.reshaped:
        shapes = [f"{name} {_shape(a)} -> {_shape(b)}" for name, a, b in stored.reshaped]
        yield f"  of another shape: {_listed(shapes)}"
    if stored.missing:
        yield f"  missing: {_listed(stored.missing)}"
    if stored.unused:
        yield f"  not needed: {_listed(stored.unused)}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:MOST_NAMES]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f", and {rest:,} more" if rest else "")


def json(found: Comparison) -> dict[str, object]:
    """The comparison as plain data that `json.dump` takes."""
    stored = found.weights
    return {
        "before": found.before.name,
        "after": found.after.name,
        "equal": found.are_equal,
        "totals": {
            what.replace(" ", "_"): {"before": before, "after": after}
            for what, (before, after) in found.totals().items()
        },
        "removed": [_layer(row) for row in found.removed],
        "added": [_layer(row) for row in found.added],
        "changed": [
            {
                "before": change.before.name,
                "after": change.after.name,
                "facts": {what: {"before": a, "after": b} for what, a, b in change.facts},
            }
            for change in found.changed
            if not change.is_renamed
        ],
        "renamed": [
            {"before": change.before.name, "after": change.after.name} for change in found.changed if change.is_renamed
        ],
        "weights": {
            "load": stored.loads,
            "fitting": stored.fitting,
            "missing": list(stored.missing),
            "reshaped": [{"name": name, "before": list(a), "after": list(b)} for name, a, b in stored.reshaped],
            "unused": list(stored.unused),
        },
    }


def _layer(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "layer": _said(row),
        "output": list(row.type.shape),
        "parameters": row.parameters,
        "macs": row.macs,
    }
