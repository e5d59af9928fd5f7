"""`netdsl plan`"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import load_net, spec_options

if TYPE_CHECKING:
    from netdsl.ir.network import Network
    from netdsl.program.device_memory import DevicePlan

PRECISIONS = {"float32": 4, "tf32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of a number in memory."""
OPTIMIZERS = {"sgd": 0, "momentum": 1, "adam": 2}
"""Numbers that are kept for each parameter. RMSProp and Nesterov are like momentum, AdamW and LAMB like Adam."""


@click.command("plan")
@click.argument("spec")
@spec_options
@click.option("--device-memory", "memory", metavar="SIZE", help="What the device has: 8GiB, 500MB.")
@click.option("--batch", type=click.IntRange(1, 2**20), help="How many images at a time; default 1, or all that fit.")
@click.option("--precision", type=click.Choice(list(PRECISIONS)), default="float32", show_default=True)
@click.option("--train", is_flag=True, help="For a step of training instead.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="momentum", show_default=True)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    spec: str,
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    memory: str | None,
    batch: int | None,
    precision: str,
    train: bool,
    optimizer: str,
    form: str,
) -> None:
    """Show how much memory of a GPU a network takes, and the largest batch that fits. No GPU is needed.

    Tensors and weights are planned as they will lie; scratch memory of kernels and what CUDA takes for itself are
    allowances. Exit status 1 where --batch does not fit.
    """
    from netdsl.backends.errors import RunError
    from netdsl.program.device_memory import largest_batch

    budget = None if memory is None else _budget(memory)
    net = load_net(spec, settings, shapes)
    open_extents = [name for name, type_ in net.inputs.items() if None in type_.shape]
    if open_extents:
        raise click.UsageError(
            f"a plan is for one size, and the input `{open_extents[0]}` is {net.inputs[open_extents[0]]}: "
            "give it with --shape"
        )
    itemsize = PRECISIONS[precision]
    plan = _training(net.network, itemsize, OPTIMIZERS[optimizer]) if train else _inference(net.network, itemsize)
    most = None if budget is None else largest_batch(plan, budget, batch or 1)
    shown = plan(batch or most or 1)
    what = f"{net.name}, batch {shown.batch}, {precision}, {'a training step' if train else 'inference'}"
    fits = budget is None or shown.total <= budget
    if form == "json":
        found: dict[str, Any] = {"network": net.name, "batch": shown.batch, "precision": precision, "train": train}
        found |= {"bytes": shown.parts(), "total": shown.total}
        if budget is not None:
            found |= {"device_memory": budget, "fits": fits, "largest_batch": most}
        click.echo(json.dumps(found, indent=2))
    else:
        _print(what, shown, budget if fits else None, most)
    if budget is not None and not fits:
        from netdsl.analysis.notation import byte_size

        raise RunError(
            "E0714",
            f"{what} takes {byte_size(shown.total)}, the device has {byte_size(budget)}",
            f"the largest batch that fits is {most}" if most else _smaller(precision),
        )


def _smaller(precision: str) -> str:
    """What helps where not even one image fits."""
    half = "" if PRECISIONS[precision] == 2 else " --precision bfloat16,"
    return f"not even one image fits:{half} a smaller --shape, or a device with more memory"


def _budget(text: str) -> int:
    from netdsl.program.device_memory import bytes_of

    try:
        return bytes_of(text)
    except ValueError:
        raise click.BadParameter(
            f"a size is wanted: 8GiB, 500MB; found {text!r}", param_hint="--device-memory"
        ) from None


def _inference(network: Network, itemsize: int) -> Callable[[int], DevicePlan]:
    from netdsl.cli.compile_command import placeholders
    from netdsl.passes import bind, run
    from netdsl.program.device_memory import inference_plan
    from netdsl.program.lower import lower

    bound = run(bind(network, placeholders(network)))
    types = bound.network.input_types()
    return lambda batch: inference_plan(lower(bound, types, batch), itemsize)


def _training(network: Network, itemsize: int, slots: int) -> Callable[[int], DevicePlan]:
    """For all parameters that the spec does not fix, with the auxiliary heads."""
    from netdsl.analysis.training import default_trainable, parameters
    from netdsl.analysis.training import training_plan as planned
    from netdsl.cli.compile_command import placeholders
    from netdsl.program.device_memory import training_plan
    from netdsl.program.training.build import lower_training, prepare

    heads = dict.fromkeys(network.auxiliary, 1.0)
    trainable = default_trainable(network, heads)
    ready = prepare(planned(network, trainable, heads), placeholders(network))
    known = parameters(network)
    learned = sum(known[name].size for name in trainable)
    types = network.input_types()
    return lambda batch: training_plan(lower_training(ready, types, batch), itemsize, learned, slots)


def _print(what: str, plan: DevicePlan, budget: int | None, most: int | None) -> None:
    from netdsl.analysis.notation import byte_size

    click.echo(click.style(what, bold=True))
    width = max(map(len, plan.parts()))
    for name, size in plan.parts().items():
        click.echo(f"  {name.ljust(width)}  {byte_size(size).rjust(9)}")
    click.echo(f"  {'total'.ljust(width)}  {byte_size(plan.total).rjust(9)}")
    if budget is not None:
        click.echo(f"fits in {byte_size(budget)}; the largest batch that fits is {most}")
