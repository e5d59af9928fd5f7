"""The learning-rate finder: the loss of a run whose rate grows from step to step.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3: the rate grows by the same factor at
each step; where the loss falls most steeply the rate is good, where it rises it is too large. The loss is smoothed as
an exponential mean of 0.95, without bias. Nothing of it is kept: the run works on weights of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, log
from typing import NamedTuple

from netdsl.train.errors import TrainError
from netdsl.train.phases import PhaseRun
from netdsl.train.session import Session

LEAST, MOST, STEPS = 1e-7, 10.0, 100
"""The range of rates, and how many are tried, where nothing else is asked for."""

SMOOTHING = 0.95
TOO_MUCH = 4.0
"""Times the smallest loss so far at which the search ends: the run has diverged."""


class Found(NamedTuple):
    """What was tried, and what is suggested."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed, one for each rate."""
    steepest: float
    """The rate at which the loss falls most steeply: the suggestion."""
    smallest: float
    """The rate with the smallest loss; a tenth of it is another usual choice."""
    diverged: float | None
    """The rate at which the loss left for good; None where it did not."""


def find_rate(
    session: Session,
    phase: int = 0,
    *,
    least: float = LEAST,
    most: float = MOST,
    steps: int = STEPS,
    watch: Callable[[int, float, float], None] | None = None,
) -> Found:
    """Tries rates on a phase of a session, whose weights are used up. Raises TrainError where no step can be made."""
    chosen = session.recipe.phases[phase]
    feed, run = session.begin(chosen, phase, lambda text: None)
    tried = PhaseRun(chosen, run.engine, feed.steps, run.precision)
    rates: list[float] = []
    losses: list[float] = []
    mean, epoch, diverged = 0.0, 0, None
    batches = feed.epoch(0, 0)
    for number in range(steps):
        fed = next(batches, None)
        if fed is None:
            epoch += 1
            batches = feed.epoch(epoch, 0)
            fed = next(batches)
        rate = least * (most / least) ** (number / max(1, steps - 1))
        try:
            loss = tried.step(fed.inputs, fed.targets, session.recipe.seed, number, rate).loss
        except TrainError as error:
            if error.code != "E0971" or not rates:
                raise
            diverged = rate
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smooth = mean / (1 - SMOOTHING ** (number + 1))
        rates.append(rate)
        losses.append(smooth)
        if watch is not None:
            watch(number + 1, rate, smooth)
        if not isfinite(smooth) or smooth > TOO_MUCH * min(losses):
            diverged = rate
            break
    return Found(tuple(rates), tuple(losses), *suggestion(rates, losses), diverged)


def suggestion(rates: list[float], losses: list[float]) -> tuple[float, float]:
    """The rates of the steepest fall (of the loss over the logarithm of the rate) and of the smallest loss."""
    smallest = rates[losses.index(min(losses))]
    slopes = [
        ((losses[i + 1] - losses[i - 1]) / log(rates[i + 1] / rates[i - 1]), rates[i])
        for i in range(1, losses.index(min(losses)))
    ]
    return (min(slopes)[1] if slopes else smallest), smallest
