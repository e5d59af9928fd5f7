"""Schedules: the learning rate of every step, against figures worked out by hand and algebraic identities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from netdsl.train import recipe_parts as parts
from netdsl.train.schedules import rate


def rates(schedule: parts.Part, lr: float, per_epoch: int, epochs: int) -> list[float]:
    total = per_epoch * epochs
    return [rate(schedule, lr, step, per_epoch, total) for step in range(total)]


def test_constant() -> None:
    assert rates(parts.Constant(), 0.1, 3, 2) == [0.1] * 6


def test_step_by_hand() -> None:
    found = rates(parts.Step(every=2.0, factor=0.5), 1.0, 2, 6)
    assert found == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    found = rates(parts.Step(at=(1.0, 3.0), factor=0.1), 1.0, 2, 4)
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_step_in_fractions_of_an_epoch() -> None:
    assert rates(parts.Step(every=0.1, factor=0.5), 1.0, 10, 1) == [0.5**i for i in range(10)]


def test_cosine_by_hand() -> None:
    """A half, a quarter and three quarters of the way: (1 + cos) / 2 = 0.5, 0.8535..., 0.1464..."""
    found = rates(parts.Cosine(), 2.0, 4, 1)
    assert found == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5)])
    assert rates(parts.Cosine(final=0.5), 2.0, 2, 1) == pytest.approx([2.0, 1.25])


def test_linear_by_hand() -> None:
    assert rates(parts.Linear(), 1.0, 4, 1) == pytest.approx([1, 0.75, 0.5, 0.25])
    assert rates(parts.Linear(final=0.5), 1.0, 2, 1) == pytest.approx([1, 0.75])


def test_exponential_as_efficientnet() -> None:
    """0.97 every 2.4 epochs: after 24 epochs the rate has fallen ten times."""
    smooth = rates(parts.Exponential(factor=0.97, every=2.4), 0.256, 5, 30)
    stairs = rates(parts.Exponential(factor=0.97, every=2.4, staircase=True), 0.256, 5, 30)
    assert smooth[24 * 5] == pytest.approx(0.256 * 0.97**10)
    assert stairs[24 * 5] == pytest.approx(0.256 * 0.97**10)
    assert stairs[:12] == [0.256] * 12
    assert stairs[12] == pytest.approx(0.256 * 0.97)
    assert all(s <= t + 1e-12 for s, t in zip(smooth, stairs, strict=True))


def test_warmup_by_hand() -> None:
    assert rates(parts.Constant(warmup=1.0), 1.0, 4, 2) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])
    assert rates(parts.Constant(warmup_steps=1), 1.0, 4, 1) == pytest.approx([0.5, 1, 1, 1])
    found = rates(parts.Cosine(warmup=1.0), 1.0, 2, 3)
    assert found == pytest.approx([1 / 3, 2 / 3, 1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])


def test_steps_count_warmup_epochs_and_cosine_does_not() -> None:
    assert rates(parts.Step(every=2.0, warmup=1.0), 1.0, 1, 4) == pytest.approx([0.5, 1.0, 0.1, 0.1])


@given(
    st.sampled_from([parts.Constant, parts.Cosine, parts.Linear]), st.integers(0, 12), st.integers(1, 9), st.integers(1, 6),
    st.floats(1e-6, 10),
)  # fmt: skip
@settings(deadline=None)
def test_rates_rise_then_never_rise_again(
    kind: type[parts.Part], warmup: int, per_epoch: int, epochs: int, lr: float
) -> None:
    found = rates(kind(warmup_steps=warmup), lr, per_epoch, epochs)
    assert all(0 < value <= lr * (1 + 1e-12) for value in found)
    top = min(warmup, len(found) - 1)
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (parts.Step, {}), (parts.Step, {"every": 1.0, "at": (2.0,)}), (parts.Step, {"at": (3.0, 2.0)}), (parts.Step, {"every": -1.0}),
        (parts.Cosine, {"warmup": 1.0, "warmup_steps": 5}), (parts.Exponential, {}), (parts.Exponential, {"factor": 1.5}),
        (parts.Sgd, {"nesterov": True}), (parts.Sgd, {"lr": -0.1}), (parts.Sgd, {"lr": math.nan}), (parts.Sgd, {"momentum": 1.0}),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(kind: type[parts.Part], arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind(**arguments)


@pytest.mark.peer
def test_against_pytorch() -> None:
    torch = pytest.importorskip("torch")
    schedulers = torch.optim.lr_scheduler

    def theirs(make: object, steps: int) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
        scheduler = make(optimizer)  # type: ignore[operator]
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    assert rates(parts.Cosine(final=0.01), 0.3, 5, 4) == pytest.approx(
        theirs(lambda o: schedulers.CosineAnnealingLR(o, 20, 0.01), 20)
    )
    assert rates(parts.Step(every=2.0, factor=0.3), 0.3, 1, 9) == pytest.approx(
        theirs(lambda o: schedulers.StepLR(o, 2, 0.3), 9)
    )
    assert rates(parts.Step(at=(2.0, 5.0), factor=0.3), 0.3, 1, 9) == pytest.approx(
        theirs(lambda o: schedulers.MultiStepLR(o, [2, 5], 0.3), 9)
    )
    assert rates(parts.Exponential(factor=0.9), 0.3, 1, 9) == pytest.approx(
        theirs(lambda o: schedulers.ExponentialLR(o, 0.9), 9)
    )
