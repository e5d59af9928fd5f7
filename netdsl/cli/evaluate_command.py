"""`netdsl evaluate`"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.data_options import data_options, open_part, ready
from netdsl.cli.options import load_net, spec_options

if TYPE_CHECKING:
    from netdsl.train.evaluate import Evaluation

MAX_CLASSES = 20
"""Classes up to which the whole confusion matrix is shown; of more, what is confused most."""

MAX_CONFUSED = 15


@click.command("evaluate")
@click.argument("spec")
@spec_options
@data_options
@click.option("--picture", metavar="FILE", help="Draw the confusion matrix: .png, .svg or .pdf (needs netdsl[plot]).")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    spec: str,
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    data: str,
    part: str | None,
    batch: int,
    backend: str,
    threads: int | None,
    workers: int | None,
    picture: str | None,
    form: str,
    **given: Any,
) -> None:
    """Evaluate a network on images with labels: loss, top-1, top-5, each class, and what is taken for what.

    \b
    netdsl evaluate digits.net --weights runs/digits-1/best.safetensors --data digits
    """
    from netdsl.train.evaluate import evaluate
    from netdsl.train.plot import plot_confusion, require

    if picture is not None:
        require(picture)
    network = load_net(spec, settings, shapes).network
    model = ready(network, network, given, backend, threads)
    chosen = open_part(network, data, part)
    hidden = form == "json" or not sys.stderr.isatty()
    with click.progressbar(length=len(chosen.indices), label="evaluating", file=sys.stderr, hidden=hidden) as bar:
        found = evaluate(
            network, model, chosen, batch=batch, workers=workers, watch=lambda done, _: bar.update(done - bar.pos)
        )
    if picture is not None:
        if not found.classes:
            raise click.UsageError("--picture: the data has targets and no classes")
        plot_confusion(found.confusion, [each.name for each in found.classes], picture)
    if form == "json":
        click.echo(json.dumps({"network": network.name, **found.json(), "picture": picture}, indent=2))
        return
    _show(found)
    if picture is not None:
        click.echo(f"confusion matrix saved to {picture}")


def _show(found: Evaluation) -> None:
    from netdsl.cli.tables import show_table

    click.echo(f"images  {found.images:,}")
    click.echo(f"loss    {found.loss:.4f}")
    if found.top1 is not None:
        click.echo(f"top-1   {found.top1:.2%}")
    if found.top5 is not None:
        click.echo(f"top-5   {found.top5:.2%}")
    if not found.classes:
        return
    click.echo()
    head = ["class", "images", "right", "recall", "precision", "F1"]
    rows = [
        [each.name, f"{each.images:,}", f"{each.right:,}", _part(each.recall), _part(each.precision), _part(each.f1)]
        for each in found.classes
    ]
    show_table(head, rows, frozenset(head[1:]), "text")
    click.echo()
    if len(found.classes) <= MAX_CLASSES:
        names = [each.name for each in found.classes]
        cells = [
            [name, *(str(count) if count else "." for count in row)]
            for name, row in zip(names, found.confusion.tolist(), strict=True)
        ]
        show_table(["class \\ taken for", *names], cells, frozenset(names), "text")
        return
    confused = sorted(
        (
            (-count, row, column)
            for row, counts in enumerate(found.confusion.tolist())
            for column, count in enumerate(counts)
            if count and row != column
        )
    )[:MAX_CONFUSED]
    rows = [[found.classes[row].name, found.classes[column].name, str(-count)] for count, row, column in confused]
    show_table(["class", "taken for", "images"], rows, frozenset(["images"]), "text")


def _part(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
