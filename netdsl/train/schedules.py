"""Schedules: the learning rate of every step.

Legend: t step within the phase, from 0; n steps of an epoch; T steps of the phase; w steps of warm-up.
"""

from __future__ import annotations

from math import cos, floor, pi

from netdsl.train import recipe_parts as parts

_CLOSE = 1e-9
"""Epochs by which a boundary may be missed through rounding."""


def rate(schedule: parts.Part, lr: float, step: int, per_epoch: int, total: int) -> float:
    """The learning rate of step `step` (from 0) of `total`, where an epoch has `per_epoch` steps.

    Warm-up comes first: (t + 1) / (w + 1) of the rate. Steps and exponential decay count epochs from the start of the
    phase, as Goyal et al. 2017 do; cosine and linear begin where warm-up ends.
    """
    assert isinstance(schedule, parts.Schedule)
    warmup = min(warmup_steps(schedule, per_epoch), total)
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    epoch = step / per_epoch
    along = (step - warmup) / max(1, total - warmup)
    if isinstance(schedule, parts.Step):
        return lr * schedule.factor ** _falls(schedule, epoch)
    if isinstance(schedule, parts.Cosine):
        return schedule.final + (lr - schedule.final) * (1 + cos(pi * along)) / 2
    if isinstance(schedule, parts.Linear):
        return lr + (schedule.final - lr) * along
    if isinstance(schedule, parts.Exponential):
        times = epoch / schedule.every
        return lr * float(schedule.factor ** (floor(times + _CLOSE) if schedule.staircase else times))
    return lr


def warmup_steps(schedule: parts.Schedule, per_epoch: int) -> int:
    return schedule.warmup_steps or round(schedule.warmup * per_epoch)


def _falls(schedule: parts.Step, epoch: float) -> int:
    if schedule.every is not None:
        return floor(epoch / schedule.every + _CLOSE)
    return sum(epoch + _CLOSE >= at for at in schedule.at)
