"""A child process that trains and kills itself, as `kill -9` does, at a moment that the command line names.

python killed.py SPEC RUN MOMENT
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from netdsl.train import checkpoint, features, loop
from netdsl.train.loop import Pace, Silent
from netdsl.train.trainer import Trainer


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(Silent):
    """Kills the process behind a step, or behind an epoch, of the run."""

    def __init__(self, moment: str) -> None:
        self.kind, _, number = moment.partition(":")
        self.number = int(number or 0)
        self.epochs = 0

    def step(self, progress: checkpoint.Progress, sums: Any, lr: float) -> None:
        if self.kind == "step" and progress.step == self.number:
            die()

    def epoch(self, record: Mapping[str, Any]) -> None:
        self.epochs += 1
        if self.kind == "epoch" and self.epochs == self.number:
            die()


def arm(moment: str) -> None:
    """Puts the end of the process into the middle of what is written."""
    kind, _, number = moment.partition(":")
    calls = 0
    write = checkpoint.safetensors_file.write
    rename = Path.rename
    clean = checkpoint.Checkpoints._clean
    best = loop.write_weights

    def half(path: Path, arrays: Mapping[str, Any]) -> None:
        nonlocal calls
        calls += 1
        write(path, arrays)
        if calls == int(number):
            os.truncate(path, path.stat().st_size // 2)
            die()

    def renaming(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += ".writing-" in self.name and target.parent.name == "checkpoints"
        if calls == int(number):
            die()
        return rename(self, target)

    def cleaning(self: checkpoint.Checkpoints, keep: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == int(number):
            die()
        clean(self, keep)

    def writing(path: Path, arrays: Mapping[str, Any]) -> None:
        nonlocal calls
        best(path, arrays)
        calls += 1
        if calls == int(number):
            die()

    def forcing(path: Path) -> None:
        if path.name.startswith("validation"):
            die()

    if kind == "half":
        checkpoint.safetensors_file.write = half  # type: ignore[assignment]
    elif kind == "rename":
        Path.rename = renaming  # type: ignore[method-assign, assignment]
    elif kind == "clean":
        checkpoint.Checkpoints._clean = cleaning  # type: ignore[method-assign]
    elif kind == "best":
        loop.write_weights = writing
    elif kind == "features":
        features._force = forcing


if __name__ == "__main__":
    spec, run, moment = sys.argv[1:4]
    arm(moment)
    np.seterr(all="ignore")
    if Path(run).exists():
        trainer = Trainer.resume(run, pace=Pace(checkpoint_steps=4, log_steps=1))
    else:
        pace = Pace(checkpoint_steps=4, log_steps=1)
        trainer = Trainer(spec, "whole", run=run, backend="numpy", workers=1, pace=pace)
    trainer.run(Killer(moment))
