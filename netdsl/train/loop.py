"""The training loop: phases of epochs of steps, with a checkpoint wherever it may be stopped.

What a run computes follows from its recipe, seed, data and back-end alone. All that a step depends on is in a
checkpoint, or is a function of the seed and of numbers that are: so a run that was killed and resumed ends with the
same bits as one that was not.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netdsl.train.checkpoint import Checkpoints, Progress, finite, step_of
from netdsl.train.errors import TrainError
from netdsl.train.feed import Feed, awaited, outputs_of
from netdsl.train.log import Log
from netdsl.train.metrics import Sums
from netdsl.train.phases import PhaseRun
from netdsl.train.recipe import Phase
from netdsl.train.runs import Run
from netdsl.train.session import Session
from netdsl.weights.files import write as write_weights

Array = NDArray[Any]

LOG_EVERY = 10
"""Steps between two `step` records of the log, where nothing else is asked for."""

CHECKPOINT_SECONDS = 600.0
"""Seconds between checkpoints within an epoch, where no number of steps is asked for."""


class Watcher(Protocol):
    """Whoever shows what a run does."""

    def phase(self, phase: Phase, steps: int, done: int, per_epoch: int) -> None:
        """A phase begins, or goes on behind `done` of its `steps`."""

    def step(self, progress: Progress, sums: Sums, lr: float) -> None: ...

    def epoch(self, record: Mapping[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """Shows nothing."""

    def phase(self, phase: Phase, steps: int, done: int, per_epoch: int) -> None: ...

    def step(self, progress: Progress, sums: Sums, lr: float) -> None: ...

    def epoch(self, record: Mapping[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class Pace:
    """How often what is written is written. None of it changes what is computed."""

    checkpoint_steps: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    log_steps: int = LOG_EVERY


class Result(NamedTuple):
    """How a run ended."""

    done: bool
    """False where it was stopped, and can be resumed."""
    weights: Path | None
    best: Mapping[str, Any]
    progress: Progress


class Loop:
    """Runs a session from where `progress` stands until it is done or stopped."""

    def __init__(
        self,
        session: Session,
        run: Run,
        progress: Progress,
        arrays: Mapping[str, Array],
        pace: Pace,
        watcher: Watcher,
        mirror: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.session = session
        self.run_folder = run
        self.progress = progress
        self._arrays = arrays
        self._pace = pace
        self._watcher = watcher
        self._mirror = mirror
        self._checkpoints = Checkpoints(run.checkpoints)
        self._stop: int | None = None
        self._saved_at = time.monotonic()
        self._resumed = progress.step > 0

    def stop(self) -> None:
        """Asks the run to end behind the step in hand, with a checkpoint. May be called from any thread."""
        self._stop = signal.SIGINT

    def run(self) -> Result:
        """Trains. Raises TrainError; the last good checkpoint is there then."""
        progress, recipe = self.progress, self.session.recipe
        with Log(self.run_folder.log, progress.log_bytes) as log, self._signals():
            self._log = log
            self._record("resume" if self._resumed else "start", step=progress.step, recipe=recipe.name)
            if not self._resumed:
                self._save(None)
            try:
                while progress.phase < len(recipe.phases):
                    if not self._phase(recipe.phases[progress.phase]):
                        return Result(False, None, progress.best, progress)
            except TrainError as error:
                raise self._told(error) from None
            write_weights(self.run_folder.weights, self.session.final)
            progress.done = True
            self._record("end", step=progress.step, best=progress.best)
            self._save(None)
        return Result(True, self.run_folder.weights, progress.best, progress)

    def _told(self, error: TrainError) -> TrainError:
        """The error of a run that diverged, with what is left of it."""
        if error.code != "E0971":
            return error
        self._record("diverged", step=self.progress.step, message=error.message)
        kept = self._checkpoints.newest()
        notes = [] if kept is None else [f"the last good checkpoint is that of step {step_of(kept):_}: {kept}"]
        return TrainError(error.code, error.message, error.help, [*error.notes, *notes])

    # ----------------------------------------------------------------------------------------------------------- parts

    def _phase(self, phase: Phase) -> bool:
        """The rest of a phase. False where it was stopped; there is a checkpoint then."""
        progress = self.progress
        feed, current = self.session.begin(phase, progress.phase, self._watcher.note)
        if progress.phase_step:
            current.restore(self._arrays, progress.optimizer_steps, progress.average_steps)
        self._arrays = {}
        self._watcher.phase(phase, current.total, progress.phase_step, current.per_epoch)
        if not progress.phase_step:
            self._record(
                "phase", step=progress.step, phase=phase.name, steps=current.total,
                trainable=current.engine.parameters.size, images=feed.images,
            )  # fmt: skip
        while progress.epoch < phase.epochs:
            complete = self._epoch(phase, feed, current)
            if not complete or progress.epoch < phase.epochs:
                self._save(current)
                if self._stop is not None:
                    return False
        self.session.end(current)
        progress.phase += 1
        progress.epoch = progress.phase_step = progress.optimizer_steps = progress.average_steps = 0
        self._save(None)
        return self._stop is None or progress.phase == len(self.session.recipe.phases)

    def _epoch(self, phase: Phase, feed: Feed, current: PhaseRun) -> bool:
        """The rest of an epoch and its validation. False where it was stopped."""
        progress, session = self.progress, self.session
        sums = Sums(progress.sums)
        began, before = time.monotonic(), sums.images
        main = outputs_of(session.network)[0]
        lr = current.rate(max(0, progress.phase_step - 1))
        waited = 0.0
        epoch = session.epochs_before(progress.phase) + progress.epoch
        for fed, delay in awaited(feed.epoch(epoch, progress.batch)):
            waited += delay
            lr = current.rate(progress.phase_step)
            taken = current.step(fed.inputs, fed.targets, session.recipe.seed, progress.step, lr)
            sums.add(taken.loss, taken.outputs[main], fed.targets)
            if taken.skipped:
                self._record("overflow", step=progress.step + 1, phase=phase.name, loss_scale=current.scale.value)
            progress.step += 1
            progress.phase_step += 1
            progress.batch = fed.number + 1
            progress.sums = sums.values
            self._watcher.step(progress, sums, lr)
            if progress.step % self._pace.log_steps == 0:
                self._record(
                    "step", step=progress.step, phase=phase.name, loss=taken.loss, lr=lr, gradient=taken.gradient_norm
                )
            if self._stop is not None:
                return False
            if self._due():
                self._save(current)
        seconds = time.monotonic() - began
        record: dict[str, Any] = {
            "step": progress.step, "phase": phase.name, "epoch": progress.epoch + 1, "lr": lr,
            "loss": sums.loss, "accuracy": sums.accuracy,
        }  # fmt: skip
        record |= self._validated(feed, current)
        speed = (sums.images - before) / seconds if seconds > 0 else None
        self._keep_best(record, current)
        record |= {"images_per_second": speed, "seconds": seconds, "waited_seconds": waited}
        self._record("epoch", **record)
        self._watcher.epoch(record)
        progress.epoch += 1
        progress.batch = 0
        progress.sums = {}
        return True

    def _validated(self, feed: Feed, current: PhaseRun) -> dict[str, Any]:
        """Loss and accuracy on what was kept apart."""
        main = outputs_of(self.session.network)[0]
        sums = Sums()
        with current.evaluated():
            for fed in feed.validation():
                outputs = current.engine.evaluate(fed.inputs)[main]
                loss, _ = current.phase.loss.value_and_gradient(np, outputs, fed.targets)
                sums.add(loss, outputs, fed.targets)
        if not sums.images:
            return {}
        return {"validation_loss": sums.loss, "validation_accuracy": sums.accuracy}

    def _keep_best(self, record: Mapping[str, Any], current: PhaseRun) -> None:
        """Writes the weights where this epoch's validation is the best so far (without one: its training)."""
        accuracy = record.get("validation_accuracy", None if "validation_loss" in record else record["accuracy"])
        loss = record.get("validation_loss", record["loss"])
        better = (accuracy if accuracy is not None else 0.0, -(loss if loss is not None else 0.0))
        best = self.progress.best
        if best and better <= (best["score"][0], best["score"][1]):
            return
        with current.evaluated():
            write_weights(self.run_folder.best, self.session.weights())
        self.progress.best = {
            "score": list(better),
            **{key: record[key] for key in ("step", "phase", "epoch", "validation_loss", "validation_accuracy")
               if key in record},
        }  # fmt: skip

    def _due(self) -> bool:
        if self._pace.checkpoint_steps is not None:
            return self.progress.step % self._pace.checkpoint_steps == 0
        return time.monotonic() - self._saved_at >= self._pace.checkpoint_seconds

    def _save(self, current: PhaseRun | None) -> None:
        """A checkpoint of where the run stands; `current` is the phase in hand, None between phases."""
        progress = self.progress
        if current is not None:
            current.settle()
        arrays = {f"weights/{name}": array for name, array in self.session.weights().items()}
        if current is not None:
            arrays |= current.arrays()
            progress.optimizer_steps = current.updater.steps
            progress.average_steps = 0 if current.average is None else current.average.steps
        else:
            arrays |= {f"final/{name}": array for name, array in self.session.final_changes().items()}
        bad = finite(arrays)
        if bad is not None:
            help = "the last checkpoint is the last good one: resume from it with a smaller rate, or start anew"
            raise TrainError("E0971", f"`{bad}` is not finite after step {progress.step:_}; it is not saved", help)
        progress.log_bytes = self._log.settle()
        self._checkpoints.save(progress, arrays, keep=[progress.best["step"]] if progress.best else [])
        self._saved_at = time.monotonic()

    def _record(self, event: str, **facts: Any) -> None:
        self._log.write(event, **facts)
        if self._mirror is not None:
            self._mirror(event, facts)

    # --------------------------------------------------------------------------------------------------------- signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """While it lasts Ctrl-C (and a polite kill) ends the run behind the step in hand; a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self._stop is not None:
                raise KeyboardInterrupt
            self._stop = number
            self._watcher.note("stopping behind this step; once more to stop at once")

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
