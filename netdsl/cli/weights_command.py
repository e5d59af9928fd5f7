"""`netdsl weights`"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import load_net, spec_options

if TYPE_CHECKING:
    from netdsl.weights.report import LoadReport
    from netdsl.weights.stored import Archive

MAX_LINES = 20
"""How many weights of one kind `compare` lists without --all."""

_FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
_RULES = click.option("--rules", metavar="FILE", help="Rules (TOML) that turn the names of the file into others.")


@click.group("weights")
def command() -> None:
    """Look into files of weights (.safetensors, .npz, .pth, .pt), convert them, hold them against a network."""


@command.command("inspect")
@click.argument("file")
@click.option("--stats", is_flag=True, help="Read the values: least, largest, mean, deviation, NaN and infinity.")
@_FORMAT
def inspect(file: str, stats: bool, form: str) -> None:
    """Show the names, shapes and types in a file of weights. Without --stats no values are read."""
    from netdsl.weights.files import open_archive

    archive = open_archive(file)
    rows = _rows(archive, stats)
    numbers, size = _totals(archive)
    if form == "json":
        found = {
            "file": file,
            "format": archive.format,
            "notes": list(archive.notes),
            "numbers": numbers,
            "bytes": size,
        }
        click.echo(json.dumps(found | {"arrays": rows}, indent=2))
        return
    _show_arrays(rows, stats)
    numbers, size = _totals(archive)
    click.echo(f"{len(rows):,} arrays, {numbers:,} numbers, {_bytes(size)}, {archive.format}")
    for note in archive.notes:
        click.echo(note)
    lost = [row["name"] for row in rows if row.get("not_finite")]
    if lost:
        click.echo(f"NaN or infinity in {len(lost)} of them: {', '.join(_name(name) for name in lost[:5])}")


@command.command("convert")
@click.argument("source")
@click.argument("target")
@_RULES
@click.option("--dtype", type=click.Choice(["float16", "float32", "float64"]), help="Width of the floats.")
@_FORMAT
def convert(source: str, target: str, rules: str | None, dtype: str | None, form: str) -> None:
    """Write the weights of one file into another; the suffixes say the formats.

    \b
    netdsl weights convert resnet50.pth resnet50.safetensors
    """
    from netdsl.weights.rewrite import rewrite
    from netdsl.weights.rules import read_rules

    done = rewrite(source, target, rules=read_rules(rules) if rules else None, dtype=dtype)
    if form == "json":
        click.echo(json.dumps({"source": source, "target": target} | done._asdict(), indent=2))
        return
    click.echo(f"{target}: {done.arrays:,} arrays, {done.numbers:,} numbers, {_bytes(done.bytes)}")
    if rules:
        click.echo(f"{done.renamed:,} renamed, {done.dropped:,} left out")
    for pattern in done.unused:
        click.echo(f"no name fits the rule from `{pattern}`")
    for note in done.notes:
        click.echo(note)


@command.command("compare")
@click.argument("spec")
@click.argument("file")
@spec_options
@_RULES
@click.option("--by-position", is_flag=True, help="Go by the order of the file instead of by names.")
@click.option("--except", "except_", multiple=True, metavar="PATTERN", help="Weights that need not be in the file.")
@click.option("--all", "everything", is_flag=True, help="List every weight that does not fit.")
@_FORMAT
def compare(
    spec: str,
    file: str,
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    rules: str | None,
    by_position: bool,
    except_: tuple[str, ...],
    everything: bool,
    form: str,
) -> int:
    """Hold a file of weights against a network: what fits, is missing, unexpected, or has another shape.

    Exit status 1 where they do not fit. No values are read.
    """
    from netdsl.weights.convert import require_kind
    from netdsl.weights.match import compare as compared
    from netdsl.weights.store import WeightStore, offered

    net = load_net(spec, settings, shapes)
    store = WeightStore(net.network)
    found, _ = offered(file)
    named = store.named(found, file, except_=except_, rules=rules, by_position=by_position)
    report = compared(store.slots, *named)
    for name in report.loaded:
        require_kind(name, named.arrays[name], store.slots[name].weight.dtype, file)
    if form == "json":
        click.echo(json.dumps(_report_json(net.name, file, report), indent=2))
    else:
        _show_report(
            net.name, file, report, store.slots, max(len(found), len(store.slots)) if everything else MAX_LINES
        )
    return 0 if report.fits else 1


def _rows(archive: Archive, stats: bool) -> list[dict[str, Any]]:
    from netdsl.weights.errors import WeightError
    from netdsl.weights.statistics import statistics

    rows: list[dict[str, Any]] = []
    for name, array in archive.arrays.items():
        row: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": array.dtype, "bytes": array.bytes}
        if stats:
            try:
                row |= statistics(array.read())._asdict()
            except WeightError as error:
                if error.code != "E0705":
                    raise
                # A type that is not read: the others still are.
        rows.append(row)
    return rows


def _totals(archive: Archive) -> tuple[int, int]:
    """Numbers and bytes of all arrays, without those of types that have no known size."""
    arrays = archive.arrays.values()
    return sum(array.size for array in arrays), sum(array.bytes or 0 for array in arrays)


def _show_arrays(rows: list[dict[str, Any]], stats: bool) -> None:
    from netdsl.cli.tables import show_table

    head = ["name", "shape", "type"]
    columns = ["least", "most", "mean", "deviation"] if stats else []
    lines = []
    for row in rows:
        cells = [_name(row["name"]), "x".join(map(str, row["shape"])) or "-", row["dtype"]]
        cells += [_number(row.get(column)) for column in columns]
        if stats:
            cells.append(f"{row['not_finite']:,}" if row.get("not_finite") else "")
        lines.append(cells)
    head += columns + (["NaN, inf"] if stats else [])
    show_table(head, lines, frozenset(head[3:]), "text")


def _show_report(name: str, file: str, report: LoadReport, slots: Any, most: int) -> None:
    from netdsl.weights.report import advice, findings

    fitting = len(report.loaded)
    total = fitting + len(report.missing) + len(report.wrong_shape)
    click.echo(f"{name} and {file}: {fitting:,} of {total:,} weights fit")
    for line in findings(report, most):
        click.echo(line)
    if report.sources:
        new, old = next(iter(report.sources.items()))
        click.echo(f"under other names in the file: {len(report.sources):,}, e.g. `{new}` is `{_name(old)}`")
    if report.excepted or report.ignored:
        click.echo(f"left out: {len(report.excepted):,} of the network, {len(report.ignored):,} of the file")
    if report.optional:
        click.echo(
            f"not in the file, and not needed: {len(report.optional):,}, e.g. `{report.optional[0]}` "
            "(counters, fixed values, heads for training)"
        )
    if not report.fits:
        click.echo(f"help: {advice(report, slots)}")


def _report_json(name: str, file: str, report: LoadReport) -> dict[str, Any]:
    from netdsl.weights.report import MAX_NEAREST

    misfits = [*report.missing, *report.unexpected, *(entry.name for entry in report.wrong_shape)]
    close = {name: near for name in misfits[:MAX_NEAREST] if (near := report.nearest(name)) is not None}
    return {
        "network": name, "file": file, "fits": report.fits, "loaded": list(report.loaded),
        "missing": list(report.missing), "unexpected": list(report.unexpected),
        "wrong_shape": [
            {"name": entry.name, "found": list(entry.found), "expected": list(entry.expected)}
            for entry in report.wrong_shape
        ],
        "nearest": close, "sources": dict(report.sources), "excepted": list(report.excepted),
        "ignored": list(report.ignored), "optional": list(report.optional),
    }  # fmt: skip


def _name(name: str) -> str:
    from netdsl.weights.stored import shown

    return shown(name)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _bytes(count: int) -> str:
    """An amount as a person says it."""
    amount, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
