"""Programs: what shares memory, how long it lives, and how it is shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import networks, values_of

import netdsl
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.language.diagnostics import SpecError
from netdsl.passes import bind, run
from netdsl.program.ir import ALIGNMENT, Program, Tensor, lanes_to_copy
from netdsl.program.lower import lower
from netdsl.program.text import program_json, program_text

many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def program_of(network: Network, batch: int = 1, passes: bool = True) -> Program:
    bound = bind(network, values_of(network))
    return lower(run(bound) if passes else bound, network.input_types(), batch)


def of(body: str, shape: str = "4x8x8") -> Program:
    return program_of(netdsl.loads(f"network n() {{\n  input x: {shape}\n{body}\n}}").network)


def cells(program: Program, tensor: Tensor) -> set[int]:
    """Every number of the arena that a tensor takes."""
    buffer = program.buffers[tensor.buffer]
    index = np.full(tensor.shape, buffer.offset // 4 + tensor.offset)
    for axis, (extent, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
        places = (np.arange(extent) * stride).reshape([-1 if a == axis else 1 for a in range(index.ndim)])
        index = index + places
    return set(index.ravel().tolist())


@many
@given(network=networks(), batch=st.integers(1, 3), passes=st.booleans())
def test_nothing_is_overwritten_before_it_is_read(network: Network, batch: int, passes: bool) -> None:
    """Runs the plan with times in place of numbers: a cell that is read was last written when its tensor was made."""
    bound = bind(network, values_of(network))
    bound = run(bound) if passes else bound
    program = lower(bound, network.input_types(), batch)
    numbers = {step.name: step.number for step in program.steps}
    made: dict[str, int] = {}
    for node in bound.network.nodes():
        # A view is made when what it shows is; an input before all steps.
        made[node.name] = numbers.get(node.name, max((made[source] for source in node.inputs), default=-1))
    written: dict[int, int] = {}
    for tensor in program.inputs.values():
        written |= dict.fromkeys(cells(program, tensor), -1)
    for step in program.steps:
        for tensor in step.reads:
            late = [cell for cell in cells(program, tensor) if written[cell] > made[tensor.name]]
            assert not late, f"step {step.number} reads {tensor.name}, which has been overwritten"
        if step.kernel == "concat":
            pairs = lanes_to_copy(step)
            target = set().union(*(cells(program, part) for _, part in pairs))
            assert pairs and all(not target & cells(program, lane) for lane, _ in pairs)
        else:
            target = cells(program, step.output)
            sharing = [tensor for tensor in step.reads if target & cells(program, tensor)]
            assert all(step.in_place and cells(program, tensor) == target for tensor in sharing)
        written |= dict.fromkeys(target, step.number)
    for tensor in program.outputs.values():
        assert all(written[cell] <= made[tensor.name] for cell in cells(program, tensor))


@many
@given(network=networks(), batch=st.integers(1, 3))
def test_live_buffers_do_not_overlap(network: Network, batch: int) -> None:
    program = program_of(network, batch)
    for buffer in program.buffers:
        assert buffer.offset % ALIGNMENT == 0 and buffer.end <= program.arena_bytes
        for other in program.buffers[: buffer.number]:
            if buffer.first <= other.last and other.first <= buffer.last:
                assert buffer.end <= other.offset or other.end <= buffer.offset
    for step in program.steps:
        for tensor in (*step.reads, step.output):
            buffer = program.buffers[tensor.buffer]
            assert buffer.first <= step.number <= buffer.last
            assert max(cells(program, tensor)) * 4 < buffer.end
    assert program.live_bytes <= program.arena_bytes


def test_lanes_are_computed_where_they_belong() -> None:
    program = of(
        "a: conv(3, 1x1)\nb: from x -> conv(5, 1x1)\nc: from x -> max_pool(1)\nconcat {\n| from a\n| from b\n| from c\n} -> conv(2, 1x1)"
    )
    assert [step.kernel for step in program.steps] == ["conv", "conv", "max_pool", "conv"]
    places = [(step.output.buffer, step.output.offset, step.output.strides) for step in program.steps[:3]]
    (buffer, _, strides) = places[0]
    assert strides == (8 * 8 * 12, 8 * 12, 12, 1)
    assert places == [(buffer, 0, strides), (buffer, 3, strides), (buffer, 8, strides)]


def test_a_growing_list_is_one_buffer() -> None:
    """DenseNet: every concatenation is the beginning of the last one."""
    program = of(
        "a: conv(2, 1x1)\nb: conv(2, 3x3, padding = 1)\nab: concat {\n| from a\n| from b\n}\n"
        "c: from ab -> conv(2, 3x3, padding = 1)\nabc: concat {\n| from a\n| from b\n| from c\n}\nd: conv(2, 1x1)"
    )
    assert [step.kernel for step in program.steps] == ["conv"] * 4
    assert len({program.tensors[name].buffer for name in ("a", "b", "ab", "c", "abc")}) == 1


def test_a_lane_that_comes_twice_is_copied_once() -> None:
    program = of("a: conv(3, 1x1)\nb: concat {\n| from a\n| from x\n| from a\n}")
    (step,) = (step for step in program.steps if step.kernel == "concat")
    assert [(lane.name, part.offset) for lane, part in lanes_to_copy(step)] == [("x", 3), ("a", 7)]


def test_results_in_place() -> None:
    program = of("a: max_pool(1)\nb: tanh\nc: sigmoid\nd: add {\n| from a\n| from c\n}")
    assert [(step.kernel, step.in_place) for step in program.steps] == [
        ("max_pool", False),
        ("tanh", False),  # a is read once more
        ("sigmoid", True),
        ("add", True),
    ]


def test_a_third_lane_is_not_overwritten() -> None:
    """The sum of the first two would be written over the third before it is read."""
    program = of(
        "a: conv(4, 1x1) -> p: prelu\nb: from x -> conv(4, 1x1) -> q: prelu\nc: from x -> max_pool(1)\nadd {\n| from p\n| from q\n| from c\n}"
    )
    step = program.steps[-1]
    assert step.in_place and step.output.buffer == step.inputs[0].buffer != step.inputs[2].buffer


def test_views_need_no_step() -> None:
    program = of("a: max_pool(1)\nb: slice(1, 3)\nc: global_avg_pool -> flatten -> dense(2)")
    assert [step.kernel for step in program.steps] == ["max_pool", "global_avg_pool", "dense"]
    a, b = program.tensors["a"], program.tensors["b"]
    assert (b.buffer, b.offset, b.strides, b.shape) == (a.buffer, 1, a.strides, (1, 8, 8, 2))


def test_an_output_lives_to_the_end_and_an_input_from_the_start() -> None:
    program = of("a: max_pool(1)\nb: tanh\nc: from a -> sigmoid")
    last = len(program.steps) - 1
    assert program.buffers[program.inputs["x"].buffer].first == 0
    assert all(program.buffers[tensor.buffer].last == last for tensor in program.outputs.values())


def test_open_extents_take_the_sizes_that_come() -> None:
    network = netdsl.loads("network n() {\n  input x: 3x?x?\n  conv1: conv(4, 5x5, stride = 2)\n}").network
    bound = run(bind(network, values_of(network)))
    program = lower(bound, {"x": TensorType((3, 21, 9))}, 2)
    assert program.outputs["conv1"].shape == (2, 9, 3, 4)
    with pytest.raises(SpecError, match="conv1"):
        lower(bound, {"x": TensorType((3, 21, 4))}, 2)


@pytest.mark.parametrize(
    ("name", "live"),
    [
        # The input and the output of the largest step (MobileNetV2: 112x112x96 becomes 56x56x96).
        ("mobilenet_v2", 4 * (112 * 112 + 56 * 56) * 96),
        ("vgg16", 4 * 224 * 224 * (64 + 64)),
    ],
)
def test_published_networks_need_no_more_than_one_step_does(name: str, live: int) -> None:
    program = program_of(netdsl.load(name).network)
    assert program.arena_bytes == program.live_bytes == live
    assert program.network_bytes > 2 * live


def test_the_text_says_what_there_is() -> None:
    program = of("a: conv(8, 3x3, padding = 1) -> batch_norm -> relu\nglobal_avg_pool -> flatten -> fc: dense(3)")
    text = program_text(program)
    assert "conv 3x3, 8 | relu" in text and "1x8x8x8" in text and "Arena" in text and "dense 3" in text
    data = program_json(program)
    assert [step["kernel"] for step in data["steps"]] == ["conv", "global_avg_pool", "dense"]
    assert data["arena_bytes"] == program.arena_bytes == max(b["offset"] + b["bytes"] for b in data["buffers"])
