"""`netdsl summary`"""

from __future__ import annotations

import json
import sys

import click

from netdsl.cli.options import load_net, spec_options


@click.command("summary")
@click.argument("spec")
@spec_options
@click.option("--depth", type=click.IntRange(min=1), help="Show scopes down to this depth only; 1 is the top level.")
@click.option("--no-fold", is_flag=True, help="Show every block, also where several in a row are equal.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv", "markdown"]), default="text", show_default=True
)
def command(
    spec: str, settings: tuple[str, ...], shapes: tuple[str, ...], depth: int | None, no_fold: bool, form: str
) -> None:
    """Show the layers of a network by scope: shapes, parameters, MACs, memory, receptive field."""
    from netdsl.analysis.summary import Summary

    net = load_net(spec, settings, shapes)
    summary = Summary(net.network, net.report, depth, fold=not no_fold)
    if form == "json":
        click.echo(json.dumps(summary.json(), indent=2))
    elif form == "csv":
        click.echo(summary.csv(), nl=False)
    elif form == "markdown":
        click.echo(summary.markdown())
    elif sys.stdout.isatty():
        from netdsl.analysis.terminal import show

        show(summary)
    else:
        click.echo(summary.text())
