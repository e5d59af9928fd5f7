"""Features: the activations that the frozen part of a network makes of each image, kept on disk.

What is frozen computes the same for the same image at every step (see `TrainingPlan.fixed`). It is run once; the
tensors that the rest reads lie in `.npy` files, one for each, of shape (views * images, ...), and are mapped.

    FOLDER/KEY/facts.json              what the features are of
    FOLDER/KEY/training-0.npy          the first tensor, for the images to train on
    FOLDER/KEY/validation-0.npy        the same for those to validate on

KEY is a digest of everything that they depend on: the layers and weights of the frozen part, the images, how they are
prepared and augmented, the seed. The folder is written under another name and renamed when it is complete, so that a
half-written one is never used; one that was made of something else has another key.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl import __version__
from netdsl.backends.compiled import model
from netdsl.data.augment import Pipeline
from netdsl.data.dataset import Part
from netdsl.data.inputs import Inputs
from netdsl.data.loader import Loader
from netdsl.data.open import Data
from netdsl.ir.network import Network
from netdsl.train.engines import fastest
from netdsl.train.errors import TrainError
from netdsl.train.feed import image_input
from netdsl.train.recipe import Recipe
from netdsl.train.runs import digest, read_json
from netdsl.weights.store import WeightStore

Array = NDArray[Any]

FORMAT = 1
FACTS = "facts.json"
_MARK = ".writing-"


class FeatureCache:
    """The features of one frozen part, in a folder of a folder."""

    def __init__(
        self, folder: Path, network: Network, prefix: Network, frontier: Sequence[str], store: WeightStore
    ) -> None:
        self.folder = folder
        self.network = network
        self.prefix = prefix
        self.frontier = tuple(frontier)
        self._store = store
        self.path = folder
        self.views = 1

    def prepare(
        self,
        data: Data,
        augment: Pipeline,
        views: int,
        first_epoch: int,
        recipe: Recipe,
        *,
        backend: str,
        threads: int | None,
        workers: int | None,
        note: Callable[[str], None],
    ) -> None:
        """Finds the features, or computes them. View v of an image is what epoch `first_epoch` + v would make of it.

        Raises TrainError (E0978) where they cannot be written, and the errors of reading images.
        """
        self.views = views
        facts = self._facts(data, augment, views, first_epoch, recipe)
        key = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        self.path = self.folder / key
        if self._sound(facts, data):
            note(f"features: {self.path} is up to date")
            return
        note(f"features: computing those of {self._count(data, views):_} images into {self.path}")
        temporary = self.folder / f"{_mine()}{os.getpid()}-{secrets.token_hex(6)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _clean(self.folder)
            temporary.mkdir()
            self._write(temporary, data, augment, views, first_epoch, recipe, (backend, threads, workers))
            (temporary / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            _force(temporary)
            if self.path.exists():  # damaged: what was there does not count
                shutil.rmtree(self.path)
            temporary.rename(self.path)
        except OSError as error:
            help = "make room, or keep them elsewhere with --features DIR" if error.errno == errno.ENOSPC else None
            message = f"cannot write features into {self.folder}: {error.strerror or error}"
            raise TrainError("E0978", message, help) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _facts(self, data: Data, augment: Pipeline, views: int, first_epoch: int, recipe: Recipe) -> dict[str, Any]:
        """Everything that the features depend on."""
        return {
            "format": FORMAT,
            "version": __version__,
            "network": digest(self.prefix),
            "weights": self._weights(),
            "data": data.identity(),
            "preprocess": [str(step) for step in self.network.preprocess],
            "augment": str(augment),
            "seed": recipe.seed if augment else None,
            "first_epoch": first_epoch if augment else None,
            "views": views,
        }

    def _weights(self) -> str:
        """A digest of the weights that the frozen part reads."""
        total = sha256()
        for name in WeightStore(self.prefix).slots:
            array = self._store.values[name]
            total.update(f"{name}/{array.dtype}/{array.shape}\n".encode())
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()

    def _count(self, data: Data, views: int) -> int:
        return views * len(data.training.indices) + (0 if data.validation is None else len(data.validation.indices))

    def _parts(self, data: Data) -> Iterator[tuple[str, Part, int]]:
        yield "training", data.training, self.views
        if data.validation is not None:
            yield "validation", data.validation, 1

    def _sound(self, facts: dict[str, Any], data: Data) -> bool:
        """Whether complete features of exactly this are there."""
        if not (self.path / FACTS).is_file():
            return False
        try:
            if read_json(self.path / FACTS) != facts:
                return False
            for name, part, views in self._parts(data):
                for array in self.arrays(name):
                    if len(array) != views * len(part.indices) or array.dtype != np.float32:
                        return False
        except (TrainError, OSError, ValueError):
            return False
        return True

    def _write(
        self,
        folder: Path,
        data: Data,
        augment: Pipeline,
        views: int,
        first_epoch: int,
        recipe: Recipe,
        how: tuple[str, int | None, int | None],
    ) -> None:
        backend, threads, workers = how
        runner = model(self.prefix, name=fastest(backend), threads=threads)
        runner.store.bind({name: self._store.values[name] for name in runner.store.slots})
        name, shape = image_input(self.network)
        for kind, part, count in self._parts(data):
            pipeline = augment if kind == "training" and augment else None
            inputs = Inputs(part.dataset, shape, self.network.preprocess, pipeline)
            files: list[Array] = []
            rows = {index: row for row, index in enumerate(part.indices.tolist())}
            for view in range(count):
                loader = Loader(
                    inputs, part.indices, recipe.batch, seed=recipe.seed, epoch=first_epoch + view, shuffle=False,
                    workers=workers, name=name,
                )  # fmt: skip
                for batch in loader:
                    outputs, _ = runner.run(dict(batch.inputs))
                    if not files:
                        files = [
                            np.lib.format.open_memmap(
                                folder / f"{kind}-{place}.npy", "w+", np.float32,
                                (count * len(part.indices), *outputs[node].shape[1:]),
                            )
                            for place, node in enumerate(self.frontier)
                        ]  # fmt: skip
                        for place in range(len(files)):
                            _reserve(folder / f"{kind}-{place}.npy")
                    where = [view * len(part.indices) + rows[index] for index in batch.indices.tolist()]
                    for node, file in zip(self.frontier, files, strict=True):
                        file[where] = outputs[node]
            if inputs.damage.found:
                raise inputs.damage.error()
            for place, file in enumerate(files):
                file.flush()  # type: ignore[attr-defined]
                _force(folder / f"{kind}-{place}.npy")

    def arrays(self, kind: str) -> list[Array]:
        """The mapped features of the images to train on (`training`) or to validate on (`validation`)."""
        return [
            np.load(self.path / f"{kind}-{place}.npy", mmap_mode="r", allow_pickle=False)
            for place in range(len(self.frontier))
        ]


def _mine() -> str:
    """What the names of folders begin with that this machine is writing."""
    return f"{_MARK}{sha256(platform.node().encode()).hexdigest()[:8]}-"


def _clean(folder: Path) -> None:
    """Removes what processes of this machine, which are no more, have left half-written."""
    for leftover in folder.glob(f"{_mine()}*"):
        process = leftover.name.removeprefix(_mine()).partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _reserve(path: Path) -> None:
    """Takes the room on the disk, where the system can: a full disk is an error then, and not a signal."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def _force(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
