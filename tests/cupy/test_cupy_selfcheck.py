"""The check of kernels on a device finds the ones that are wrong, and only those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from random_networks import values_of

import netdsl
from netdsl.backends.cupy import choice, select
from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.executor import CupyExecutable
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.backends.cupy.selfcheck import mismatches
from netdsl.backends.cupy.steps import plain
from netdsl.passes import bind, run
from netdsl.program.ir import Program, Step
from netdsl.program.lower import lower

TEXT = "network n() {\n  input x: 8x9x9\n  conv(16, 3x3) -> relu\n  max_pool(2)\n  conv(4, 1x1)\n}"


class Copy:
    """The plain form of a convolution under another name; `spoil` changes its result."""

    def __init__(self, spoil: Any) -> None:
        self.spoil = spoil

    def covers(self, program: Program, at: int) -> int:
        return int(program.steps[at].kernel == "conv")

    def supports(self, steps: Sequence[Step], *others: Any) -> str | None:
        return None

    def variants(self, steps: Sequence[Step], *others: Any) -> Sequence[str]:
        return ("",)

    def build(self, steps: Sequence[Step], context: Any, variant: str) -> Launch:
        launch, y = plain(steps[0], context), context.view(steps[0].output)

        def run() -> None:
            launch.run()
            self.spoil(y)

        return Launch(f"copy of {launch.name}", run)


def one_position(y: Any) -> None:
    y[0, 0, 0, 0] = 9


@pytest.mark.parametrize("precision", list(PRECISIONS))
@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda y: None, 0), (one_position, 2), (lambda y: y.fill(float("nan")), 2),
        (lambda y: y.__setitem__(..., y.astype("f") * 1.2), 2),
    ],
    ids=["right", "one number", "no number", "a fifth too large"],
)  # fmt: skip
def test_wrong_kernels_are_found(monkeypatch: pytest.MonkeyPatch, precision: str, spoil: Any, wrong: int) -> None:
    monkeypatch.setattr(choice, "CANDIDATES", {"copy": "copy"})
    monkeypatch.setattr(select, "candidate", lambda name: Copy(spoil))
    network = netdsl.loads(TEXT).network
    program = lower(run(bind(network, values_of(network))), network.input_types(), 2)
    executable = CupyExecutable(program, FakeDevice(), PRECISIONS[precision], {}, candidates=["copy"])
    found = mismatches(executable)
    assert len(found) == wrong
    if found:
        assert found[0].steps == (program.steps[0].name,) and "copy of im2col for" in str(found[0])
        assert found[0].error > found[0].allowed


def test_a_kernel_that_does_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle(Copy):
        def build(self, steps: Sequence[Step], context: Any, variant: str) -> Launch:
            return Launch("idle", lambda: None)

    monkeypatch.setattr(choice, "CANDIDATES", {"idle": "idle"})
    monkeypatch.setattr(select, "candidate", lambda name: Idle(None))
    network = netdsl.loads(TEXT).network
    program = lower(run(bind(network, values_of(network))), network.input_types(), 2)
    executable = CupyExecutable(program, FakeDevice(), PRECISIONS["float32"], {}, candidates=["idle"])
    assert [found.kernel for found in mismatches(executable)] == ["idle", "idle"]


@pytest.mark.parametrize("way", ["take", "give"])
def test_a_wrong_way_in_or_out_is_found(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    network = netdsl.loads(TEXT).network
    program = lower(run(bind(network, values_of(network))), network.input_types(), 2)
    executable = CupyExecutable(program, FakeDevice(), PRECISIONS["bfloat16"], {}, candidates=[])
    assert mismatches(executable) == []
    monkeypatch.setattr(executable.slot, way, lambda: Launch("nothing", lambda: None))
    (found,) = mismatches(executable)
    assert found.kernel == {"take": "inputs", "give": "outputs"}[way]
