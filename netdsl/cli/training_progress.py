"""What a training run shows while it runs: a bar for the phase in hand, a line for each epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from netdsl.train.checkpoint import Progress
    from netdsl.train.metrics import Sums
    from netdsl.train.recipe import Phase

WORTH_TELLING = 0.1
"""The part of an epoch's time from which on waiting for images is told: more workers, or smaller files, would help."""
LONG_ENOUGH = 1.0
"""Seconds of an epoch below which it is not: the first batch of each is waited for."""
REFRESH = 0.2
"""Seconds between two looks at the numbers beside the bar."""


class Shown:
    """A `Watcher` that writes lines for phases and epochs to the standard output, and a bar and notes to the standard
    error stream: the bar only where that is a terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._last = 0.0
        self._phase: Phase | None = None
        self._began = time.monotonic()
        self._images = 0

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def phase(self, phase: Phase, steps: int, done: int, per_epoch: int) -> None:
        """A phase begins, or goes on."""
        if self._quiet:
            return
        self._phase = phase
        self._say(click.style(f"{phase.name}: {phase.epochs} epochs of {per_epoch:,} steps", bold=True))
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is not None:
            self._bar.stop()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(), console=Console(stderr=True, highlight=False), transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        self._bar.start()
        self._task = self._bar.add_task(phase.name, total=steps, completed=done, numbers="")

    def step(self, progress: Progress, sums: Sums, lr: float) -> None:
        if self._bar is None or self._task is None:
            return
        now = time.monotonic()
        if now - self._last < REFRESH and progress.phase_step % 50:
            return
        if sums.images < self._images:
            self._images = 0
        speed = (sums.images - self._images) / max(1e-9, now - self._last) if self._last else 0.0
        self._last, self._images = now, sums.images
        numbers = f"epoch {progress.epoch + 1}  loss {sums.loss:.4f}"
        if sums.accuracy is not None:
            numbers += f"  accuracy {sums.accuracy:.1%}"
        if speed:
            numbers += f"  {speed:,.0f} images/s"
        self._bar.update(self._task, completed=progress.phase_step, numbers=numbers)

    def epoch(self, record: Mapping[str, Any]) -> None:
        if self._quiet:
            return
        self._say(epoch_line(record, self._phase.epochs if self._phase is not None else None))

    def note(self, text: str) -> None:
        if not self._quiet:
            self._say(text, err=True)

    def _say(self, text: str, err: bool = False) -> None:
        if self._bar is not None and (err or sys.stdout.isatty()):
            from rich.text import Text

            self._bar.console.print(Text.from_ansi(text))
        else:
            click.echo(text, err=err)


def epoch_line(record: Mapping[str, Any], epochs: int | None) -> str:
    """`epoch  3/10  loss 0.1234  accuracy 96.0%  validation 0.2345  94.5%  lr 0.01  1,234 images/s`"""
    of = f"/{epochs}" if epochs is not None else ""
    parts = [f"epoch {record['epoch']:>{len(str(epochs or 1))}}{of}", f"loss {_loss(record['loss'])}"]
    if record.get("accuracy") is not None:
        parts.append(f"accuracy {record['accuracy']:.2%}")
    if record.get("validation_loss") is not None:
        parts.append(f"validation loss {_loss(record['validation_loss'])}")
    if record.get("validation_accuracy") is not None:
        parts.append(f"accuracy {record['validation_accuracy']:.2%}")
    parts.append(f"lr {record['lr']:.3g}")
    if record.get("images_per_second"):
        parts.append(f"{record['images_per_second']:,.0f} images/s")
    seconds = record.get("seconds", 0)
    share = record.get("waited_seconds", 0) / max(seconds, 1e-9)
    if share >= WORTH_TELLING and seconds >= LONG_ENOUGH:
        parts.append(f"{share:.0%} of the time waiting for images")
    return "  ".join(parts)


def _loss(value: float) -> str:
    """Four decimals, or as many digits where these would show nothing."""
    return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"
