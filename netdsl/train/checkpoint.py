"""Checkpoints: everything that a run needs to go on as if it had never been stopped.

A checkpoint is a folder `checkpoints/STEP` (`STEP.001` for another of the same step) with two files:
`state.safetensors` (weights, the optimiser's vectors, the moving average) and `state.json` (where the run stands, and a
digest of the arrays). The folder is written under a temporary name, forced to the disk, and renamed: it is there in
full or not at all.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.train.errors import TrainError
from netdsl.train.runs import read_json
from netdsl.weights import safetensors_file
from netdsl.weights.errors import WeightError
from netdsl.weights.files import open_archive

Array = NDArray[Any]

ARRAYS = "state.safetensors"
STATE = "state.json"
_MARK = ".writing-"
_CHUNK = 1 << 22
_NAME = re.compile(r"\d{10,}(?:\.\d{3,})?")


@dataclass
class Progress:
    """Where a run stands. `step` counts the steps of the whole run, `phase_step` those of the phase in hand."""

    step: int = 0
    phase: int = 0
    phase_step: int = 0
    epoch: int = 0
    """Epochs of the phase that are complete."""
    batch: int = 0
    """Batches of the epoch in hand that are done."""
    optimizer_steps: int = 0
    average_steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    """What the epoch in hand has added up: losses, right answers, images."""
    best: dict[str, Any] = field(default_factory=dict)
    """The best validation so far: its metrics, and the step."""
    log_bytes: int = 0
    """How long the log is; what is behind it is written anew."""
    done: bool = False


class Loaded(NamedTuple):
    progress: Progress
    arrays: dict[str, Array]
    path: Path


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep

    def save(self, progress: Progress, arrays: Mapping[str, Array], keep: Collection[int] = ()) -> Path:
        """Writes a checkpoint, then removes older ones but for the newest few and the steps in `keep`.

        Raises TrainError (E0972) where it cannot be written; those before it are as they were.
        """
        target = self.folder / f"{progress.step:010d}"
        temporary = self.folder / f"{_MARK}{secrets.token_hex(6)}"
        try:
            temporary.mkdir()
            safetensors_file.write(temporary / ARRAYS, arrays)
            _force(temporary / ARRAYS)
            state = {**asdict(progress), "digest": _digest(temporary / ARRAYS)}
            (temporary / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
            _force(temporary / STATE)
            _force(temporary)
            target = self._free(target)
            temporary.rename(target)
            _force(self.folder)
        except (OSError, WeightError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise _failed(target, error, self.newest()) from None
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._clean(keep)
        return target

    def _clean(self, keep: Collection[int]) -> None:
        for leftover in self.folder.glob(f"{_MARK}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        kept = set(keep)
        for path in self._all()[: -self._keep]:
            if step_of(path) not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _free(self, target: Path) -> Path:
        """A name for a checkpoint: another one of the same step gets a number behind it."""
        number = 1
        free = target
        while free.exists():
            free = target.with_name(f"{target.name}.{number:03d}")
            number += 1
        return free

    def _all(self) -> list[Path]:
        """The complete ones, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())

    def newest(self) -> Path | None:
        return next(reversed(self._all()), None)

    def load(self) -> tuple[Loaded, list[str]]:
        """The newest checkpoint that is sound, and a line for each that is not. Raises TrainError without any."""
        notes: list[str] = []
        for path in reversed(self._all()):
            try:
                return read(path), notes
            except TrainError as error:
                notes.append(f"{error.message}; it is not used")
        raise TrainError("E0973", f"there is no checkpoint in {self.folder}", "start the run anew", notes)


def step_of(path: Path) -> int:
    """The step whose checkpoint lies in a folder."""
    return int(path.name.partition(".")[0])


def read(path: Path) -> Loaded:
    """One checkpoint. Its arrays may be views of the mapped file. Raises TrainError."""
    state = read_json(path / STATE)
    expected = state.pop("digest", None)
    try:
        if _digest(path / ARRAYS) != expected:
            raise TrainError("E0973", f"the checkpoint {path} is damaged: its arrays are not those that were written")
        arrays = {name: stored.read() for name, stored in open_archive(path / ARRAYS).arrays.items()}
    except OSError as error:
        raise TrainError("E0973", f"the checkpoint {path} cannot be read: {error.strerror or error}") from None
    except WeightError as error:
        raise TrainError("E0973", f"the checkpoint {path} is damaged: {error.message}") from None
    return Loaded(_progress(path, state), arrays, path)


def _progress(path: Path, state: Mapping[str, Any]) -> Progress:
    kinds = {name: type(value) for name, value in asdict(Progress()).items()}
    for name, kind in kinds.items():
        value = state.get(name)
        if type(value) is not kind or (isinstance(value, int) and value < 0):
            raise TrainError("E0973", f"the checkpoint {path} is damaged: `{name}` is {value!r}")
    if not all(isinstance(value, int | float) for value in state["sums"].values()):
        raise TrainError("E0973", f"the checkpoint {path} is damaged: `sums` are not numbers")
    best = state["best"]
    if best and not (
        type(best.get("step")) is int
        and isinstance(best.get("score"), list)
        and [type(value) in (int, float) for value in best["score"]] == [True, True]
    ):
        raise TrainError("E0973", f"the checkpoint {path} is damaged: `best` is {best!r}")
    return Progress(**{name: state[name] for name in kinds})


def _digest(path: Path) -> str:
    total = blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _force(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(target: Path, error: Exception, before: Path | None) -> TrainError:
    reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    kept = f"the last one is that of step {step_of(before):_}" if before is not None else "there is none before it"
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    run = target.parent.parent
    help = f"{'make room on the disk' if full else 'see to the folder'}, then netdsl train --resume {run}"
    return TrainError("E0972", f"cannot write the checkpoint {target}: {reason}; {kept}", help if before else None)


def finite(arrays: Mapping[str, Array]) -> str | None:
    """The first array that holds NaN or infinity; None where all is well."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return name
    return None
