"""`--data`, as several commands take it: a path, or a call as in a recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netdsl.cli.options import device_options

if TYPE_CHECKING:
    from netdsl.backends.reference import Model
    from netdsl.data.dataset import Part
    from netdsl.ir.network import Network

F = TypeVar("F", bound=Callable[..., Any])


def data_options(function: F) -> F:
    """`--data`, `--part`, `--weights` and their like, `--batch`, `--backend`, `--threads`, `--workers`, and those of
    devices."""
    options = [
        click.option(
            "-d", "--data", required=True, metavar="DATA",
            help="A folder with one for each class, a .csv or .npz file, or a call: digits, 'folder(\"pets\")'.",
        ),
        click.option(
            "--part", type=click.Choice(["all", "training", "validation"]),
            help="Which part of the data; by default the validation, where DATA keeps some apart.",
        ),
        click.option("-w", "--weights", metavar="FILE", help="Weights: .safetensors, .npz, .pth or .pt"),
        click.option("--rules", metavar="FILE", help="Rules (TOML) that turn the weights' names into the network's."),
        click.option("--random-weights", type=int, metavar="SEED", help="Run on random weights instead."),
        click.option("--batch", type=click.IntRange(1, 2**20), default=64, show_default=True, help="Images at a time."),
        click.option("--backend", metavar="NAME", default="auto", show_default=True, help="What computes."),
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads that the back-end may use."),
        click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Threads that read images."),
        device_options,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def open_part(network: Network, data: str, part: str | None) -> Part:
    """The images that the options name. Raises SpecError, DataError."""
    import numpy as np

    from netdsl.data.dataset import Part
    from netdsl.data.open import open_data
    from netdsl.train.feed import image_input

    _, (channels, _, _) = image_input(network)
    found = open_data(source_of(data), Path(), channels)
    if part == "validation" and found.validation is None:
        raise click.UsageError("--part validation: the data keeps nothing apart, e.g. validation = 20%")
    if part == "validation" or (part is None and found.validation is not None):
        assert found.validation is not None
        return found.validation
    if part == "all" and found.validation is not None:
        if found.validation.dataset is not found.training.dataset:
            raise click.UsageError("--part all: the validation lies elsewhere; take one of the parts")
        return Part(found.training.dataset, np.arange(len(found.training.dataset)))
    return found.training


def source_of(text: str) -> Any:
    """What `--data` names, as a data source. Raises SpecError, DataError."""
    from netdsl.data.errors import DataError
    from netdsl.data.resolve import resolve_data
    from netdsl.data.sources import SOURCES
    from netdsl.elaborate.linked import LoadedModule
    from netdsl.language import syntax
    from netdsl.language.diagnostics import did_you_mean
    from netdsl.language.parser import parse
    from netdsl.language.source import Source

    name, called, _ = text.partition("(")
    name = name.strip()
    if Path(text).exists() or not (name in SOURCES or (called and name.isidentifier())):
        if not Path(text).exists():
            help = (
                did_you_mean(name, SOURCES)
                or 'a folder of folders, a .csv, an .npz, or a call: folder("PATH", validation = 20%)'
            )
            raise DataError("E0901", f"there is no {text}", help)
        suffix = Path(text).suffix.lower()
        kind = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".npz": "arrays"}.get(suffix, "folder")
        return SOURCES[kind].model_validate({"path": text})
    tree = parse(Source(f"recipe given for given {{ data {text} }}", "--data"))
    (recipe,) = tree.declarations
    assert isinstance(recipe, syntax.Recipe)
    (entry,) = recipe.items
    assert isinstance(entry, syntax.Entry)
    return resolve_data(entry, LoadedModule(tree, None))


def ready(network: Network, whole: Network, given: dict[str, Any], backend: str, threads: int | None) -> Model:
    """A model of a network with the weights that the options name. `network` is `whole`, or a part of it whose weights
    alone have to be in the file. Raises WeightError, RunError."""
    from netdsl.backends.compiled import model
    from netdsl.train.engines import fastest
    from netdsl.weights.store import WeightStore

    on_device = {name: given[name] for name in ("precision", "device", "autotune")}
    # Whoever says how a device is to compute wants one.
    name = "cupy" if backend == "auto" and any(value is not None for value in on_device.values()) else fastest(backend)
    made = model(network, name=name, threads=threads, **on_device)
    if given["weights"] is not None:
        store = WeightStore(whole)
        store.load(
            given["weights"],
            rules=given["rules"],
            except_=[name for name in store.slots if name not in made.store.slots],
        )
        made.store.bind({name: store.values[name] for name in made.store.slots if name in store.values})
    if given["random_weights"] is not None:
        made.initialize(given["random_weights"])
    made.require_weights()
    return made
