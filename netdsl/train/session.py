"""What a run works with: the network, its weights, the data, and for each phase an engine and a feed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.analysis.cut import body_of, prefix_of
from netdsl.analysis.training import training_plan
from netdsl.data.open import Data, open_data
from netdsl.ir.network import Network
from netdsl.language.diagnostics import CodedError, Diagnostic, SpecError
from netdsl.language.source import Span
from netdsl.train.engines import fastest
from netdsl.train.errors import TrainError
from netdsl.train.fast import build_engine
from netdsl.train.feature_feed import FeatureFeed
from netdsl.train.features import FeatureCache
from netdsl.train.feed import Feed, ImageFeed, image_input, require_fit
from netdsl.train.phases import PhaseRun
from netdsl.train.recipe import Phase, Recipe
from netdsl.weights.store import WeightStore

Array = NDArray[Any]
Note = Callable[[str], None]

MIXED = frozenset({"cupy"})
"""Back-ends that train in other numbers than float32."""


@contextmanager
def pointed_at(span: Span | None) -> Iterator[None]:
    """What an entry of a recipe leads to is shown at that entry, where it is known."""
    try:
        yield
    except CodedError as error:
        if span is None:
            raise
        raise SpecError([replace(error.diagnostic, span=span)]) from None


def open_recipe_data(network: Network, recipe: Recipe) -> Data:
    """The data of a recipe, which fits the network.

    Raises SpecError that points at the entry, CodedError where that has no place.
    """
    _, (channels, _, _) = image_input(network)
    with pointed_at(recipe.places.get("data")):
        data = open_data(recipe.data, recipe.data_base or Path(), channels)
    for phase in recipe.phases:
        with pointed_at(recipe.places.get("data")):
            require_fit(network, data, phase.loss.kind)
        mixing = phase.augment.mixing
        if mixing and data.training.dataset.targets is not None:
            where = recipe.places.get(f"{phase.name}.augment")
            message = f"`{mixing[0][1].kind}` mixes labels of classes, and the data has targets"
            raise SpecError([Diagnostic("E0961", message, where)])
    return data


class Session:
    """The network with its weights, and what trains it.

    Making one opens the data and the file of weights. Raises SpecError, CodedError.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        *,
        backend: str = "auto",
        threads: int | None = None,
        workers: int | None = None,
        features: Path | None = None,
        data: Data | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.backend = backend
        self.threads = threads
        self.workers = workers
        self.features = features
        self.data = open_recipe_data(network, recipe) if data is None else data
        self.store = WeightStore(network)
        self.load_weights()
        self._changes: dict[str, Array] = {}

    def load_weights(self) -> None:
        """Weights as a fresh run has them: from the recipe's file, the others from the seed. Raises SpecError."""
        path = self.recipe.weights_path()
        if path is not None:
            with pointed_at(self.recipe.places.get("weights")):
                self.store.load(path, except_=self.recipe.weights_except)
        self.store.initialize(self.recipe.seed)

    # ---------------------------------------------------------------------------------------------------------- phases

    def epochs_before(self, phase: int) -> int:
        """Epochs of the phases in front of one: no order of images, no augmentation comes twice."""
        return sum(each.epochs for each in self.recipe.phases[:phase])

    def begin(self, phase: Phase, index: int, note: Note) -> tuple[Feed, PhaseRun]:
        """Feed and engine of a phase, with the weights as they are now. Raises CodedError."""
        if self.data.skipped and not index:
            names = list(self.data.skipped)
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            note(f"damaged images that are left out, {len(names):,}: {shown}")
        feed: Feed
        if phase.features is None:
            feed = self._images(phase)
            return feed, self._run_of(phase, self.network, self.store, feed.steps, note)
        plan = training_plan(self.network, phase.trainable, phase.auxiliary)
        body = body_of(plan)
        store = WeightStore(body)
        store.bind({name: self.store.values[name] for name in store.slots})
        feed = FeatureFeed(self._cache(phase, index, note), self.recipe, self.data, self.epochs_before(index))
        current = self._run_of(phase, body, store, feed.steps, note)
        self.store.bind({**current.engine.parameters.views, **current.engine.buffers})
        return feed, current

    def _run_of(self, phase: Phase, network: Network, store: WeightStore, steps: int, note: Note) -> PhaseRun:
        """The engine of a phase, in the recipe's precision where there is one that has it."""
        name, precision = fastest(self.backend), self.recipe.precision
        if precision != "float32" and name not in MIXED:
            note(f"precision {precision} is for a GPU: {name} trains in float32")
            precision = "float32"
        engine = build_engine(
            network, store, phase.trainable, phase.loss, phase.auxiliary, backend=name, threads=self.threads,
            precision=None if precision == "float32" else precision,
        )  # fmt: skip
        return PhaseRun(phase, engine, steps, precision)

    def _cache(self, phase: Phase, index: int, note: Note) -> FeatureCache:
        """The features of a phase: from the disk, or computed now."""
        plan = training_plan(self.network, phase.trainable, phase.auxiliary)
        folder = self.features
        if folder is None:
            raise TrainError("E0964", "`cache features` needs a folder to keep them in")
        cache = FeatureCache(
            folder, self.network, prefix_of(plan, plan.fixed_frontier), plan.fixed_frontier, self.store
        )
        cache.prepare(
            self.data, phase.augment, phase.views or 1, self.epochs_before(index), self.recipe,
            backend=self.backend, threads=self.threads, workers=self.workers, note=note,
        )  # fmt: skip
        return cache

    def _images(self, phase: Phase) -> ImageFeed:
        return ImageFeed(
            self.network, self.data, phase, batch=self.recipe.batch, seed=self.recipe.seed, workers=self.workers,
            drop_last=self.drops_last,
        )  # fmt: skip

    @property
    def drops_last(self) -> bool:
        """Whether the last batch of an epoch is left out: a batch of one image has no variance to normalize by."""
        left = len(self.data.training.indices) % self.recipe.batch
        return left == 1 and self.recipe.batch > 1 and any(n.layer.kind == "batch_norm" for n in self.network.nodes())

    def end(self, current: PhaseRun) -> None:
        """A phase is complete: its moving averages, where it has any, are what the run would end with."""
        current.settle()
        self._changes = {}
        if current.average is not None:
            self._changes = {name: array.copy() for name, array in current.average.values.items()}

    # --------------------------------------------------------------------------------------------------------- weights

    def weights(self) -> dict[str, Array]:
        """All weights as they are now, by full name."""
        return dict(self.store.values)

    def final_changes(self) -> Mapping[str, Array]:
        """What of the weights ends otherwise: the averages of the last phase."""
        return self._changes

    @property
    def final(self) -> dict[str, Array]:
        """The weights that a run would end with, were it over."""
        return {**self.weights(), **self._changes}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Takes the weights of a checkpoint over. Raises TrainError (E0976) where they are of another network."""
        found = _under("weights/", arrays)
        missing = [name for name in self.store.slots if name not in found]
        unknown = [name for name in found if name not in self.store.slots]
        if missing or unknown:
            first = (missing or unknown)[0]
            message = f"the checkpoint is of another network than {self.network.name}: `{first}` is in one of them only"
            raise TrainError("E0976", message, "resume with the spec that the run began with")
        try:
            self.store.bind({name: np.array(array) for name, array in found.items()})
        except ValueError as error:
            message = f"the checkpoint is of another network than {self.network.name}: {error}"
            raise TrainError("E0976", message, "resume with the spec that the run began with") from None
        self._changes = {name: np.array(array) for name, array in _under("final/", arrays).items()}


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
