"""`netdsl plot`"""

from __future__ import annotations

import click


@click.command("plot")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--output", "target", required=True, metavar="FILE", help="The picture: .png, .svg or .pdf")
def command(runs: tuple[str, ...], target: str) -> None:
    """Draw loss and accuracy of runs, over their epochs; validation is dashed. Needs netdsl[plot].

    \b
    netdsl plot runs/plain-1 runs/residual-1 -o depth.png
    """
    from netdsl.train.plot import plot_runs

    drawn = plot_runs(runs, target)
    for each in drawn:
        values = each.validation_accuracy[1] or each.accuracy[1]
        best = f", best accuracy {max(values):.2%}" if values else ""
        click.echo(f"{each.name}: {len(each.loss[0])} epochs, last loss {each.loss[1][-1]:.4f}{best}")
    click.echo(f"saved to {target}")
