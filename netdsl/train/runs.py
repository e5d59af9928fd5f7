"""The folder of a run: what was started, a lock, and where everything lies.

RUN/run.json          what was started: spec, recipe, settings, and what they meant
RUN/log.jsonl         one JSON object a line
RUN/checkpoints/      see `checkpoint`
RUN/best.safetensors  the weights with the best validation so far
RUN/weights.safetensors   the weights at the end
RUN/lock              held while a process trains in it
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from netdsl.atomic import replacing
from netdsl.ir.network import Network
from netdsl.train.errors import TrainError

FORMAT = 1
"""Version of the files of a run."""

MAX_JSON_BYTES = 64 * 1024 * 1024
"""Largest `run.json` or state of a checkpoint that is read."""

MAX_RUNS = 1_000_000


class Run:
    """A folder that a training run keeps everything in."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @classmethod
    def fresh(cls, folder: str | os.PathLike[str] | None, recipe: str) -> Run:
        """A run in a new folder: `folder`, or the next `runs/RECIPE-N`. Raises TrainError."""
        run = cls(_next(recipe) if folder is None else folder)
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            if any(run.folder.iterdir()):
                help = f"netdsl train --resume {run.folder}, or name another folder with --run"
                what = "a run" if (run.folder / "run.json").exists() else "something"
                raise TrainError("E0974", f"the folder {run.folder} holds {what} already", help)
            run.checkpoints.mkdir()
        except OSError as error:
            raise TrainError("E0974", f"cannot make the folder {run.folder}: {error.strerror or error}") from None
        return run

    def write(self, facts: Mapping[str, Any]) -> None:
        """Writes `run.json`. Raises TrainError."""
        write_json(self.folder / "run.json", {"format": FORMAT, **facts})

    def read(self) -> dict[str, Any]:
        """What `run.json` says. Raises TrainError where the folder is no run."""
        path = self.folder / "run.json"
        if not path.is_file():
            help = "a run is the folder that `netdsl train` made, with a file run.json in it"
            raise TrainError("E0973", f"{self.folder} is no run", help)
        facts = read_json(path)
        if facts.get("format") != FORMAT:
            message = f"{path} has format {facts.get('format')!r}, and this netdsl reads {FORMAT}"
            raise TrainError("E0973", message, "go on with the version of netdsl that began it")
        return facts

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by one process at a time; the system frees it when the process ends, however it does."""
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        path = self.folder / "lock"
        try:
            file = path.open("w")
        except OSError as error:
            message = f"cannot write into the folder of the run: {path}: {error.strerror or error}"
            raise TrainError("E0974", message, "training goes on where it may write: copy the folder") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise TrainError("E0974", f"another process is training in {self.folder}") from None
            yield


def _next(recipe: str) -> Path:
    for number in range(1, MAX_RUNS):
        path = Path("runs") / f"{recipe}-{number}"
        if not path.exists():
            return path
    raise TrainError("E0974", f"there are {MAX_RUNS:_} runs of {recipe}", "name a folder with --run")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON file in full or not at all, and waits until it is on the disk. Raises TrainError."""
    try:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TrainError("E0972", f"cannot write {path}: {error.strerror or error}", _room(error)) from None


def _room(error: OSError) -> str | None:
    import errno

    return "make room on the disk; what was written before is as it was" if error.errno == errno.ENOSPC else None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises TrainError (E0973)."""
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise TrainError("E0973", f"{path} has {size:_} bytes, more than the limit of {MAX_JSON_BYTES:_}")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainError("E0973", f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise TrainError("E0973", f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise TrainError("E0973", f"{path} is damaged: an object is expected")
    return value


def digest(network: Network) -> str:
    """What a network computes, as a hash: its layers with their attributes, how they hang together, how images enter.

    Names of the network itself and of its scopes do not count.
    """
    total = sha256()
    for node in network.nodes():
        row = [node.name, node.layer.kind, node.layer.model_dump_json(), node.inputs, node.address, node.type.shape]
        total.update(json.dumps(row).encode())
    ends = [network.inputs, network.outputs, network.auxiliary, [str(step) for step in network.preprocess]]
    total.update(json.dumps(ends).encode())
    return total.hexdigest()
