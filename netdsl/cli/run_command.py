"""`netdsl run`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import device_options, load_net, spec_options

if TYPE_CHECKING:
    from netdsl.api import Net
    from netdsl.backends.reference import Model


@click.command("run")
@click.argument("spec")
@click.argument("more", nargs=-1, metavar="[FILE...]")
@spec_options
@click.option(
    "-i", "--input", "inputs", multiple=True, required=True, metavar="[NAME=]FILE",
    help="An image, a .npy array, or a folder of them; may be repeated. By name where the network has several inputs.",
)  # fmt: skip
@click.option("-w", "--weights", metavar="FILE", help="Weights: .safetensors, .npz, .pth or .pt")
@click.option("--rules", metavar="FILE", help="Rules (TOML) that turn the names of the weights into the network's.")
@click.option("--by-position", is_flag=True, help="Take the weights by their order instead of by names.")
@click.option("--except", "except_", multiple=True, metavar="PATTERN", help="Weights that need not be in the file.")
@click.option("--random-weights", type=int, metavar="SEED", help="Run on random weights instead.")
@click.option("-o", "--output", "target", metavar="FILE", help="Save the output: .png or .npy")
@click.option("--tap", "taps", multiple=True, metavar="NAME[=FILE]", help="Save an inner activation; default NAME.npy")
@click.option(
    "--backend",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="What computes: cupy (a GPU), native, numpy, reference (each layer by itself), or auto, the first that can.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="How many threads the back-end may use.")
@device_options
@click.option("--labels", metavar="FILE", help="Names of the classes, one a line.")
@click.option(
    "--top", "top", type=click.IntRange(min=1), default=5, show_default=True, help="How many classes to show."
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    spec: str,
    more: tuple[str, ...],
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    inputs: tuple[str, ...],
    weights: str | None,
    rules: str | None,
    by_position: bool,
    except_: tuple[str, ...],
    random_weights: int | None,
    target: str | None,
    taps: tuple[str, ...],
    backend: str,
    threads: int | None,
    precision: Any,
    device: int | None,
    autotune: Any,
    labels: str | None,
    top: int,
    form: str,
) -> None:
    """Run a network on images or arrays; images go through its `preprocess`.

    Shows the most probable classes, or saves the output with --output. Further FILEs are inputs too:
    netdsl run SPEC --input a.jpg b.jpg
    """
    net = load_net(spec, settings, shapes)
    model = net.compile(backend=backend, threads=threads, precision=precision, device=device, autotune=autotune)
    if weights is not None:
        model.load(weights, except_=except_, rules=rules, by_position=by_position)
    if random_weights is not None:
        model.initialize(random_weights)
    # Says what is missing before any input is read.
    model.require_weights()
    batches = _batches(net, (*inputs, *more))
    tapped = dict(_tap(tap) for tap in taps)
    names = _labels(net, labels)
    results: list[dict[str, Any]] = []
    hidden = form == "json" or len(batches) < 2
    with click.progressbar(batches, label="running", file=sys.stderr, hidden=hidden) as bar:
        for shown, files in bar:
            several = Path(shown).stem if len(batches) > 1 else ""
            results.append(_run_one(net, model, shown, files, target, tapped, several, names, top))
    if form == "json":
        click.echo(json.dumps({"network": net.name, "results": results}, indent=2))
        return
    for result in results:
        _print(result, len(results) > 1)


def _tap(text: str) -> tuple[str, str]:
    name, _, file = text.partition("=")
    return name, file or f"{name}.npy"


def _batches(net: Net, given: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """For each run: what it is called, and the file for each input."""
    from netdsl.images.load import find_inputs
    from netdsl.language.diagnostics import did_you_mean

    wanted = list(net.inputs)
    named: dict[str, str] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if equals and name in wanted:
            named[name] = file
        elif equals and name.isidentifier() and not Path(text).exists():
            help = did_you_mean(name, wanted) or f"its inputs are {', '.join(wanted)}"
            raise click.UsageError(f"{net.name} has no input `{name}`: {help}")
    if len(wanted) == 1 and not named:
        return [(str(path), {wanted[0]: str(path)}) for path in find_inputs(given)]
    missing = [name for name in wanted if name not in named]
    if missing or len(named) != len(given):
        shown = " ".join(f"--input {name}=FILE" for name in wanted)
        raise click.UsageError(f"{net.name} has {len(wanted)} input(s): write {shown}")
    return [(", ".join(named.values()), named)]


def _labels(net: Net, path: str | None) -> list[str] | None:
    from netdsl.images.topk import read_labels

    if path is None:
        return None
    counts = {_classes(type.shape) for type in net.outputs.values()} - {None}
    if not counts:
        raise click.UsageError(f"--labels: the output of {net.name} is no list of classes")
    return read_labels(path, next(iter(counts)) or 0)


def _classes(shape: tuple[int | None, ...]) -> int | None:
    """The number of classes, where a shape is a list of them: (classes,) or (classes, 1, 1)."""
    return shape[0] if shape and all(extent == 1 for extent in shape[1:]) and shape[0] != 1 else None


def _run_one(
    net: Net,
    model: Model,
    shown: str,
    files: dict[str, str],
    target: str | None,
    taps: dict[str, str],
    several: str,
    labels: list[str] | None,
    top: int,
) -> dict[str, Any]:
    from netdsl.images.load import load_input
    from netdsl.images.save import save_map
    from netdsl.images.topk import top_k

    arrays = {name: load_input(file, net.inputs[name], net.network.preprocess) for name, file in files.items()}
    made, kept = model(arrays, tap=list(taps))
    outputs = made if isinstance(made, dict) else {next(iter(net.outputs)): made}
    result: dict[str, Any] = {"input": shown, "outputs": {}, "taps": {}}
    for name, array in outputs.items():
        entry: dict[str, Any] = {"shape": list(array.shape)}
        if target is not None:
            path = _beside(target, several, name if len(outputs) > 1 else "")
            shown_range = save_map(path, array)
            entry["file"] = str(path)
            if shown_range is not None:
                entry["black"], entry["white"] = shown_range
        elif _classes(array.shape[1:]) is not None:
            ends = net.node(net.network.outputs[name]).layer.kind == "softmax"
            guesses = top_k(array, top, labels, are_probabilities=ends)
            entry["top"] = [[guess._asdict() for guess in image] for image in guesses]
        else:
            entry["least"], entry["mean"], entry["most"] = (float(f()) for f in (array.min, array.mean, array.max))
        result["outputs"][name] = entry
    for name, file in taps.items():
        path = _beside(file, several, "")
        save_map(path, kept[name])
        result["taps"][name] = {"shape": list(kept[name].shape), "file": str(path)}
    return result


def _beside(target: str, *marks: str) -> Path:
    """The name of a file with marks before its suffix."""
    path = Path(target)
    return path.with_name("-".join([path.stem, *filter(None, marks)]) + path.suffix)


def _print(result: dict[str, Any], several: bool) -> None:
    if several:
        click.echo(click.style(result["input"], bold=True))
    for name, entry in result["outputs"].items():
        head = f"{name}: " if len(result["outputs"]) > 1 else ""
        shape = "x".join(map(str, entry["shape"][1:]))
        if "file" in entry:
            scale = f" (black is {entry['black']:.4g}, white is {entry['white']:.4g})" if "black" in entry else ""
            click.echo(f"{head}{shape} saved to {entry['file']}{scale}")
        elif "top" in entry:
            for image in entry["top"]:
                _table(head, image)
        else:
            click.echo(f"{head}{shape}, from {entry['least']:.6g} to {entry['most']:.6g}, mean {entry['mean']:.6g}")
            click.echo("save it with --output FILE.png or FILE.npy")
    for name, entry in result["taps"].items():
        click.echo(f"{name}: {'x'.join(map(str, entry['shape'][1:]))} saved to {entry['file']}")


def _table(head: str, image: list[dict[str, Any]]) -> None:
    width = max(len(_title(guess)) for guess in image)
    if head:
        click.echo(head.rstrip())
    click.echo(f"   #  {'class'.ljust(width)}  probability")
    for guess in image:
        bar = "█" * round(20 * guess["probability"])
        click.echo(f"  {guess['rank']:>2}  {_title(guess).ljust(width)}  {guess['probability']:>10.2%}  {bar}".rstrip())


def _title(guess: dict[str, Any]) -> str:
    return str(guess["class_index"]) if guess["label"] is None else f"{guess['label']} ({guess['class_index']})"
