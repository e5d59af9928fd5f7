"""What augmentation is worth where labels are few: LeNet-5 on 10, 20 and 50 images of each digit.

    python examples/few_labels.py [--seeds 5] [--each 10 20 50] [--steps 1000] [-o few_labels.png]

Trains by the two recipes of few_labels.net, with several seeds, and judges on the same held-out fifth of the digits.
Needs scikit-learn, which has the digits, and matplotlib for the picture: pip install 'netdsl[examples,plot]'
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netdsl.train.loop import Silent
from netdsl.train.trainer import Trainer

SPEC = Path(__file__).with_name("few_labels.net")
BATCH, CLASSES = 20, 10


class Last(Silent):
    """Keeps what was found in the last epoch."""

    record: Mapping[str, Any]

    def epoch(self, record: Mapping[str, Any]) -> None:
        self.record = record


def accuracy(recipe: str, per_class: int, seed: int, steps: int) -> float:
    """Of the held-out digits, at the end of a training."""
    epochs = max(1, steps * BATCH // (CLASSES * per_class))
    settings = [f"data=digits(validation = 20%, per_class = {per_class})", f"epochs={epochs}", f"seed={seed}"]
    with tempfile.TemporaryDirectory() as folder:
        watcher = Last()
        Trainer(SPEC, recipe, settings=settings, run=Path(folder) / "run").run(watcher)
    return float(watcher.record["validation_accuracy"])


def draw(found: dict[str, dict[int, list[float]]], path: str) -> None:
    """Mean and range over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for recipe, by_count in found.items():
        counts = list(by_count)
        means = [100 * statistics.mean(values) for values in by_count.values()]
        below = [mean - 100 * min(values) for mean, values in zip(means, by_count.values(), strict=True)]
        above = [100 * max(values) - mean for mean, values in zip(means, by_count.values(), strict=True)]
        axes.errorbar(counts, means, [below, above], marker="o", capsize=3, label=recipe)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("images of each digit")
    axes.set_ylabel("accuracy on held-out digits, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--each", type=int, nargs="+", default=[10, 20, 50], metavar="N")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("-o", "--output", metavar="FILE", help="draw the curves: .png")
    given = parser.parse_args()
    found: dict[str, dict[int, list[float]]] = {"plain": {}, "augmented": {}}
    for per_class in given.each:
        for recipe, by_count in found.items():
            by_count[per_class] = [accuracy(recipe, per_class, seed, given.steps) for seed in range(given.seeds)]
            mean = statistics.mean(by_count[per_class])
            shown = ", ".join(f"{value:.2%}" for value in by_count[per_class])
            print(f"{per_class:>3} of each digit, {recipe:>9}: {mean:.2%} ({shown})", flush=True)
    if given.output:
        draw(found, given.output)


if __name__ == "__main__":
    main()
