"""`netdsl train`"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import given_limits, given_shapes, recipe_options

if TYPE_CHECKING:
    from netdsl.train.finder import Found
    from netdsl.train.loop import Result
    from netdsl.train.plan import Plan
    from netdsl.train.runs import Run
    from netdsl.train.trainer import Trainer

INTERRUPTED = 130
"""Exit status of a run that was stopped, as a shell has it for Ctrl-C."""


@click.command("train")
@click.argument("spec", required=False)
@click.argument("recipe", required=False)
@recipe_options
@click.option("--resume", metavar="RUN", help="Go on where the run in this folder stopped.")
@click.option("--run", "folder", metavar="DIR", help="The folder of the run; by default the next runs/RECIPE-N.")
@click.option("--dry-run", is_flag=True, help="Show what would be done: phases, steps, memory. Trains nothing.")
@click.option("--find-lr", is_flag=True, help="Try learning rates on the first phase, and suggest one.")
@click.option("--picture", metavar="FILE", help="With --find-lr: draw the loss over the rate (needs netdsl[plot]).")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="The seed of weights, order and augmentation.")
@click.option("--backend", metavar="NAME", help="What computes: auto, native, numpy, reference (each layer by itself).")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="How many threads the back-end may use.")
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Threads that read and augment images.")
@click.option(
    "--checkpoint-every", type=click.IntRange(min=1), metavar="STEPS",
    help="Steps between checkpoints; by default at each epoch, and every ten minutes.",
)  # fmt: skip
@click.option(
    "--log-every", type=click.IntRange(min=1), metavar="STEPS", default=10, show_default=True,
    help="Steps between two steps in the log.",
)  # fmt: skip
@click.option("--features", metavar="DIR", help="Where `cache features` keeps them; by default in the run's folder.")
@click.option("--tensorboard", is_flag=True, help="Write the log for TensorBoard too.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    spec: str | None,
    recipe: str | None,
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    resume: str | None,
    folder: str | None,
    dry_run: bool,
    find_lr: bool,
    picture: str | None,
    seed: int | None,
    backend: str | None,
    threads: int | None,
    workers: int | None,
    checkpoint_every: int | None,
    log_every: int,
    features: str | None,
    tensorboard: bool,
    form: str,
) -> int:
    """Train a network by a recipe.

    RECIPE is a recipe of SPEC's file, or FILE.net@NAME; without it the only one of SPEC's file is meant.

    \b
    netdsl train pets.net pets
    netdsl train resnet50 pets.net@pets --set batch=32 --set head.epochs=1
    netdsl train --resume runs/pets-1

    Ctrl-C ends the run behind the step in hand, with a checkpoint. Exit status 130 then.
    """
    from netdsl.train.loop import Pace
    from netdsl.train.trainer import Trainer

    mirror = _tensorboard() if tensorboard else None
    pace = Pace(checkpoint_steps=checkpoint_every, log_steps=log_every)
    if resume is not None:
        if spec is not None or recipe is not None or settings or shapes or seed is not None or folder or features:
            raise click.UsageError("--resume takes everything from the run: give no SPEC, --set, --run or the like")
        trainer = Trainer.resume(
            resume, backend=backend, threads=threads, workers=workers, limits=given_limits(), pace=pace
        )
    else:
        if spec is None:
            raise click.UsageError("name a SPEC and a RECIPE, or a run with --resume")
        asked = (*settings, *([] if seed is None else [f"seed={seed}"]))
        trainer = Trainer(
            spec, recipe, settings=asked, shapes=given_shapes(shapes), limits=given_limits(), run=folder,
            backend=backend or "auto", threads=threads, workers=workers, features=features, pace=pace,
        )  # fmt: skip
    if dry_run:
        return _dry_run(trainer, form)
    if find_lr:
        return _find(trainer, form, picture)
    return _train(trainer, form, mirror)


def _train(trainer: Trainer, form: str, mirror: Callable[[Run], Any] | None) -> int:
    from netdsl.cli.training_progress import Shown

    quiet = form == "json"
    if trainer.job.note is not None and not quiet:
        click.echo(trainer.job.note, err=True)
    with Shown(quiet) as shown:
        result = trainer.run(shown, mirror)
    if quiet:
        click.echo(json.dumps(_result(result, str(trainer.folder)), indent=2))
    elif result.done:
        _tell(result, str(trainer.folder))
    else:
        click.echo(f"stopped after step {result.progress.step:,}: netdsl train --resume {trainer.folder}", err=True)
    return 0 if result.done else INTERRUPTED


def _tell(result: Result, folder: str) -> None:
    best = result.best
    if best.get("validation_accuracy") is not None:
        found = f"{best['validation_accuracy']:.2%} of the validation right"
    elif best.get("validation_loss") is not None:
        found = f"validation loss {best['validation_loss']:.4f}"
    else:
        found = "smallest training loss"
    click.echo(f"best: {found} after epoch {best['epoch']} of {best['phase']}, {folder}/best.safetensors")
    click.echo(f"last: {result.weights}")


def _result(result: Result, folder: str) -> dict[str, Any]:
    return {
        "run": folder,
        "done": result.done,
        "steps": result.progress.step,
        "weights": None if result.weights is None else str(result.weights),
        "best": {key: value for key, value in result.best.items() if key != "score"},
    }


def _dry_run(trainer: Trainer, form: str) -> int:
    from netdsl.train.plan import plan_json, plan_of

    plan = plan_of(trainer.session)
    if form == "json":
        head = {"network": trainer.job.network.name, "recipe": trainer.job.recipe.name, "note": trainer.job.note}
        click.echo(json.dumps(head | plan_json(plan), indent=2))
        return 0
    if trainer.job.note is not None:
        click.echo(trainer.job.note)
    _show_plan(trainer, plan)
    return 0


def _show_plan(trainer: Trainer, plan: Plan) -> None:
    recipe, network = trainer.job.recipe, trainer.job.network
    click.echo(click.style(f"{recipe.name}: {network.name} on {recipe.data}", bold=True))
    held = f", {plan.validation:,} to validate on" if plan.validation else ", none to validate on"
    classes = f" of {plan.classes} classes" if plan.classes else ""
    click.echo(f"{plan.images:,} images{classes} to train on{held}; batch {recipe.batch}; {plan.steps:,} steps in all")
    for each in plan.phases:
        phase = each.phase
        first, most, last = each.rates
        rows = {
            "steps": f"{phase.epochs} epochs of {each.steps:,}",
            "trained": f"{each.trained:,} numbers: {_listed(each.scopes)}",
            "frozen": f"{each.frozen:,} numbers" + (f" (freeze {phase.freeze})" if phase.freeze else ""),
            "gradient": f"through {each.layers - each.forward_only} of {each.layers} layers",
            "optimizer": f"{phase.optimizer}, lr {phase.lr:g}",
            "schedule": f"{phase.schedule}: {first:.3g} at first, {most:.3g} at most, {last:.3g} at last",
            "loss": phase.loss.kind + "".join(f", {name} {weight:g}" for name, weight in phase.auxiliary.items()),
            "augment": str(phase.augment) or "none",
            "memory": _memory(each.memory),
        }
        if phase.clip is not None:
            rows["clip"] = str(phase.clip)
        if phase.ema is not None:
            rows["average"] = f"decay {phase.ema:g}"
        if each.features is not None:
            rows["features"] = f"{phase.views} of each image, {size(each.features)} on disk"
        click.echo()
        click.echo(click.style(phase.name, bold=True))
        for name, text in rows.items():
            click.echo(f"  {name:<10} {text}")


def _listed(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def _memory(memory: Any) -> str:
    parts = [f"weights {size(memory.weights)}", f"gradients {size(memory.gradients)}"]
    if memory.optimizer:
        parts.append(f"optimizer {size(memory.optimizer)}")
    if memory.activations is not None:
        parts.append(f"activations {size(memory.activations)}")
    return f"{size(memory.total)}: {', '.join(parts)}"


def size(count: int) -> str:
    """A number of bytes as a person says it."""
    amount, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


def _find(trainer: Trainer, form: str, picture: str | None) -> int:
    import tempfile
    from pathlib import Path

    from netdsl.train.finder import find_rate

    if picture is not None:
        from netdsl.train.plot import require

        require(picture)
    session = trainer.session
    with tempfile.TemporaryDirectory() as folder:
        session.features = session.features or Path(folder)
        found = find_rate(session)
    if picture is not None:
        from netdsl.train.plot import plot_rates

        plot_rates(found.rates, found.losses, picture)
    if form == "json":
        click.echo(json.dumps(found._asdict(), indent=2))
        return 0
    _show_rates(found)
    return 0


def _show_rates(found: Found) -> None:
    rows = list(zip(found.rates, found.losses, strict=True))
    top = max(loss for _, loss in rows)
    click.echo("        lr      loss")
    every = max(1, len(rows) // 25)
    marks = {found.steepest: " <- falls most steeply", found.smallest: " <- smallest"}
    for number, (rate, loss) in enumerate(rows):
        if number % every == 0 or rate in marks:
            bar = "█" * max(1, round(30 * loss / top)) if top > 0 else ""
            click.echo(f"{rate:>10.2e}  {loss:>8.4f}  {bar}{marks.get(rate, '')}")
    if found.diverged is not None:
        click.echo(f"the loss leaves at lr {found.diverged:.2g}")
    click.echo(
        f"suggestion: lr {found.steepest:.2g} (a tenth of the rate with the smallest loss: {found.smallest / 10:.2g})"
    )


def _tensorboard() -> Callable[[Run], Callable[[str, Mapping[str, Any]], None]]:
    """What makes the mirror of a run's log for TensorBoard. Raises TrainError where its package is missing."""
    from netdsl.train.mirror import tensorboard

    return tensorboard()
