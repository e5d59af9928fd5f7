"""Which of the ways to compute a step is the fastest: each is timed on the device, once.

Candidates are built and run in turn, round after round, so that a clock that changes, or a neighbour, meets all of
them; of the times of each the median counts. What is twice as slow as the best after three rounds is out. Results are
kept on disk by the step (layer, shapes, strides, what is fused), the options that there were, the device and the
versions of its libraries; they hold for every network with such a step.

| mode    | what is timed                                                          |
|---------|------------------------------------------------------------------------|
| `off`   | nothing: the first option that can be built is taken                   |
| `quick` | the plain form, and of each other candidate the first three variants   |
| `full`  | everything                                                             |

An option that computes several steps at once is compared with the fastest way to compute each of them by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple, get_args

from netdsl.backends.cupy.choice import CANDIDATES, PLAIN, Build, Launch, Option, candidate
from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.errors import DeviceMemoryError
from netdsl.backends.cupy.precision import Precision
from netdsl.backends.cupy.shelf import Shelf, identity
from netdsl.backends.errors import RunError
from netdsl.language.diagnostics import did_you_mean
from netdsl.program.ir import Program, Step, Tensor

Mode = Literal["off", "quick", "full"]
MODES: tuple[str, ...] = get_args(Mode)
QUICK_VARIANTS = 3
"""Variants of each candidate that `quick` times."""
ROUNDS = {"quick": 5, "full": 11}
LEAST_MILLISECONDS = 0.2
"""A measurement is of as many runs as take this long; one launch alone is lost among the marks around it."""
MOST_REPEATS = 64
HOPELESS, LEAST_ROUNDS = 2.0, 3
"""How many times the best a time may be, and after how many measurements, before the others go on without it."""
_FORMAT = 1


def checked_mode(text: str) -> Mode:
    """Raises RunError (E0716) for what is no mode."""
    if text not in MODES:
        raise RunError("E0716", f"autotune is {text}, {', '.join(MODES)} are known", did_you_mean(text, MODES) or None)
    return text  # type: ignore[return-value]


class Tuned(NamedTuple):
    """What was found out about some steps."""

    steps: tuple[str, ...]
    chosen: str
    milliseconds: dict[str, float]
    """By label of the option. Of several steps computed one by one, the sum."""
    kept: bool
    """Whether it was read from disk."""


@dataclass
class Autotuner:
    """A chooser (see `choice.py`) for one device and precision. Raises DeviceLostError."""

    device: Device
    precision: Precision
    mode: Mode = "quick"
    deterministic: bool = True
    packs: dict[Any, Any] | None = None
    """Where packed weights are kept: what only losers need is let go of."""
    shelf: Shelf = field(default_factory=Shelf.default)
    names: Sequence[str] | None = None
    """The candidates that may be taken; all of them if it is not said."""
    libraries: tuple[str, ...] = ()
    """Versions, beside the device's own, that results depend on."""
    found: list[Tuned] = field(default_factory=list)
    """What was chosen, in order."""

    def __call__(self, offered: Sequence[Option], build: Build) -> tuple[Option, Launch]:
        """The fastest option, built. Of options that fail to build or to run, nothing is heard but a debug line."""
        if self.mode == "off" or len(offered) == 1:
            return _first(offered, build)
        options = self._limited(offered)
        key = self._key(options)
        kept = self._kept(key, options)
        if kept is not None:
            try:
                launch = build(kept[0])
            except ValueError:
                pass  # another version of a library than the one that is said: measured anew
            else:
                self._note(kept[0], kept[1], True)
                return kept[0], launch
        before = set(self.packs or ())
        times = self._compared(options, build)
        if not times:
            return _first(offered, build)
        label = min(times, key=times.__getitem__)
        best = next(option for option in options if option.label == label)
        self._let_go(before)
        self.shelf.write_json(key, {"format": _FORMAT, "key": key, "chosen": label, "milliseconds": times})
        self._note(best, times, False)
        return best, build(best)

    # ---------------------------------------------------------------------------------------------------- measuring

    def _compared(self, options: Sequence[Option], build: Build) -> dict[str, float]:
        """Milliseconds of each option that can be built, by label, all for the same steps."""
        longest = max(options, key=lambda option: len(option.steps)).steps
        groups: dict[int, list[Option]] = {}
        for option in options:
            groups.setdefault(len(option.steps), []).append(option)
        behind = [self._alone(step, build) for step in longest[1:]] if len(groups) > 1 else []
        times: dict[str, float] = {}
        for count, found in groups.items():
            # What an option leaves out is computed afterwards, by what is best at it.
            rest = sum(behind[count - 1 :])
            times |= {label: own + rest for label, own in self._timed(found, build).items()}
        return times

    def _alone(self, step: Step, build: Build) -> float:
        """Milliseconds of the fastest way to compute one step by itself."""
        times = self._timed(self._limited(self._options(step)), build)
        return min(times.values(), default=float("inf"))

    def _options(self, step: Step) -> list[Option]:
        single = Program("", {}, {"": step.output}, (step,), (), {}, 0)
        found = []
        for name in CANDIDATES if self.names is None else self.names:
            try:
                offered = candidate(name)
            except ImportError:
                continue
            if offered.covers(single, 0) == 1 and offered.supports((step,), self.precision, self.device) is None:
                variants = offered.variants((step,), self.precision, self.device)
                found += [Option(name, variant, (step,)) for variant in variants]
        return [*found, Option(PLAIN, "", (step,))]

    def _timed(self, options: Sequence[Option], build: Build) -> dict[str, float]:
        """The median time of each option that can be built, by label."""
        launches: dict[str, Launch] = {}
        with self.device.use():
            for option in options:
                try:
                    launches[option.label] = build(option)
                except (ValueError, DeviceMemoryError) as error:
                    _debug(option.label, error)
            return measured(self.device, launches, ROUNDS[self.mode])

    # ---------------------------------------------------------------------------------------------------- keeping

    def _limited(self, offered: Sequence[Option]) -> list[Option]:
        """The options that this mode times."""
        if self.mode == "full":
            return list(offered)
        met: dict[tuple[str, int], int] = {}
        found = []
        for option in offered:
            kind = (option.candidate, len(option.steps))
            met[kind] = met.get(kind, 0) + 1
            if met[kind] <= QUICK_VARIANTS:
                found.append(option)
        return found

    def _key(self, options: Sequence[Option]) -> str:
        steps = max(options, key=lambda option: len(option.steps)).steps
        labels = [f"{option.label} {len(option.steps)}" for option in options]
        about = (self.precision.name, str(self.deterministic), identity(self.device.info, *self.libraries))
        return "\n".join(("tuned", *map(described, steps), *labels, *about))

    def _kept(self, key: str, options: Sequence[Option]) -> tuple[Option, dict[str, float]] | None:
        """What was found out before, where it is of this kind."""
        entry = self.shelf.read_json(key)
        if entry is None or entry.get("format") != _FORMAT or not isinstance(entry.get("milliseconds"), dict):
            return None
        times = entry["milliseconds"]
        if not all(isinstance(value, float | int) for value in times.values()):
            return None
        found = [option for option in options if option.label == entry.get("chosen")]
        return (found[0], dict(times)) if found else None

    def _let_go(self, before: set[Any]) -> None:
        """Weights that were packed for what was timed; the winner packs its own again."""
        if self.packs is not None:
            for key in set(self.packs) - before:
                del self.packs[key]

    def _note(self, option: Option, times: dict[str, float], kept: bool) -> None:
        self.found.append(Tuned(tuple(step.name for step in option.steps), option.label, times, kept))


def measured(device: Device, launches: Mapping[str, Launch], rounds: int) -> dict[str, float]:
    """The median time of each launch that runs, in milliseconds. Raises DeviceLostError."""
    repeats, times = _warmed(device, launches)
    for _ in range(rounds if len(times) > 1 else 0):
        best = min(median(each) for each in times.values())
        for label, each in times.items():
            if len(each) < LEAST_ROUNDS or median(each) <= HOPELESS * best:
                each.append(device.time(launches[label].run, repeats[label]) / repeats[label])
    return {label: median(each) for label, each in times.items()}


def _warmed(device: Device, launches: Mapping[str, Launch]) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Runs each once for nothing, and once to see how often it has to run for a measurement; then takes one."""
    repeats, times = {}, {}
    for label, launch in launches.items():
        try:
            device.time(launch.run)
            once = device.time(launch.run)
        except RunError:
            raise
        except Exception as error:  # a library may refuse when it runs what it took when it was built
            _debug(label, error)
            continue
        repeats[label] = max(1, min(MOST_REPEATS, round(LEAST_MILLISECONDS / max(once, 1e-6))))
        times[label] = [device.time(launch.run, repeats[label]) / repeats[label]]
    return repeats, times


def _first(offered: Sequence[Option], build: Callable[[Option], Launch]) -> tuple[Option, Launch]:
    for option in offered[:-1]:
        try:
            return option, build(option)
        except ValueError as error:
            _debug(option.label, error)
    return offered[-1], build(offered[-1])


def _debug(label: str, error: Exception) -> None:
    logging.getLogger("netdsl").debug("%s is left out: %s", label, error)


def described(step: Step) -> str:
    """All of a step that its time depends on."""
    activation = "" if step.activation is None else f"{step.activation.kind} {step.activation.model_dump_json()}"
    residual = "" if step.residual is None else _tensor(step.residual)
    weights = " ".join(f"{name} {'x'.join(map(str, array.shape))}" for name, array in step.weights.items())
    layer = step.layer.model_dump_json(exclude={"weight", "bias"})
    inputs = ", ".join(map(_tensor, step.inputs))
    return "|".join(
        (step.kernel, layer, inputs, _tensor(step.output), residual, activation, weights, str(step.in_place))
    )


def _tensor(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape))} by {'x'.join(map(str, tensor.strides))} from {tensor.offset % 64}"
