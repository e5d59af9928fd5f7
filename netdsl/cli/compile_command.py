"""`netdsl compile`"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import load_net, spec_options

if TYPE_CHECKING:
    from netdsl.ir.network import Network
    from netdsl.passes import Bound


@click.command("compile")
@click.argument("spec")
@spec_options
@click.option("--batch", type=click.IntRange(1, 2**20), default=1, show_default=True, help="How many images at a time.")
@click.option("--after", metavar="PASS", help="Show the network after this pass instead.")
@click.option("--backend", metavar="NAME", help="Show the kernels that this back-end chooses for the steps.")
@click.option("--train", is_flag=True, help="Show what one step of training becomes: forward, loss and backward.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    spec: str,
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    batch: int,
    after: str | None,
    backend: str | None,
    train: bool,
    form: str,
) -> None:
    """Show what a network becomes before it runs: its steps, and where each tensor lies in memory.

    Tensors lie with their channels last: 1x56x56x64 is one image of 64 maps of 56x56.
    """
    from netdsl.program.lower import lower
    from netdsl.program.text import network_json, network_text, program_json, program_text

    net = load_net(spec, settings, shapes)
    open_extents = [name for name, type_ in net.inputs.items() if None in type_.shape]
    if open_extents and after is None:
        raise click.UsageError(
            f"a Program is for one size, and the input `{open_extents[0]}` is {net.inputs[open_extents[0]]}: "
            "give it with --shape"
        )
    if train:
        if after is not None or backend is not None:
            raise click.UsageError("--train goes without --after and --backend")
        click.echo(_trained(net.network, batch, form))
        return
    bound = _passed(net.network, after)
    if after is not None:
        found = bound.network
        click.echo(network_text(found) if form == "text" else json.dumps(network_json(found), indent=2))
        return
    program = lower(bound, bound.network.input_types(), batch)
    kernels = None
    if backend is not None:
        from netdsl.backends.registry import backend as engine

        kernels = engine(backend).build(program, None, {}).kernels
    click.echo(
        program_text(program, kernels) if form == "text" else json.dumps(program_json(program, kernels), indent=2)
    )


def _passed(network: Network, until: str | None) -> Bound:
    """The network after the passes. What they do does not depend on the values of weights: zeros stand for them."""
    from netdsl.language.diagnostics import did_you_mean
    from netdsl.passes import PIPELINE, bind, run

    names = [each.name for each in PIPELINE]
    if until is not None and until not in names:
        help = did_you_mean(until, names) or f"there are {', '.join(names)}"
        raise click.UsageError(f"--after: there is no pass `{until}`; {help}")
    return run(bind(network, placeholders(network)), until)


def _trained(network: Network, batch: int, form: str) -> str:
    """The training Program for all parameters that the spec does not fix, with the auxiliary heads."""
    from netdsl.analysis.training import default_trainable, training_plan
    from netdsl.program.training.build import lower_training, prepare
    from netdsl.program.training.text import training_json, training_text

    heads = dict.fromkeys(network.auxiliary, 1.0)
    plan = training_plan(network, default_trainable(network, heads), heads)
    program = lower_training(prepare(plan, placeholders(network)), network.input_types(), batch)
    return training_text(program) if form == "text" else json.dumps(training_json(program), indent=2)


def placeholders(network: Network) -> dict[str, Any]:
    """Values for all weights: fresh ones, but zeros where those would be random."""
    from dataclasses import replace

    from netdsl.weights.initial import fresh
    from netdsl.weights.inventory import inventory

    return {
        name: fresh(name, replace(slot.weight, initial="zeros") if slot.weight.initial == "kaiming" else slot.weight, 0)
        for name, slot in inventory(network).items()
    }
