"""Choosing what computes each step of a Program on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from netdsl.backends.cupy.choice import PLAIN, Choice, Chooser, Launch, Option, candidate
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.steps import plain
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
        option, launch = chooser(offered, partial(build, context=context, rejected=rejected))
        yield Choice(option, launch, tuple(rejected))
        for step in option.steps:
            forget(step.weights)
        at += len(option.steps)


def build(option: Option, context: Context, rejected: list[tuple[str, str]]) -> Launch:
    """The launch of an option. Raises ValueError where it cannot be built after all."""
    if option.candidate == PLAIN:
        (step,) = option.steps
        return plain(step, context)
    try:
        launch = candidate(option.candidate).build(option.steps, context, option.variant)
    except ValueError as error:
        rejected.append((option.label, str(error)))
        raise
    if context.deterministic and not launch.deterministic:
        rejected.append((option.label, "gives other bits from run to run"))
        raise ValueError("not deterministic")
    return launch


def first(offered: Sequence[Option], build: Callable[[Option], Launch]) -> tuple[Option, Launch]:
    """The first option that can be built."""
    for option in offered[:-1]:
        try:
            return option, build(option)
        except ValueError:
            continue
    return offered[-1], build(offered[-1])
