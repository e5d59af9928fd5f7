"""`netdsl augment`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from netdsl.train.recipe import Phase, Recipe


@click.command("augment")
@click.argument("recipe")
@click.option("-i", "--input", "source", required=True, metavar="IMAGE", help="The image to augment.")
@click.option("-o", "--output", "target", required=True, metavar="FILE", help="The contact sheet: .png or .jpg")
@click.option(
    "--views", type=click.IntRange(1, 10_000), default=16, show_default=True, help="How many pictures to make."
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Draw from this seed; default: the recipe's.")
@click.option("--phase", metavar="NAME", help="Show what this phase does; default: the first one that augments.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="Set an entry of the recipe, e.g. augment='rotate(30)', or a parameter of the network.",
)  # fmt: skip
def command(
    recipe: str, source: str, target: str, views: int, seed: int | None, phase: str | None, settings: tuple[str, ...]
) -> None:
    """Draw what the `augment` of a recipe makes of one image.

    The sheet shows the image as it is, then what the network reads of it in the first epochs, in front of `normalize`.
    RECIPE is a file with a recipe, or file@recipe.
    """
    from netdsl.data.augment.sheet import contact_sheet, save_sheet, views_of
    from netdsl.train.feed import image_input
    from netdsl.train.find import find_job

    job = find_job(recipe, None, settings=settings)
    chosen = _phase(job.recipe, phase)
    pipeline = chosen.augment
    _, (channels, _, _) = image_input(job.network)
    seed = job.recipe.seed if seed is None else seed
    made = views_of(source, pipeline, job.network.preprocess, channels=channels, count=views, seed=seed)
    subtitle = f"{source}, seed {seed}"
    save_sheet(target, contact_sheet(made, str(pipeline), subtitle))
    click.echo(f"{views} views saved to {target}: {pipeline}")
    for _, step in pipeline.mixing:
        click.echo(f"`{step.kind}` mixes the images of a batch and is not shown")


def _phase(recipe: Recipe, name: str | None) -> Phase:
    """The phase of that name, or the first one that augments. Raises TrainError."""
    from netdsl.language.diagnostics import did_you_mean
    from netdsl.train.errors import TrainError

    phases = {phase.name: phase for phase in recipe.phases}
    if name is not None and name not in phases:
        help = did_you_mean(name, phases) or f"it has {', '.join(phases)}"
        raise TrainError("E0965", f"the recipe `{recipe.name}` has no phase `{name}`", help)
    asked = [phases[name]] if name is not None else list(recipe.phases)
    augmenting = [phase for phase in asked if phase.augment]
    if not augmenting:
        where = (
            f"the phase `{name}` of the recipe `{recipe.name}`" if name is not None else f"the recipe `{recipe.name}`"
        )
        help = "e.g. augment random_flip -> random_crop(32, padding = 4)"
        raise TrainError("E0913", f"{where} has no `augment`, or an empty one", help)
    return augmenting[0]
