"""Training Programs: what lies where, what is kept, what is computed at all."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from random_networks import networks, values_of

import netdsl
from netdsl.analysis.training import default_trainable, training_plan
from netdsl.ir.layer import LayerError
from netdsl.ir.network import Network
from netdsl.layers.sizes import Slide
from netdsl.program.ir import Tensor
from netdsl.program.training.build import lower_training, prepare
from netdsl.program.training.ir import Backward, Forward, Loss, Sum, TrainingProgram
from netdsl.program.training.phases import phases
from netdsl.program.training.text import training_json, training_text
from netdsl.train.errors import TrainError

many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def program_of(network: Network, batch: int = 2, frozen: tuple[str, ...] = ()) -> TrainingProgram:
    names = frozenset(name for name in default_trainable(network) if not name.startswith(frozen or "\0"))
    ready = prepare(training_plan(network, names), values_of(network))
    return lower_training(ready, network.input_types(), batch)


def load(text: str) -> Network:
    return netdsl.loads(text).network


def touched(step: Any) -> list[int]:
    """The buffers of all that a step reads or writes."""
    match step:
        case Forward():
            tensors: list[Tensor | None] = [*step.inputs, step.output]
            saved = step.saved
        case Loss():
            tensors, saved = [*step.heads.values(), *step.gradients.values()], {}
        case Sum():
            tensors, saved = [step.first, step.second, step.output], {}
        case _:
            ahead = step.forward
            tensors = [step.dy, step.dz, *step.dx, *step.plus]
            tensors += ahead.core if step.reads_inputs else []
            tensors += [ahead.output] if step.reads_output else []
            saved = ahead.saved
    return [tensor.buffer for tensor in tensors if tensor is not None] + [item.buffer for item in saved.values()]


@many
@given(network=networks(most=14))
def test_what_is_live_together_lies_apart(network: Network) -> None:
    try:
        program = program_of(network)
    except (TrainError, LayerError):
        assume(False)
    for one, other in combinations(program.buffers, 2):
        if one.first <= other.last and other.first <= one.last:
            assert one.end <= other.offset or other.end <= one.offset
    for step in program.steps:
        for number in touched(step):
            assert program.buffers[number].first <= step.number <= program.buffers[number].last
    assert program.live_bytes <= program.arena_bytes
    training_text(program)
    training_json(program)


CHAIN = """
network chain {
  input image: 3x8x8
  conv1: conv(4, 3x3, padding = 1) -> bn1: batch_norm -> relu
  conv2: conv(4, 3x3, padding = 1) -> relu
  conv3: conv(4, 3x3, padding = 1) -> relu
  flatten
  fc: dense(5)
}
"""


def test_fused_steps_and_their_ways_back() -> None:
    program = program_of(load(CHAIN))
    kinds = [type(step).__name__ for step in program.steps]
    assert kinds == ["Forward"] * 5 + ["Loss"] + ["Backward"] * 5 or kinds.count("Loss") == 1
    norm = next(
        step for step in program.steps if isinstance(step, Backward) and step.forward.layer.kind == "batch_norm"
    )
    # Batch norm computes again what its relu took: its output is not kept for it.
    assert norm.reads_inputs and not norm.reads_output and norm.dz is None
    first = program.steps[-1]
    assert isinstance(first, Backward) and first.dx == (None,)
    assert first.wanted == {"weight", "bias"}


def test_nothing_is_computed_below_the_deepest_trainable_layer() -> None:
    program = program_of(load(CHAIN), frozen=("conv1", "bn1", "conv2"))
    assert list(program.inputs) == ["2"] or len(program.inputs) == 1
    names = {step.name for step in program.steps if isinstance(step, Backward)}
    kinds = [step.layer.kind for step in program.forward]
    assert kinds.count("conv") == 1
    assert len(names) == 3
    assert program.trained == {"conv3.weight", "conv3.bias", "fc.weight", "fc.bias"}


def test_a_frozen_convolution_keeps_nothing_for_its_weight() -> None:
    program = program_of(load(CHAIN), frozen=("conv2",))
    step = next(
        step for step in program.steps if isinstance(step, Backward) and "conv2.weight" in step.forward.weights.values()
    )
    assert not step.wanted and not step.reads_inputs and step.dx[0] is not None


def test_the_gradient_of_a_sum_is_not_copied() -> None:
    text = """
    network skip {
      input image: 4x8x8
      stem: conv(4, 3x3, padding = 1)
      add {
        | a: conv(4, 3x3, padding = 1) -> batch_norm
        | identity
      }
      flatten
      fc: dense(2)
    }
    """
    program = program_of(load(text))
    assert not [step for step in program.steps if isinstance(step, Sum)]
    convolution = next(
        step for step in program.steps if isinstance(step, Backward) and "a.weight" in step.forward.weights.values()
    )
    # It adds its part to the gradient that came past it, in place.
    assert convolution.plus[0] is not None and convolution.dx[0] is not None
    assert convolution.dx[0].name in convolution.in_place


def test_peak_of_resnet18_is_the_least_that_there_is() -> None:
    network = netdsl.load("resnet18", shape="3x64x64").network
    program = program_of(network, 8)
    assert program.arena_bytes <= 1.02 * program.live_bytes
    assert program.network_bytes > 2 * program.arena_bytes


def test_a_batch_norm_with_one_number_is_refused() -> None:
    with pytest.raises(LayerError) as found:
        program_of(load("network one { input x: 3x1x1\n batch_norm -> flatten\n dense(2) }"), 1)
    assert found.value.code == "E0953"


@pytest.mark.parametrize("f", [1, 2, 3, 5])
@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_phases_are_the_transpose_of_the_window(f: int, s: int, d: int, before: int) -> None:
    n = 16
    o = (n + 2 * before - d * (f - 1) - 1) // s + 1
    random = np.random.default_rng(0)
    weight, dy = random.normal(size=f), random.normal(size=o)
    expected = np.zeros(n)
    for place in range(o):
        for tap in range(f):
            at = place * s - before + tap * d
            if 0 <= at < n:
                expected[at] += weight[tap] * dy[place]
    found = np.full(n, np.nan)
    for phase in phases(Slide(n, f, s, d, before, before, o)):
        for q in range(phase.places):
            reads = [(q - phase.before + t * phase.dilation, tap) for t, tap in enumerate(phase.taps)]
            found[phase.rest + s * q] = sum(weight[tap] * dy[at] for at, tap in reads if 0 <= at < o)
    np.testing.assert_allclose(found, expected, atol=1e-12)
