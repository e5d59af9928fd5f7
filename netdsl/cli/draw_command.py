"""`netdsl draw`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netdsl.cli.options import load_net, spec_options

LABELS = ("params", "macs", "memory", "receptive")


@click.command("draw")
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@spec_options
@click.option(
    "-o", "--output", "path", metavar="FILE",
    help="Where to: .svg, .png, .pdf, .html, .dot, .txt; - is standard output, text for the board and else SVG. "
    "Default: NAME.svg",
)  # fmt: skip
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
@click.option("--boxes", type=click.IntRange(min=1), default=1500, show_default=True, help="The most to draw.")
@click.option("--title", metavar="TEXT", help="In place of the network's name.")
@click.option("--compare", is_flag=True, help="Draw two networks side by side and mark what differs.")
def command(
    specs: tuple[str, ...], settings: tuple[str, ...], shapes: tuple[str, ...], path: str | None, style: str,
    no_fold: bool, compare: bool, boxes: int, **options: Any,
) -> None:  # fmt: skip
    """Draw the architecture: layers, the shapes between them, scopes as frames around them."""
    from netdsl.draw.render import drawing, form_of, notes, save

    # `--limit` is taken: it raises what a spec may ask for.
    options["limit"] = boxes
    if len(specs) != 1 + compare:
        wanted = "--compare draws two networks" if compare else "one network is drawn"
        raise click.UsageError(f"{wanted}, found {len(specs)}")
    if compare:
        _compare(specs, settings, shapes, path, style, fold=not no_fold, **options)
        return
    (spec,) = specs
    net = load_net(spec, settings, shapes)
    target = Path(path or f"{net.name}.svg")
    form = ("txt" if style == "board" else "svg") if path == "-" else form_of(target)
    content = drawing(net.network, form, style=style, fold=not no_fold, **options)
    if path == "-":
        click.echo(content, nl=False)
    else:
        save(target, content)
    for note in notes(net.network, form, style=style, fold=not no_fold, **options):
        click.echo(f"note: {note}", err=True)
    if path != "-":
        click.echo(str(target))


def _compare(
    specs: tuple[str, ...], settings: tuple[str, ...], shapes: tuple[str, ...], path: str | None, style: str,
    **options: Any,
) -> None:  # fmt: skip
    """Two networks side by side. `--set` and `--shape` are meant for the second."""
    from netdsl.draw.render import compare_svg, exported, form_of, save

    if style != "graph":
        raise click.UsageError("--compare draws graphs: --style volumes and board show one network")
    before, after = load_net(specs[0]), load_net(specs[1], settings, shapes)
    target = Path(path or f"{before.name}-{after.name}.svg")
    form = form_of(target)
    if form not in ("svg", "png", "pdf"):
        raise click.UsageError(f"--compare draws .svg, .png and .pdf, not {target.suffix}")
    save(target, exported(compare_svg(before.network, after.network, **options), form, options["dpi"]))
    click.echo(str(target))
