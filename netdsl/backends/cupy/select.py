"""Choosing what computes each step of a Program on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from netdsl.backends.cupy.choice import PLAIN, Choice, Chooser, Launch, Option, candidate
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.errors import KernelError
from netdsl.backends.cupy.steps import plain
from netdsl.backends.errors import RunError
from netdsl.passes.values import forget
from netdsl.program.ir import Program


def options(
    program: Program, at: int, context: Context, names: Sequence[str]
) -> tuple[list[Option], list[tuple[str, str]]]:
    """The ways to compute the steps from number `at` on, the plain one last, and (candidate, reason) of those that
    cannot."""
    found: list[Option] = []
    rejected: list[tuple[str, str]] = []
    for name in names:
        try:
            offered = candidate(name)
        except ImportError as error:
            rejected.append((name, f"{error.name or error} is not installed"))
            continue
        count = offered.covers(program, at)
        if not count:
            continue
        steps = program.steps[at : at + count]
        reason = offered.supports(steps, context.precision, context.device)
        if reason is not None:
            rejected.append((name, reason))
            continue
        found += [
            Option(name, variant, steps) for variant in offered.variants(steps, context.precision, context.device)
        ]
    return [*found, Option(PLAIN, "", program.steps[at : at + 1])], rejected


def choose(program: Program, context: Context, chooser: Chooser, names: Sequence[str]) -> Iterator[Choice]:
    """What computes each step, in order. Weights are let go of once they are packed."""
    at = 0
    while at < len(program.steps):
        offered, rejected = options(program, at, context, names)
        failed: dict[str, str] = {}
        option, launch = chooser(offered, partial(build, context=context, failed=failed))
        yield Choice(option, launch, (*rejected, *failed.items()), tuple(failed.items()))
        for step in option.steps:
            forget(step.weights)
        at += len(option.steps)


def build(option: Option, context: Context, failed: dict[str, str]) -> Launch:
    """The launch of an option, which has run once. Raises ValueError where that is not possible after all."""
    if option.candidate == PLAIN:
        (step,) = option.steps
        return plain(step, context)
    try:
        launch = candidate(option.candidate).build(option.steps, context, option.variant)
        if context.deterministic and not launch.deterministic:
            raise ValueError("gives other bits from run to run")
        _prove(launch, context)
    except ValueError as error:
        failed[option.label] = str(error)
        raise
    return launch


def _prove(launch: Launch, context: Context) -> None:
    """Runs a launch once, on whatever lies in the arena: libraries and drivers may refuse what was built."""
    try:
        with context.device.use():
            launch.run()
    except (ValueError, MemoryError, RunError):
        raise
    except NotImplementedError:
        # A played device has no form of this kernel: nothing can be said about it.
        return
    except Exception as error:
        raise KernelError(f"does not run: {(str(error).splitlines() or [type(error).__name__])[0]}") from error


def first(offered: Sequence[Option], build: Callable[[Option], Launch]) -> tuple[Option, Launch]:
    """The first option that can be built."""
    for option in offered[:-1]:
        try:
            return option, build(option)
        except ValueError:
            continue
    return offered[-1], build(offered[-1])
