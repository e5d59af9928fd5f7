"""`netdsl draw`"""

from __future__ import annotations

import click

from netdsl.cli.options import load_net, spec_options


@click.command("draw")
@click.argument("spec")
@spec_options
@click.option("-o", "--output", "path", metavar="FILE", help="Where to: .svg, .png, .pdf, .dot. Default: NAME.svg")
@click.option("--depth", type=click.IntRange(min=1), help="Draw scopes below this depth as one box each.")
@click.option("--no-fold", is_flag=True, help="Draw every block, also where several in a row are equal.")
def command(
    spec: str, settings: tuple[str, ...], shapes: tuple[str, ...], path: str | None, depth: int | None, no_fold: bool
) -> None:
    """Draw the architecture: layers, the shapes between them, scopes as clusters."""
    from netdsl.draw import render

    net = load_net(spec, settings, shapes)
    path = path or f"{net.name}.svg"
    render(net.network, path, depth=depth, fold=not no_fold)
    click.echo(path)
