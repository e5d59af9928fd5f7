"""`netdsl list`"""

from __future__ import annotations

import json
from typing import Any

import click

HEAD = ("Name", "Year", "Parameters", "MACs", "Input", "About")


@click.command("list")
@click.argument("pattern", default="", metavar="[FILTER]")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv", "markdown"]), default="text", show_default=True
)
@click.option("--max-parameters", metavar="N", help="Networks of at most N parameters, e.g. 5M.")
@click.option("--max-macs", metavar="N", help="Networks of at most N multiply-accumulates for one image, e.g. 600M.")
@click.option("--sort", type=click.Choice(["name", "year", "parameters", "macs"]), default="name", show_default=True)
def command(pattern: str, form: str, max_parameters: str | None, max_macs: str | None, sort: str) -> None:
    """Show the library. FILTER is a part of a name, or a pattern with * and ?."""
    from netdsl.cli.tables import show_table
    from netdsl.elaborate.catalogue import rows

    found = rows(pattern)
    for key, bound in (("parameters", max_parameters), ("macs", max_macs)):
        if bound is not None:
            limit = _number(bound, f"--max-{key}")
            found = [row for row in found if row[key] is not None and row[key] <= limit]
    found.sort(key=lambda row: (_least(row[sort]), row["name"]))
    if form == "json":
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("no network of the library fits", err=True)
    rows_of_text = [
        [
            row["name"],
            str(row["year"] or ""),
            _count(row["parameters"], form),
            _count(row["macs"], form),
            _shape(row["input"]),
            row["about"],
        ]
        for row in found
    ]
    show_table(HEAD, rows_of_text, frozenset({"Parameters", "MACs", "Year"}), form)
    if form == "text" and found:
        click.echo(f"\n{len(found)} networks. MACs: convolution and dense layers, one image.")


def _count(number: int | None, form: str) -> str:
    if number is None:
        return "" if form == "csv" else "?"
    return str(number) if form == "csv" else f"{number:,}"


def _shape(shape: Any) -> str:
    if isinstance(shape, dict):
        return ", ".join(f"{name} {_shape(extents)}" for name, extents in shape.items())
    return "x".join("?" if extent is None else str(extent) for extent in shape)


def _number(text: str, option: str) -> float:
    from netdsl.elaborate import value_of

    value = value_of(text, option)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise click.UsageError(f"{option} takes a number such as 5M, found {text!r}")
    return value


def _least(value: Any) -> Any:
    """Unknown numbers come last."""
    return (value is None, value if value is not None else 0)
