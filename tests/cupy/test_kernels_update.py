"""Updates of parameters, against the optimisers of training on the CPU, and what happens where gradients overflow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from compiling_device import CompilingDevice
from host_kernels import DTYPES, Host, needs_compiler
from training_networks import SMALL, runs, steps

from netdsl.backends.cupy.kernels import update
from netdsl.backends.cupy.kernels.kernel import NONE, Work
from netdsl.backends.cupy.kernels.update import SCALARS, STATE, Update
from netdsl.train import clip, ema, optimizers
from netdsl.train import recipe_parts as parts

pytestmark = needs_compiler

SPANS = ((0, 3), (20, 33))
"""What weight decay leaves out."""


@dataclass(frozen=True)
class Case:
    optimizer: Any
    count: int = 1031
    clip: Any = None
    average: float | None = None
    scale: float = 1.0
    gradients: str = "float32"
    copy: str | None = None

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        return SPANS if self.optimizer.decay == "weights" and self.count > 100 else ()

    @property
    def wanted(self) -> Update:
        return Update.of(self.optimizer, self.clip, self.average, self.scale != 1)

    def work(self) -> Work:
        return update.update(
            self.wanted, self.count, gradients=self.gradients, copy=self.copy, undecayed=bool(self.spans)
        )


CASES = [
    Case(parts.Sgd()),
    Case(parts.Sgd(momentum=0.9, weight_decay=1e-2, decay="weights"), copy="bfloat16"),
    Case(parts.Sgd(momentum=0.9, nesterov=True), clip=parts.ClipNorm(most=0.5), average=0.99),
    Case(parts.Sgd(momentum=0.5), count=1, clip=parts.ClipValue(most=0.01)),
    Case(parts.RmsProp(weight_decay=1e-2), copy="float16"),
    Case(parts.RmsProp(style="pytorch", centered=True, momentum=0.0), count=7),
    Case(parts.RmsProp(centered=True, eps=1e-2), count=40003),
    Case(parts.Adam(weight_decay=1e-1, decay="all"), average=0.5),
    Case(parts.AdamW(decay="weights"), clip=parts.ClipNorm(most=1e-3), scale=1024.0, gradients="float16"),
    Case(parts.AdamW(betas=(0.8, 0.9)), scale=256.0, gradients="bfloat16", copy="bfloat16"),
]


@pytest.fixture(scope="module")
def host() -> Host:
    works = [*(case.work() for case in CASES), update.norm(1031)]
    return Host(kernel for work in works for kernel in work.kernels)


@cache
def started(case: Case) -> dict[str, np.ndarray]:
    """Everything that kernels keep from one step to the next."""
    draw = np.random.default_rng(case.count)
    weights = draw.standard_normal(case.count).astype(np.float32)
    found = {"weights": weights, "state": np.zeros(len(STATE)), "scalars": np.full(len(SCALARS), np.nan, np.float32)}
    found["state"][STATE.index("LOSS_SCALE")] = case.scale
    for letter in case.wanted.letters:
        if letter != NONE:
            ones = letter == "s" and case.wanted.tensorflow
            found[letter] = np.full(case.count, 1.0 if ones else 0.0, np.float32)
    if case.average is not None:
        found["average"] = weights.copy()
    if case.copy is not None:
        found["copy"] = np.zeros(case.count, DTYPES[case.copy])
    return found


def step(
    host: Host, case: Case, held: dict[str, np.ndarray], gradients: np.ndarray, rate: float
) -> dict[str, np.ndarray]:
    undecayed = np.zeros(case.count, np.uint8)
    for begin, end in case.spans:
        undecayed[begin:end] = 1
    given = {"gradients": gradients, "given": np.array([rate], np.float32), "undecayed": undecayed}
    work = case.work()
    return host.run(work, {name: given[name] for name in work.arguments if name in given}, held)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_steps_are_those_of_the_cpu(host: Host, case: Case) -> None:
    held = dict(started(case))
    weights = held["weights"].astype(np.float64)
    reference = optimizers.updater(case.optimizer, weights, case.spans)
    average = ema.Average(case.average, {"w": weights}) if case.average is not None else None
    draw = np.random.default_rng(1)
    for number in range(4):
        rate = 0.1 / (number + 1)
        gradients = (case.scale * draw.standard_normal(case.count) / 4).astype(DTYPES[case.gradients])
        held = step(host, case, held, gradients, rate)
        exact = gradients.astype(np.float64) / case.scale
        length = clip.norm(exact)
        assert held["state"][STATE.index("NORM")] == pytest.approx(length, rel=1e-6)
        assert held["state"][STATE.index("STEPS")] == number + 1
        if case.clip is not None:
            clip.clip(case.clip, exact, length)
        reference.update(weights, exact, float(np.float32(rate)))
        if average is not None:
            average.update({"w": weights})
    np.testing.assert_allclose(held["weights"], weights, rtol=2e-5, atol=3e-6)
    for letter, vector in reference.state.items():
        np.testing.assert_allclose(held[letter], vector, rtol=2e-5, atol=3e-6)
    if average is not None:
        np.testing.assert_allclose(held["average"], average.values["w"], rtol=2e-5, atol=3e-6)
    if case.copy is not None:
        assert (held["copy"] == held["weights"].astype(DTYPES[case.copy])).all()


def test_gradients_that_are_not_finite_change_nothing_but_the_scale(host: Host) -> None:
    case = CASES[8]
    held = dict(started(case))
    gradients = np.ones(case.count, np.float16)
    gradients[-1] = np.inf
    found = step(host, case, held, gradients, 0.1)
    for name, array in held.items():
        if name not in ("state", "scalars"):
            assert array.tobytes() == found[name].tobytes(), name
    assert dict(zip(STATE, found["state"], strict=True))["LOSS_SCALE"] == case.scale / 2
    assert dict(zip(STATE, found["state"], strict=True))["SKIPPED"] == 1
    assert dict(zip(STATE, found["state"], strict=True))["STEPS"] == 0
    again = step(host, case, found, np.ones(case.count, np.float16), 0.1)
    assert dict(zip(STATE, again["state"], strict=True))["SKIPPED"] == 0
    assert (again["weights"] != found["weights"]).all()


def test_the_scale_grows_after_many_good_steps(host: Host) -> None:
    case = CASES[8]
    held = dict(started(case)) | {"state": started(case)["state"].copy()}
    held["state"][STATE.index("GOOD_STEPS")] = update.GROWTH_STEPS - 1
    found = step(host, case, held, np.ones(case.count, np.float16), 0.1)
    assert found["state"][STATE.index("LOSS_SCALE")] == 2 * case.scale
    assert found["state"][STATE.index("GOOD_STEPS")] == 0
    held["state"][STATE.index("LOSS_SCALE")] = update.MOST_SCALE
    found = step(host, case, held, np.ones(case.count, np.float16), 0.1)
    assert found["state"][STATE.index("LOSS_SCALE")] == update.MOST_SCALE


def test_a_large_gradient_is_told_from_an_infinite_one(host: Host) -> None:
    case = CASES[2]
    gradients = np.full(case.count, 3e30, np.float32)
    found = step(host, case, dict(started(case)), gradients, 0.1)
    assert found["state"][STATE.index("NORM")] == pytest.approx(3e30 * case.count**0.5)
    assert found["state"][STATE.index("SKIPPED")] == 0
    assert np.isfinite(found["weights"]).all()


def test_the_host_rounds_as_numpy_does(host: Host) -> None:
    """What these tests rest on: the two 16-bit types of the shim."""
    case = CASES[4]
    held = dict(started(case)) | {"weights": np.geomspace(1e-9, 1e6, case.count).astype(np.float32)}
    for copy, dtype in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)):
        work = case if copy == "float16" else CASES[1]
        values = dict(started(work)) | {"weights": held["weights"]}
        found = step(host, work, values, np.zeros(work.count, np.float32), 0.0)
        with np.errstate(over="ignore"):
            wanted = values["weights"].astype(dtype)
        assert found["copy"].tobytes() == wanted.tobytes()


def test_training_on_a_device_takes_these_kernels() -> None:
    optimizer, limit = parts.RmsProp(weight_decay=1e-2, decay="weights"), parts.ClipNorm(most=0.5)
    device = CompilingDevice()
    there, here = runs(SMALL, device, optimizer, lr=0.01, clip=limit, ema=0.9)
    np.testing.assert_allclose(steps(there, 4), steps(here, 4), rtol=1e-4)
    mine, wanted = there.arrays(), here.arrays()
    assert mine.keys() == wanted.keys()
    for key, array in wanted.items():
        np.testing.assert_allclose(mine[key], array, rtol=2e-3, atol=1e-5, err_msg=key)
    ran = {name.rpartition("_")[0] for name in device.ran}
    assert {"update", "norm_of", "norm_end"} <= ran


def test_a_norm_that_floats_cannot_hold_is_the_largest(host: Host) -> None:
    for value, wanted in ((1e30, np.float32(3.4028235e38)), (np.inf, np.float32(np.inf)), (2.0, np.float32(4 * 1031))):
        gradients = np.full(1031, value, np.float32)
        found = host.run(update.norm(1031), {"gradients": gradients}, {"square": np.zeros(1, np.float32)})
        assert found["square"][0] == wanted
