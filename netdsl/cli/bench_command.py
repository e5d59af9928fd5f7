"""`netdsl bench`"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import load_net, spec_options
from netdsl.cores import usable_cores

if TYPE_CHECKING:
    from netdsl.bench.compare import Row
    from netdsl.bench.profile import Profile

PEERS = ("onnxruntime", "torch")


@click.command("bench")
@click.argument("spec")
@spec_options
@click.option("--backend", "backends", default="native,numpy", show_default=True, metavar="NAME,...", help="Back-ends.")
@click.option("--against", default="", metavar="NAME,...", help="Other engines: onnxruntime, torch.")
@click.option("--batch", type=click.IntRange(1, 2**16), default=1, show_default=True, help="How many images at a time.")
@click.option("--threads", type=click.IntRange(1, 256), metavar="N", help="How many threads; all cores by default.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=3, show_default=True, help="Processes of each engine.")
@click.option(
    "--seconds", type=click.FloatRange(0.01, 600), default=1.0, show_default=True, help="Time of each process."
)
@click.option("--profile", "profiled", is_flag=True, help="Show where the time goes, step by step, instead.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="With --profile: the N steps that take longest.")
@click.option("-w", "--weights", metavar="FILE", help="Weights; random ones take the same time.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv", "markdown"]), default="text", show_default=True
)
def command(
    spec: str,
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    backends: str,
    against: str,
    batch: int,
    threads: int | None,
    rounds: int,
    seconds: float,
    profiled: bool,
    top: int | None,
    weights: str | None,
    form: str,
) -> None:
    """Time a network on netdsl's back-ends and on other engines.

    Every engine runs the same network with the same weights in a process of its own, in turn with the others. Their
    outputs are compared before anything is timed. Shown is the median time of an answer, and how many of the first
    engine's answers it is.
    """
    from netdsl.backends.registry import BACKENDS, backend

    names = _listed(backends, ("reference", *BACKENDS), "--backend")
    peers = _listed(against, PEERS, "--against")
    if not names:
        raise click.UsageError("--backend: name one")
    _require_installed(peers)
    net = load_net(spec, settings, shapes)
    unknown = [name for name, type_ in net.inputs.items() if None in type_.shape]
    if unknown:
        raise click.UsageError(f"the input `{unknown[0]}` is {net.inputs[unknown[0]]}: give its size with --shape")
    for name in names:
        if name != "reference":
            backend(name)
    count = threads or usable_cores()
    model = net.compile(backend=names[0], threads=count)
    if weights is not None:
        model.load(weights)
    else:
        _liven(model)
    model.require_weights()
    inputs = _inputs(net, batch)
    if profiled:
        from netdsl.backends.compiled import CompiledModel
        from netdsl.bench.profile import profile

        if not isinstance(model, CompiledModel):
            raise click.UsageError("--profile: the reference has no steps; choose another back-end")
        _show_profile(profile(model, inputs, count, seconds), net.name, names[0], batch, count, top, form)
        return
    from netdsl.bench.compare import compare

    total = rounds * (len(names) + len(peers))
    with click.progressbar(length=total, label="timing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        rows = compare(model, inputs, names, peers, count, rounds, seconds, lambda: bar.update(1))
    _show(rows, net.name, batch, count, form)


def _listed(text: str, known: tuple[str, ...], option: str) -> list[str]:
    """The names in a list with commas. Raises UsageError for one that is not known."""
    from netdsl.language.diagnostics import did_you_mean

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            help = did_you_mean(name, known) or f"there are {', '.join(known)}"
            raise click.UsageError(f"{option}: there is no `{name}`; {help}")
    return list(dict.fromkeys(names))


def _require_installed(peers: list[str]) -> None:
    """Exit status 2 where an engine that was asked for is not there."""
    from netdsl.bench.compare import missing

    for peer in peers:
        packages = missing(peer)
        if packages:
            raise click.UsageError(f"--against {peer} needs what is not installed: pip install {' '.join(packages)}")


def _liven(model: Any) -> None:
    """Random weights, with running statistics and biases that are not zero: those of a trained network are not."""
    import numpy as np

    model.initialize(0)
    rng = np.random.default_rng(0)
    model.load({
        name: array + (0.1 * np.abs(rng.standard_normal(array.shape))).astype(array.dtype)
        if array.ndim == 1 and array.dtype.kind == "f" else array
        for name, array in model.weights.items()
    })  # fmt: skip


def _inputs(net: Any, batch: int) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(1)
    return {name: rng.standard_normal((batch, *type_.shape), np.float32) for name, type_ in net.inputs.items()}


def _show(rows: list[Row], network: str, batch: int, threads: int, form: str) -> None:
    from netdsl.cli.tables import show_table

    if form == "json":
        engines = [
            {"engine": row.engine, "ms": 1e3 * row.seconds, "rounds_ms": [1e3 * s for s in row.rounds]} for row in rows
        ]
        click.echo(json.dumps({"network": network, "batch": batch, "threads": threads, "engines": engines}, indent=2))
        return
    first = rows[0].seconds
    head = ("Engine", "ms", f"of {rows[0].engine}", "Images/s", "from", "to")
    table = [
        [
            row.engine, f"{1e3 * row.seconds:.3f}", f"{row.seconds / first:.2f}x", f"{batch / row.seconds:,.1f}",
            f"{1e3 * min(row.rounds):.3f}", f"{1e3 * max(row.rounds):.3f}",
        ]
        for row in rows
    ]  # fmt: skip
    if form == "text":
        click.echo(f"{network}, batch {batch}, {threads} threads: median of {len(rows[0].rounds)} processes each\n")
    show_table(head, table, frozenset(head[1:]), form)


def _show_profile(
    found: Profile, network: str, backend: str, batch: int, threads: int, top: int | None, form: str
) -> None:
    from netdsl.cli.tables import show_table

    steps = found.steps if top is None else sorted(found.steps, key=lambda step: -step.seconds)[:top]
    if form == "json":
        rows = [step._asdict() | {"ms": 1e3 * step.seconds} for step in steps]
        click.echo(
            json.dumps(
                {"network": network, "backend": backend, "batch": batch, "threads": threads, "peak_flops": found.peak}
                | {"ms": 1e3 * found.seconds, "steps": rows},
                indent=2,
            )
        )
        return
    head = ("Step", "Kernel", "Shape", "ms", "GFLOP/s", "of peak", "of time")
    table = []
    for step in steps:
        rate = step.flops / step.seconds
        counted = step.flops > 0
        table.append(
            [
                step.name, step.kernel, "x".join(map(str, step.shape)), f"{1e3 * step.seconds:.3f}",
                f"{rate / 1e9:.1f}" if counted else "", f"{100 * rate / found.peak:.0f} %" if counted else "",
                f"{100 * step.seconds / found.seconds:.1f} %",
            ]
        )  # fmt: skip
    show_table(head, table, frozenset(head[3:]), form)
    if form == "text":
        click.echo(
            f"\n{network} on {backend}, batch {batch}, {threads} threads: {1e3 * found.seconds:.3f} ms in "
            f"{len(found.steps)} steps. Peak: {found.peak / 1e9:.0f} GFLOP/s, a matrix product of 1024x1024 in NumPy. "
            "Winograd's form counts the operations that it saves."
        )
