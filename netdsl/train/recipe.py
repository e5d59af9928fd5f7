"""A recipe whose names and numbers are settled: what is trained, on what, how, in which phases.

Made by `netdsl.train.resolve`. Loads no array library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.data.augment import Pipeline
from netdsl.data.sources import DataSource
from netdsl.language.source import Span
from netdsl.train import recipe_parts as parts

if TYPE_CHECKING:
    from netdsl.train.losses import Loss

DEFAULT_BATCH = 32
"""Images in a batch, where a recipe does not say."""


@dataclass(frozen=True)
class Phase:
    """A part of the training, during which the same parameters are trained in the same way."""

    name: str
    epochs: int
    trainable: tuple[str, ...]
    """Full names of the parameters that are trained, in the order of the network's state."""
    freeze: str
    """What is frozen, as the recipe writes it; empty for nothing."""
    lr: float
    optimizer: parts.Optimizer
    schedule: parts.Schedule
    loss: Loss
    auxiliary: Mapping[str, float]
    """Weights of the losses of auxiliary heads, by name; those with 0 are left out."""
    augment: Pipeline
    clip: parts.ClipNorm | parts.ClipValue | None
    ema: float | None
    features: parts.Features | None

    @property
    def views(self) -> int | None:
        """How many versions of each image are cached; None where no features are."""
        return None if self.features is None else self.features.views or 1

    def describe(self) -> dict[str, Any]:
        """All that decides what the phase does, as plain data: what a checkpoint is held against."""
        return {
            "epochs": self.epochs,
            "freeze": self.freeze,
            "lr": self.lr,
            "optimizer": str(self.optimizer),
            "schedule": str(self.schedule),
            "loss": f"{self.loss.kind}({self.loss.model_dump_json(exclude_defaults=True)})",
            "auxiliary": dict(self.auxiliary),
            "augment": str(self.augment),
            "clip": None if self.clip is None else str(self.clip),
            "ema": self.ema,
            "cache": None if self.features is None else str(self.features),
        }


@dataclass(frozen=True)
class Recipe:
    """What `netdsl train` does. Relative paths start at `base`, the folder of the recipe's file."""

    name: str
    network: str
    data: DataSource
    weights: str | None
    weights_except: tuple[str, ...]
    batch: int
    seed: int
    phases: tuple[Phase, ...]
    precision: str = "float32"
    """In which numbers activations are stored and multiplied, where the device does; parameters are float32."""
    base: Path | None = None
    data_base: Path | None = None
    """Where the paths of `data` start: another folder where `data` was set on the command line."""
    weights_base: Path | None = None
    places: Mapping[str, Span] = field(default_factory=dict, compare=False)
    """Where the entries stand: `data`, `loss`, `head.cache`."""

    @property
    def epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    def weights_path(self) -> Path | None:
        """The file of weights that training starts from."""
        return None if self.weights is None else resolved(self.weights, self.weights_base)

    def describe(self) -> dict[str, Any]:
        """All that decides the result, as plain data."""
        return {
            "data": str(self.data),
            "weights": self.weights,
            "except": list(self.weights_except),
            "batch": self.batch,
            "seed": self.seed,
            **({} if self.precision == "float32" else {"precision": self.precision}),
            "phases": {phase.name: phase.describe() for phase in self.phases},
        }


def resolved(path: str, base: Path | None) -> Path:
    """A path of a recipe, from the folder of its file."""
    return Path(path) if base is None else base / path


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """What differs between two descriptions, one line each: `tune.epochs: 10, now 12`."""
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        name = prefix if key == "phases" else f"{prefix}{key}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differences(before, after, name if key == "phases" else f"{name}.")
        elif before != after:
            yield f"{name}: {_shown(before)}, now {_shown(after)}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "there"
    return "none" if value is None else str(value)
