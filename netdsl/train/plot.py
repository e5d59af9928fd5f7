"""Pictures of runs and of evaluations, by matplotlib (the extra `plot`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from netdsl.atomic import replacing
from netdsl.train.errors import TrainError
from netdsl.train.log import records
from netdsl.train.runs import Run

FORMATS = (".png", ".svg", ".pdf")

MAX_ANNOTATED = 20
"""Classes up to which the cells of a confusion matrix hold their numbers."""

Points = tuple[list[float], list[float]]
"""Places along the axis, and values."""


class Curves(NamedTuple):
    """What a log says of a run, over epochs of the whole run."""

    name: str
    loss: Points
    accuracy: Points
    validation_loss: Points
    validation_accuracy: Points
    phases: tuple[tuple[str, float], ...]
    """Each phase and the epoch that it begins behind."""


def curves(folder: str | os.PathLike[str]) -> Curves:
    """The curves of a run. Raises TrainError (E0979) where there is no complete epoch."""
    run = Run(folder)
    found: dict[str, Points] = {
        name: ([], []) for name in ("loss", "accuracy", "validation_loss", "validation_accuracy")
    }
    phases: list[tuple[str, float]] = []
    epoch = 0
    for record in records(run.log):
        if record.get("event") == "phase":
            phases.append((str(record.get("phase")), epoch))
        if record.get("event") != "epoch":
            continue
        epoch += 1
        for name, (places, values) in found.items():
            value = record.get(name)
            if isinstance(value, int | float):
                places.append(epoch)
                values.append(float(value))
    if not epoch:
        raise TrainError("E0979", f"no epoch of the run {folder} is complete yet")
    return Curves(Path(folder).name or str(folder), **found, phases=tuple(phases))


def plot_runs(folders: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> list[Curves]:
    """Draws loss and accuracy of runs into one picture (.png, .svg, .pdf); validation is dashed.

    Raises TrainError: E0977 without matplotlib, E0978 where it cannot be written, E0979 for a log that cannot be read.
    """
    figure_class = _figure()
    found = [curves(folder) for folder in folders]
    panels = ["loss"]
    if any(each.accuracy[0] or each.validation_accuracy[0] for each in found):
        panels.append("accuracy")
    figure = figure_class(figsize=(5.2 * len(panels), 3.8), layout="constrained")
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for number, each in enumerate(found):
            colour = f"C{number % 10}"
            for points, dashes, words in (
                (getattr(each, panel), "-", "training"), (getattr(each, f"validation_{panel}"), "--", "validation"),
            ):  # fmt: skip
                if points[0]:
                    mark = "o" if len(points[0]) == 1 else None
                    label = words if len(found) == 1 else f"{each.name}: {words}"
                    axes.plot(*points, dashes, color=colour, marker=mark, label=label)
        if len(found) == 1:
            for name, epoch in found[0].phases[1:]:
                axes.axvline(epoch + 0.5, color="0.7", linewidth=0.8)
                axes.annotate(name, (epoch + 0.6, 0.97), xycoords=("data", "axes fraction"), va="top", color="0.4")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(panel)
        top = ceiling(found) if panel == "loss" else None
        if top is not None:
            axes.set_ylim(-0.05 * top, top)
            axes.set_ylabel("loss (what is higher is cut off)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small" if len(found) > 2 else None, ncols=2 if len(found) > 2 else 1)
    _save(figure, Path(path))
    return found


def ceiling(found: Sequence[Curves]) -> float | None:
    """Where the axis of losses ends, where a few of validation would flatten everything else.

    Running statistics that have just begun can make a validation loss of thousands. What is trained on decides then.
    """
    trained = [value for each in found for value in each.loss[1] if isfinite(value)]
    judged = [value for each in found for value in each.validation_loss[1] if isfinite(value)]
    if not trained or not judged or max(judged) <= 4 * max(trained):
        return None
    return 1.15 * max(trained)


def plot_confusion(matrix: Any, classes: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Draws a confusion matrix: rows are the classes of the images, columns what they were taken for.

    Shades are parts of the row. Raises TrainError (E0977, E0978).
    """
    figure_class = _figure()
    count = len(classes)
    side = min(16.0, 2.5 + 0.42 * count)
    figure = figure_class(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    parts = matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    image = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="part of the class")
    if count <= MAX_ANNOTATED:
        for row in range(count):
            for column in range(count):
                if matrix[row, column]:
                    colour = "white" if parts[row, column] > 0.5 else "black"
                    axes.text(
                        column, row, f"{matrix[row, column]:,}", ha="center", va="center", color=colour, fontsize=8
                    )
    if count <= 60:
        axes.set_xticks(range(count), classes, rotation=90)
        axes.set_yticks(range(count), classes)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    _save(figure, Path(path))


def plot_rates(rates: Sequence[float], losses: Sequence[float], path: str | os.PathLike[str]) -> None:
    """Draws the loss over the learning rate, as the finder found it. Raises TrainError (E0977, E0978)."""
    figure = _figure()(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.semilogx(rates, losses)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss (smoothed)")
    axes.grid(alpha=0.3)
    _save(figure, Path(path))


def require(path: str | os.PathLike[str]) -> None:
    """That a picture can be written there, as far as can be known before it is drawn. Raises TrainError."""
    _figure()
    _require_format(Path(path))


def _figure() -> Any:
    """matplotlib's Figure. Raises TrainError (E0977) where it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise TrainError("E0977", "plots need the package matplotlib", "pip install 'netdsl[plot]'") from None
    return Figure


def _require_format(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise TrainError("E0978", f"a picture is written as {', '.join(FORMATS)}, not {path.suffix or path.name}")


def _save(figure: Any, path: Path) -> None:
    _require_format(path)
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
    except OSError as error:
        raise TrainError("E0978", f"cannot write {path}: {error.strerror or error}") from None
