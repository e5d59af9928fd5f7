"""`netdsl features`"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from netdsl.cli.data_options import data_options, open_part, ready
from netdsl.cli.options import load_net, spec_options


@click.command("features")
@click.argument("spec")
@spec_options
@click.option("--until", required=True, metavar="NAME", help="The layer or scope whose output is kept.")
@data_options
@click.option("-o", "--output", "target", required=True, metavar="FILE", help=".npy, or .npz with the labels.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    spec: str,
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    until: str,
    data: str,
    part: str | None,
    batch: int,
    backend: str,
    threads: int | None,
    workers: int | None,
    target: str,
    form: str,
    **given: Any,
) -> None:
    """Write the activations of a layer for every image of a dataset.

    Only the part of the network up to it is run; weights of the rest need not be there.

    \b
    netdsl features resnet50 --until avgpool --weights resnet50.safetensors --data pets -o features.npz
    """
    from netdsl.analysis.names import help_with
    from netdsl.language.diagnostics import CodedError
    from netdsl.train.activations import until as cut
    from netdsl.train.activations import write_activations

    network = load_net(spec, settings, shapes).network
    try:
        part_of = cut(network, until)
    except KeyError:
        message = f"{network.name} has no tensor called `{until}`"
        raise CodedError("E0211", message, help_with(until, network)) from None
    model = ready(part_of, network, given, backend, threads)
    chosen = open_part(network, data, part)
    hidden = form == "json" or not sys.stderr.isatty()
    with click.progressbar(length=len(chosen.indices), label="running", file=sys.stderr, hidden=hidden) as bar:
        shape = write_activations(
            part_of, model, chosen, target, batch=batch, workers=workers,
            watch=lambda done, _: bar.update(done - bar.pos),
        )  # fmt: skip
    if form == "json":
        click.echo(
            json.dumps({"network": network.name, "until": until, "file": target, "shape": list(shape)}, indent=2)
        )
        return
    click.echo(f"{target}: {until} of {shape[0]:,} images, each {'x'.join(map(str, shape[1:]))}")
