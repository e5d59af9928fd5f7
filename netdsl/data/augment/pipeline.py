"""The steps of `augment` in their order, checked against each other."""

from __future__ import annotations

from typing import NamedTuple

from netdsl.data.augment.steps import Augmentation, Bordered, Geometric, Mixing


class Misfit(NamedTuple):
    """What is wrong between the steps of a pipeline, and at which step."""

    place: int
    message: str
    help: str | None


class Run(NamedTuple):
    """Geometric steps that stand together and are sampled once, or one step of another kind."""

    first: int
    """Its place in the pipeline."""
    steps: tuple[Augmentation, ...]

    @property
    def is_geometric(self) -> bool:
        return isinstance(self.steps[0], Geometric)

    @property
    def border(self) -> tuple[str, float]:
        """What lies beyond the image: the mode and, for `constant`, the value."""
        bordered = [step for step in self.steps if isinstance(step, Bordered)]
        mode = next((step.mode for step in bordered if step.mode is not None), "constant")
        return mode, next((step.fill for step in bordered if step.fill is not None), 0.0)


class Pipeline(tuple[Augmentation, ...]):
    """The steps of `augment`. Make it from steps that `misfits` finds nothing wrong with."""

    __slots__ = ()

    def __str__(self) -> str:
        return " -> ".join(map(str, self))

    @property
    def runs(self) -> tuple[Run, ...]:
        """What is done to one image: runs of geometric steps, and each other step by itself; no mixing."""
        runs: list[Run] = []
        for place, step in enumerate(self):
            if isinstance(step, Mixing):
                continue
            if isinstance(step, Geometric) and runs and runs[-1].is_geometric:
                runs[-1] = Run(runs[-1].first, (*runs[-1].steps, step))
            else:
                runs.append(Run(place, (step,)))
        return tuple(runs)

    @property
    def mixing(self) -> tuple[tuple[int, Mixing], ...]:
        """The steps that mix a batch, with their places."""
        return tuple((place, step) for place, step in enumerate(self) if isinstance(step, Mixing))

    @property
    def makes_soft_targets(self) -> bool:
        """Whether targets are (N, classes) probabilities instead of labels."""
        return bool(self.mixing)


def misfits(steps: tuple[Augmentation, ...]) -> list[Misfit]:
    """What is wrong between steps that are right by themselves."""
    found: list[Misfit] = []
    mixing: set[str] = set()
    for place, step in enumerate(steps):
        if isinstance(step, Mixing):
            if step.kind in mixing:
                found.append(Misfit(place, f"`{step.kind}` stands twice", "each batch is mixed once"))
            mixing.add(step.kind)
        elif mixing:
            message = (
                f"`{step.kind}` works on one image and stands behind `{steps[place - 1].kind}`, which mixes a batch"
            )
            found.append(Misfit(place, message, "put mixup and cutmix at the end"))
    for run in Pipeline(steps).runs:
        found += _borders(run, steps)
    return found


def _borders(run: Run, steps: tuple[Augmentation, ...]) -> list[Misfit]:
    """A run is sampled once, so it has one border."""
    found: list[Misfit] = []
    mode: tuple[str, str] | None = None
    fill: tuple[float, str] | None = None
    for place in range(run.first, len(steps)):
        step = steps[place]
        if not isinstance(step, Geometric):
            break
        if not isinstance(step, Bordered):
            continue
        stated = step.mode if step.mode is not None else "constant" if step.fill is not None else None
        help = "steps that move pixels and stand together are sampled once, with one border: write it at one of them"
        if stated is not None:
            if mode is not None and mode[0] != stated:
                message = f"`{step.kind}` has the border {stated}, and `{mode[1]}` before it {mode[0]}"
                found.append(Misfit(place, message, help))
            mode = mode or (stated, step.kind)
        if step.fill is not None:
            if fill is not None and fill[0] != step.fill:
                message = f"`{step.kind}` fills with {step.fill:g}, and `{fill[1]}` before it with {fill[0]:g}"
                found.append(Misfit(place, message, help))
            fill = fill or (step.fill, step.kind)
    return found
