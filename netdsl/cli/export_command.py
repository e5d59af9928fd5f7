"""`netdsl export`"""

from __future__ import annotations

from pathlib import Path

import click

from netdsl.cli.options import load_net, spec_options


@click.command("export")
@click.argument("spec")
@spec_options
@click.option("-o", "--output", "target", required=True, metavar="FILE", help="Where to write: NAME.onnx")
@click.option("-w", "--weights", metavar="FILE", help="Weights: .safetensors, .npz, .pth or .pt")
@click.option("--rules", metavar="FILE", help="Rules (TOML) that turn the names of the weights into the network's.")
@click.option("--by-position", is_flag=True, help="Take the weights by their order instead of by names.")
@click.option("--random-weights", type=int, metavar="SEED", help="Export random weights instead.")
def command(
    spec: str,
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    target: str,
    weights: str | None,
    rules: str | None,
    by_position: bool,
    random_weights: int | None,
) -> None:
    """Write a network with its weights as an ONNX model, for other engines.

    Batch norm is folded into the convolutions; the batch is left open. Needs the package onnx.
    """
    if Path(target).suffix.lower() != ".onnx":
        raise click.UsageError(f"--output is a file called NAME.onnx, found {target!r}")
    from netdsl.interop.onnx import save

    net = load_net(spec, settings, shapes)
    model = net.compile(backend="reference")
    if weights is not None:
        model.load(weights, rules=rules, by_position=by_position)
    if random_weights is not None:
        model.initialize(random_weights)
    model.require_weights()
    try:
        size = save(net.network, model.weights, target)
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}") from None
    click.echo(f"{target}: {net.name}, {size / 2**20:.1f} MiB")
