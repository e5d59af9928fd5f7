"""The device, real or played, and what all parts are told."""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import netdsl
from netdsl.backends.cupy.backend import BACKEND, CupyBackend
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.registry import backend
from on_gpu.book import Book, Record

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


@dataclass(frozen=True)
class Setup:
    """What all parts are told."""

    engine: CupyBackend
    book: Book
    options: argparse.Namespace

    @property
    def device(self) -> Any:
        return self.engine.device

    @property
    def played(self) -> bool:
        return self.engine.played is not None

    def configured(self, precision: str) -> CupyBackend:
        return self.engine.configured(precision, autotune=self.options.autotune)

    def milliseconds(self, run: Callable[[], None], rounds: int = 7) -> float:
        """The median time of a run on the device, of as many as fill some ten milliseconds each."""
        once = max(1e-4, self.device.time(run))
        repeats = max(1, min(200, round(self.options.seconds * 1000 / rounds / once)))
        return statistics.median(self.device.time(run, repeats) / repeats for _ in range(rounds))


def opened(kind: str) -> CupyBackend:
    """The back-end. Raises RunError where there is no GPU."""
    if kind == "fake":
        return CupyBackend(played=FakeDevice())
    backend("cupy")
    return BACKEND


def description(engine: CupyBackend) -> Record:
    """The machine, the device and the versions that figures belong to; of a real device also what cuDNN says of it, for
    which plans can be asked for elsewhere."""
    info = engine.device.info
    found: Record = {
        "device": str(info), "processors": info.processors, "memory": info.memory, "l2": info.l2,
        "driver": list(info.driver), "runtime": list(info.runtime), "library": info.library,
        "netdsl": netdsl.__version__, "numpy": np.__version__, "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip
    if engine.played is None:
        from netdsl.backends.cupy import cudnn

        reason = cudnn.missing()
        found["cudnn"] = reason or cudnn.version()
        if reason is None:
            try:
                found["cudnn_device"] = cudnn.describe(info.number)
            except Exception as error:  # an older library has no such call
                found["cudnn_device"] = f"none: {error}"
    return found


def settled(model: Any) -> None:
    """Weights that leave no work out: biases and statistics that are not at rest, signals of about their size."""
    model.initialize(0)
    random = np.random.default_rng(0)
    model.load(
        {
            name: array + (0.1 * np.abs(random.standard_normal(array.shape))).astype(array.dtype)
            if array.ndim == 1 and array.dtype.kind == "f"
            else array
            for name, array in model.weights.items()
        }
    )


def images(types: Any, batch: int) -> dict[str, Any]:
    """Standard normal numbers for each input."""
    random = np.random.default_rng(1)
    return {
        name: random.standard_normal((batch, *(extent or 32 for extent in type_.shape)), np.float32)
        for name, type_ in types.items()
    }
