"""What transfer is worth where labels are few: the digits 5 to 9 from 10, 20 and 50 images of each.

    python examples/transfer.py [--each 10 20 50] [--seeds 3] [-o transfer.png]

Trains by recipes of transfer.net, which wants examples/trunk.safetensors, and judges at the end of each training on a
fifth of the digits that was kept apart. Needs scikit-learn, and matplotlib for the picture:
pip install 'netdsl[examples,plot]'
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from netdsl.train.loop import Silent
from netdsl.train.trainer import Trainer

SPEC = Path(__file__).with_name("transfer.net")
RECIPES = {"head": "frozen trunk, new head", "tuned": "head, then everything", "scratch": "from scratch"}
CLASSES = "[5, 6, 7, 8, 9]"

Found = dict[str, dict[int, list[float]]]
"""Accuracies of each seed, by recipe and number of images of a class."""


class Last(Silent):
    """Keeps what was found in the last epoch."""

    record: Mapping[str, Any]

    def epoch(self, record: Mapping[str, Any]) -> None:
        self.record = record


def accuracy(recipe: str, count: int, seed: int) -> float:
    """Of the held-out digits, at the end of a training on `count` images of each class, which `seed` chooses."""
    data = f"data=digits(classes = {CLASSES}, validation = 20%, seed = {seed}, per_class = {count})"
    with tempfile.TemporaryDirectory() as folder:
        watcher = Last()
        Trainer(SPEC, recipe, settings=[data, "batch=10", f"seed={seed}"], run=Path(folder) / "run").run(watcher)
    return float(watcher.record["validation_accuracy"])


def measure(counts: Iterable[int], seeds: int) -> Found:
    found: Found = {recipe: {} for recipe in RECIPES}
    for count in counts:
        for recipe, by_count in found.items():
            by_count[count] = [accuracy(recipe, count, seed) for seed in range(seeds)]
            shown = ", ".join(f"{value:.2%}" for value in by_count[count])
            mean = statistics.mean(by_count[count])
            print(f"{count:>3} of each digit, {RECIPES[recipe]:<22} {mean:.2%} ({shown})", flush=True)
    return found


def draw(found: Found, path: str) -> None:
    """Mean, and range over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for recipe, by_count in found.items():
        means = [100 * statistics.mean(values) for values in by_count.values()]
        below = [mean - 100 * min(values) for mean, values in zip(means, by_count.values(), strict=True)]
        above = [100 * max(values) - mean for mean, values in zip(means, by_count.values(), strict=True)]
        axes.errorbar(list(by_count), means, [below, above], marker="o", capsize=3, label=RECIPES[recipe])
    counts = list(next(iter(found.values())))
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("images of each digit")
    axes.set_ylabel("accuracy on held-out digits, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description="Transfer where labels are few.")
    parser.add_argument("--each", type=int, nargs="+", default=[10, 20, 50], metavar="N")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", metavar="FILE", help="draw the curves: .png")
    given = parser.parse_args()
    found = measure(given.each, given.seeds)
    if given.output:
        draw(found, given.output)


if __name__ == "__main__":
    main()
