"""`netdsl diff`"""

from __future__ import annotations

import json as json_module

import click

from netdsl.cli.options import load_net, spec_options


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@spec_options
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(before: str, after: str, settings: tuple[str, ...], shapes: tuple[str, ...], form: str) -> None:
    """Show what differs between two networks: layers added, removed and changed, totals, and whether weights of A load
    in B.

    `--set` and `--shape` are meant for B.
    """
    from netdsl.analysis.compare import compare
    from netdsl.analysis.compare_text import json, text

    found = compare(load_net(before).network, load_net(after, settings, shapes).network)
    click.echo(json_module.dumps(json(found), indent=2) if form == "json" else text(found))
