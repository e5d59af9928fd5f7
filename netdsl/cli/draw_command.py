"""`netdsl draw`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netdsl.cli.options import load_net, spec_options

LABELS = ("params", "macs", "memory", "receptive")


@click.command("draw")
@click.argument("spec")
@spec_options
@click.option(
    "-o", "--output", "path", metavar="FILE", help="Where to: .svg, .png, .pdf, .html, .dot, .txt. Default: NAME.svg"
)
@click.option(
    "--style",
    type=click.Choice(["graph", "volumes", "board"]),
    default="graph",
    show_default=True,
    help="Layers as a graph, feature maps in perspective, or a line of the board's notation.",
)
@click.option(
    "--theme", type=click.Choice(["light", "dark", "print"]), help="Default: light; .html follows the reader."
)
@click.option("--width", type=click.FloatRange(min=20), metavar="MM", help="Millimetres that the drawing may be wide.")
@click.option("--dpi", type=click.IntRange(20, 2400), default=144, show_default=True, help="Pixels per inch of a PNG.")
@click.option("--depth", type=click.IntRange(min=1), help="Draw scopes below this depth as one box each.")
@click.option("--expand", multiple=True, metavar="NAME", help="Draw this scope in full. Repeatable.")
@click.option("--no-fold", is_flag=True, help="Draw every block, also where several in a row are equal.")
@click.option(
    "--direction", type=click.Choice(["down", "right"]), default="down", show_default=True, help="Where a graph goes."
)
@click.option(
    "--label", "labels", multiple=True, type=click.Choice(LABELS), help="Write this on the boxes. Repeatable."
)
@click.option("--heat", type=click.Choice(LABELS[:3]), help="Colour boxes by what they cost.")
@click.option("--boxes", "limit", type=click.IntRange(min=1), default=1500, show_default=True, help="The most to draw.")
@click.option("--title", metavar="TEXT", help="In place of the network's name.")
@click.option("--compare", "other", metavar="SPEC", help="Draw this network beside the first, and mark what differs.")
def command(
    spec: str, settings: tuple[str, ...], shapes: tuple[str, ...], path: str | None, style: str, no_fold: bool,
    other: str | None, **options: Any,
) -> None:  # fmt: skip
    """Draw the architecture: layers, the shapes between them, scopes as frames around them."""
    from netdsl.draw.render import drawing, form_of, notes, save

    net = load_net(spec, settings, shapes)
    target = Path(path or f"{net.name}.svg")
    form = form_of(target)
    save(target, drawing(net.network, form, style=style, fold=not no_fold, **options))
    for note in notes(net.network, form, style=style, fold=not no_fold, **options):
        click.echo(f"note: {note}", err=True)
    click.echo(str(target))
