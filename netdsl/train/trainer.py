"""The front door of training: a spec and a recipe, or the folder of a run that is to go on.

trainer = Trainer("digits.net", "digits", run="runs/a")
result = trainer.run()
result.weights                        # runs/a/weights.safetensors

Trainer.resume("runs/a").run()        # where it was stopped
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from netdsl import __version__
from netdsl.elaborate import Limits
from netdsl.ir import Extent
from netdsl.train.checkpoint import Checkpoints, Progress
from netdsl.train.errors import TrainError
from netdsl.train.find import Job, find_job
from netdsl.train.loop import Loop, Pace, Result, Silent, Watcher
from netdsl.train.recipe import differences
from netdsl.train.runs import Run, digest
from netdsl.train.session import Session

Mirror = Callable[[str, Mapping[str, Any]], None]


class Trainer:
    """Trains a network by a recipe, in the folder of a run.

    `settings` are NAME=VALUE, for entries of the recipe (`batch=32`, `head.epochs=1`) or parameters of the network.
    `run` is a new folder; by default the next `runs/RECIPE-N`. `features` is where cached features are kept, by default
    in the folder of the run. Raises SpecError, DataError, WeightError, RunError, TrainError.
    """

    def __init__(
        self,
        spec: str | os.PathLike[str],
        recipe: str | None = None,
        *,
        settings: Sequence[str] = (),
        shapes: Mapping[str, tuple[Extent, ...]] | None = None,
        limits: Limits | None = None,
        run: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        threads: int | None = None,
        workers: int | None = None,
        features: str | os.PathLike[str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.asked: dict[str, Any] = {
            "spec": _absolute(os.fspath(spec)),
            "recipe": None if recipe is None else _absolute(recipe),
            "settings": list(settings),
            "shapes": {name: list(shape) for name, shape in (shapes or {}).items()},
            "backend": backend,
            "threads": threads,
            "workers": workers,
            "features": None if features is None else os.path.abspath(features),  # noqa: PTH100
        }
        self._limits = limits
        self._folder = run
        self.pace = pace or Pace()
        self.job: Job = find_job(spec, recipe, settings=settings, shapes=shapes, limits=limits)
        self._session: Session | None = None
        self._resumed: Run | None = None

    @classmethod
    def resume(
        cls,
        run: str | os.PathLike[str],
        *,
        backend: str | None = None,
        threads: int | None = None,
        workers: int | None = None,
        limits: Limits | None = None,
        pace: Pace | None = None,
    ) -> Self:
        """A trainer that goes on where the run in this folder stopped, with everything as it was.

        Raises TrainError where it is no run, or where the spec, the recipe or the data have changed since.
        """
        folder = Run(run)
        facts = folder.read()
        asked = _asked(facts, folder)
        trainer = cls(
            asked["spec"], asked["recipe"], settings=asked["settings"],
            shapes={name: tuple(shape) for name, shape in asked["shapes"].items()}, limits=limits, run=run,
            backend=backend or asked["backend"], threads=threads or asked["threads"],
            workers=asked["workers"] if workers is None else workers, features=asked["features"], pace=pace,
        )  # fmt: skip
        trainer._resumed = folder
        trainer._require_same(facts, folder)
        return trainer

    @property
    def session(self) -> Session:
        """The network with its weights and data, opened when it is first asked for."""
        if self._session is None:
            features = self.asked["features"]
            self._session = Session(
                self.job.network, self.job.recipe, backend=self.asked["backend"], threads=self.asked["threads"],
                workers=self.asked["workers"], features=None if features is None else Path(features),
            )  # fmt: skip
        return self._session

    def run(self, watcher: Watcher | None = None, mirror: Callable[[Run], Mirror | None] | None = None) -> Result:
        """Trains to the end, or until Ctrl-C. `mirror` makes another place for what is logged.

        Raises TrainError: for a loss that is not finite (E0971), a checkpoint that cannot be written (E0972); what was
        written before is there.
        """
        watcher = watcher or Silent()
        session = self.session
        self._begin_all()
        if self._resumed is None:
            run = Run.fresh(self._folder, self.job.recipe.name)
            run.write(self._facts())
        else:
            run = self._resumed
        self.folder = run.folder
        if session.features is None:
            session.features = run.folder / "features"
        with run.lock():
            progress, arrays = Progress(), {}
            if self._resumed is not None:
                loaded, notes = Checkpoints(run.checkpoints).load()
                for note in notes:
                    watcher.note(note)
                session.restore(loaded.arrays)
                progress, arrays = loaded.progress, loaded.arrays
                if progress.done:
                    return Result(True, run.weights, progress.best, progress)
                if not 0 <= progress.phase < len(self.job.recipe.phases):
                    raise TrainError("E0973", f"the checkpoint {loaded.path} is damaged: there is no such phase")
            return Loop(
                session, run, progress, arrays, self.pace, watcher, None if mirror is None else mirror(run)
            ).run()

    def _begin_all(self) -> None:
        """Finds what would go wrong later, with the back-end or in another phase, before anything begins."""
        from netdsl.analysis.training import training_plan
        from netdsl.backends.registry import backend
        from netdsl.train.engines import fastest
        from netdsl.train.feed import require_sizes

        name = fastest(self.asked["backend"])
        if name != "reference":
            backend(name)
        for phase in self.job.recipe.phases:
            training_plan(self.job.network, phase.trainable, phase.auxiliary)
        require_sizes(self.job.network, self.session.data, self.job.recipe.phases)

    def _facts(self) -> dict[str, Any]:
        return {
            "netdsl": __version__,
            "asked": self.asked,
            "network": {"name": self.job.network.name, "digest": digest(self.job.network)},
            "recipe": {"name": self.job.recipe.name, **self.job.recipe.describe()},
            "data": self.session.data.identity(),
        }

    def _require_same(self, facts: Mapping[str, Any], run: Run) -> None:
        """Raises TrainError where what the run began with is not what is there now."""
        now = self._facts()
        before = facts.get("network", {})
        if before.get("digest") != now["network"]["digest"]:
            message = f"the network {self.job.network.name} is not the one that the run {run.folder} began with"
            raise TrainError(
                "E0975", message, "take back what was changed in the spec, or begin a new run with --run DIR"
            )
        changed = list(differences(facts.get("recipe", {}), now["recipe"]))
        if changed:
            raise TrainError(
                "E0975",
                f"the recipe `{self.job.recipe.name}` has changed since the run {run.folder} began",
                "take it back, or begin a new run with --run DIR; its weights can start from best.safetensors",
                changed,
            )
        if facts.get("data") != now["data"]:
            raise TrainError(
                "E0975",
                f"the data has changed since the run {run.folder} began: images were added, removed or written anew",
                "take it back, or begin a new run with --run DIR",
            )


def _asked(facts: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """What the run was asked for, checked: the file may have been edited."""
    kinds: dict[str, tuple[type, ...]] = {
        "spec": (str,), "recipe": (str, type(None)), "settings": (list,), "shapes": (dict,), "backend": (str,),
        "threads": (int, type(None)), "workers": (int, type(None)), "features": (str, type(None)),
    }  # fmt: skip
    asked = facts.get("asked")
    if not isinstance(asked, dict):
        raise TrainError("E0973", f"{run.folder / 'run.json'} is damaged: it does not say what was asked for")
    for name, allowed in kinds.items():
        if not isinstance(asked.get(name), allowed):
            raise TrainError("E0973", f"{run.folder / 'run.json'} is damaged: `{name}` is {asked.get(name)!r}")
    shapes = asked["shapes"].values()
    if not all(isinstance(shape, list) and all(type(e) in (int, type(None)) for e in shape) for shape in shapes):
        raise TrainError("E0973", f"{run.folder / 'run.json'} is damaged: `shapes` are not all shapes")
    if not all(isinstance(text, str) for text in asked["settings"]):
        raise TrainError("E0973", f"{run.folder / 'run.json'} is damaged: `settings` are not all text")
    return asked


def _absolute(text: str) -> str:
    """A path, or `path@name`, from the root on; the name of a network or recipe as it is."""
    path, at, name = text.rpartition("@")
    if not at or Path(text).is_file():
        path, at, name = text, "", ""
    if path.endswith(".net") or os.sep in path or Path(path).is_file():
        return f"{Path(path).resolve()}{at}{name}"
    return text
