"""The executor on a played device: graphs, what is reported, memory, a device that stops."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from random_networks import make, values_of

import netdsl
from netdsl.backends.cupy import choice
from netdsl.backends.cupy.backend import CupyBackend
from netdsl.backends.cupy.capture import Replay
from netdsl.backends.cupy.choice import Launch, inner
from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.errors import DeviceLostError, DeviceMemoryError
from netdsl.backends.cupy.executor import CupyExecutable
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.memory import Memory, Workspace
from netdsl.backends.cupy.model import DeviceModel
from netdsl.backends.cupy.precision import PRECISIONS, Precision
from netdsl.backends.errors import RunError
from netdsl.ir.layer import Layer
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType
from netdsl.passes import bind, run
from netdsl.program.device_memory import WORKSPACE_BYTES
from netdsl.program.ir import Program, Step
from netdsl.program.layout import DEVICE_ALIGNMENT, layout
from netdsl.program.lower import lower

SMALL = """network small() {
  input x: 3x?x?
  conv1: conv(4, 3x3, padding = 1) -> batch_norm -> relu
  add {
    |
    | conv(4, 1x1) -> batch_norm
  }
  relu
  global_avg_pool -> flatten -> dense(2)
}"""


def images(*shape: int) -> Any:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def model(device: FakeDevice | None = None, text: str = SMALL, **settings: Any) -> DeviceModel:
    settings = {"candidates": (), **settings}
    made = CupyBackend(played=device or FakeDevice(), **settings).model(netdsl.loads(text).network)
    made.load(values_of(made.network))
    return made


def program(text: str = SMALL, shape: str = "3x8x8", batch: int = 2, passes: bool = True) -> Program:
    network = netdsl.loads(text, shape=shape).network
    bound = bind(network, values_of(network))
    return lower(run(bound) if passes else bound, network.input_types(), batch)


def executable(device: FakeDevice, **settings: Any) -> CupyExecutable:
    return CupyExecutable(program(), device, PRECISIONS["float32"], {}, **{"candidates": [], **settings})


# ---------------------------------------------------------------------------------------------------------- graphs


def test_a_run_is_one_graph() -> None:
    device = FakeDevice()
    found = executable(device)
    x = {"x": images(2, 3, 8, 8)}
    found(x)
    launches, graphs = len(device.launches), device.graphs
    found(x)
    assert (len(device.launches), device.graphs) == (launches, graphs + 1)
    assert found.notes == ()


def test_a_thousand_replays_give_the_same_bits() -> None:
    found = executable(FakeDevice())
    rng = np.random.default_rng(0)
    batches = [{"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
    expected = [next(iter(found(batch).values())) for batch in batches]
    for index in range(1000):
        (array,) = found(batches[index % 4]).values()
        np.testing.assert_array_equal(array, expected[index % 4])


def test_what_is_captured_is_not_done_before_the_graph_is_launched() -> None:
    device = FakeDevice()
    xp = device.xp
    x, y = xp.ones((2, 2), np.float32), xp.zeros((2, 2), np.float32)

    def double() -> None:
        xp.multiply(x + x, np.float32(1), out=y)

    graph = device.capture(double)
    assert not y.get().any()
    graph.launch()
    assert (y.get() == 2).all()
    x[...] = 5
    graph.launch()
    assert (y.get() == 10).all(), "a graph reads what is there when it is launched"


def test_the_library_of_products_cannot_be_captured_as_in_cupy() -> None:
    device = FakeDevice()
    x = device.xp.ones((2, 2), np.float32)
    with pytest.raises(Exception, match="cuBLAS API during stream capture"):
        device.capture(lambda: x @ x)
    out = device.xp.zeros((2, 2), np.float32)
    device.capture(lambda: device.matmul(x, x, out)).launch()
    assert (out.get() == 2).all()


class Stubborn(Layer):
    """A layer that asks the library for a product in a way that cannot be captured."""

    kind = "stubborn"
    category = "fixed"
    reference = "none"

    def infer(self, *inputs: TensorType) -> TensorType:
        return inputs[0]

    def forward(self, xp: Any, inputs: Sequence[Any], weights: Any) -> Any:
        return inputs[0] @ inputs[0]


def test_what_cannot_be_captured_runs_between_graphs_and_is_reported() -> None:
    network = Network("stubborn")
    network.add(Node("x", make("input", shape=(3, 4, 4)), (), TensorType((3, 4, 4)), None, "x", ()))
    network.inputs.append("x")
    for name, layer, source in (("a", make("relu"), "x"), ("b", Stubborn(), "a"), ("c", make("tanh"), "b")):
        network.add(Node(name, layer, (source,), TensorType((3, 4, 4)), None, name, ()))
    network.outputs["y"] = "c"
    device, said = FakeDevice(), []
    made = lower(bind(network, {}), network.input_types(), 2)
    found = CupyExecutable(made, device, PRECISIONS["float32"], {}, candidates=[], report=said.append)
    x = {"x": images(2, 3, 4, 4)}
    first, again = found(x)["y"], found(x)["y"]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, np.tanh(np.maximum(x["x"], 0) @ np.maximum(x["x"], 0)), rtol=1e-5)
    (note,) = found.notes
    assert note in said and note.startswith("layer is in no CUDA graph") and "cuBLAS" in note
    replay = found._replays[0]
    assert replay is not None and replay.graphs == 2


@pytest.mark.parametrize(
    "body", ["conv_transpose(3, 3x3, stride = 2, groups = 1)", "std_conv(4, 3x3)", "conv(4, 3x3, padding = 1, padding_mode = reflect)"]
)  # fmt: skip
def test_products_of_layers_are_captured(body: str) -> None:
    found = CupyExecutable(
        program(f"network n() {{\n  input x: 3x8x8\n  {body}\n}}", passes=False), FakeDevice(), PRECISIONS["float32"], {},
        candidates=[],
    )  # fmt: skip
    found({"x": images(2, 3, 8, 8)})
    assert found.kernels == ("layer",) and found.notes == ()


def test_graphs_that_give_other_bits_are_not_used() -> None:
    device = FakeDevice()

    class Wrong(FakeDevice):
        def capture(self, run: Any) -> Any:
            graph = super().capture(run)
            graph.calls.append(("flip", lambda: None))
            last = graph.calls[-3]
            graph.calls[-3] = (last[0], lambda: None)  # one launch gets lost
            return graph

    device = Wrong()
    found = executable(device)
    x = {"x": images(2, 3, 8, 8)}
    (first,) = found(x).values()
    assert found.notes == ("what was captured as a CUDA graph gives other numbers: each kernel is launched by itself",)
    graphs = device.graphs
    (again,) = found(x).values()
    np.testing.assert_array_equal(first, again)
    assert device.graphs == graphs


def test_launches_that_say_no_are_left_out() -> None:
    device = FakeDevice()
    done: list[str] = []

    def launch(name: str, capturable: bool = True) -> Launch:
        return Launch(name, lambda: device.note(name, lambda: done.append(name)), capturable)

    device.refuses = frozenset({"c"})
    queue = [launch("a"), launch("b", False), launch("c"), launch("d"), launch("e")]
    replay = Replay(device, queue)
    assert done == [] and replay.graphs == 2 and set(replay.refused) == {"b", "c"}
    replay.run()
    assert done == ["a", "b", "c", "d", "e"], "the order stays"


def test_without_graphs_each_launch_is_queued() -> None:
    device = FakeDevice()
    found = executable(device, graphs=False)
    x = {"x": images(2, 3, 8, 8)}
    found(x), found(x)
    assert device.graphs == 0 and found.notes == ()


# ------------------------------------------------------------------------------------------------------ candidates


class Relu:
    """A candidate for the tests: relu by itself, or behind an affine layer."""

    def __init__(
        self, count: int = 1, reason: str | None = None, fails: bool = False, same: bool = True,
        breaks: Exception | None = None,
    ) -> None:  # fmt: skip
        self.count, self.reason, self.fails, self.same, self.breaks = count, reason, fails, same, breaks
        self.built: list[str] = []

    def covers(self, program: Program, at: int) -> int:
        return self.count if program.steps[at].kernel == "conv" and inner(program, at, self.count) else 0

    def supports(self, steps: Sequence[Step], precision: Precision, device: Device) -> str | None:
        return self.reason

    def variants(self, steps: Sequence[Step], precision: Precision, device: Device) -> Sequence[str]:
        return ("x", "y")

    def build(self, steps: Sequence[Step], context: Any, variant: str) -> Launch:
        if self.fails:
            raise ValueError("no plan")
        self.built.append(variant)
        y = context.view(steps[-1].output)

        def run() -> None:
            if self.breaks is not None:
                raise self.breaks
            y.fill(7)

        return Launch(f"mine {variant}", run, deterministic=self.same)


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Any:
    def add(candidate: Any) -> Any:
        monkeypatch.setattr(choice, "CANDIDATES", {"mine": "mine"})
        from netdsl.backends.cupy import select

        monkeypatch.setattr(select, "candidate", lambda name: candidate)
        return candidate

    return add


def test_the_first_variant_of_the_first_candidate_is_taken(offer: Any) -> None:
    mine = offer(Relu())
    found = executable(FakeDevice(), candidates=["mine"])
    assert found.kernels[0] == "mine x" and mine.built == ["x", "x"]
    assert found.choices[0].option.label == "mine:x"


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (Relu(reason="not on Tuesdays"), "not on Tuesdays"),
        (Relu(fails=True), "no plan"),
        (Relu(same=False), "other bits"),
        (Relu(breaks=RuntimeError("CUDNN_STATUS_EXECUTION_FAILED\nat 3")), "does not run: CUDNN_STATUS"),
    ],
    ids=["unsupported", "fails to build", "not deterministic", "does not run"],
)
def test_what_is_not_taken_says_why(offer: Any, candidate: Relu, reason: str) -> None:
    offer(candidate)
    found = executable(FakeDevice(), candidates=["mine"])
    assert found.kernels[0] == "im2col"
    first = found.choices[0]
    assert any(reason in why for _, why in (*first.rejected, *first.failed))
    # What says no itself is nothing to talk about; what should have computed is.
    assert any(reason in note for note in found.notes) == (candidate.reason is None)


def test_several_steps_may_be_one_launch(offer: Any) -> None:
    offer(Relu(count=2))
    text = "network n() {\n  input x: 3x8x8\n  conv(4, 3x3)\n  max_pool(2)\n  conv(2, 1x1)\n}"
    found = CupyExecutable(program(text), FakeDevice(), PRECISIONS["float32"], {}, candidates=["mine"])
    assert list(found.kernels) == ["mine x", "with 0", "matmul"]
    assert not inner(program(passes=False), 2, 2), "what the activation makes is added later"


def test_kernels_that_are_not_deterministic_are_taken_where_they_may(offer: Any) -> None:
    offer(Relu(same=False))
    assert executable(FakeDevice(), candidates=["mine"], deterministic=False).kernels[0] == "mine x"


# ---------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("itemsize", [4, 2])
def test_buffers_that_live_together_do_not_overlap(itemsize: int) -> None:
    network = netdsl.load("googlenet", shape="3x64x64").network
    made = lower(bind(network, values_of(network)), network.input_types(), 3)
    found = layout(made, itemsize)
    assert all(offset % DEVICE_ALIGNMENT == 0 for offset in found.offsets)
    spans = [
        (offset, offset + buffer.bytes // 4 * itemsize, buffer.first, buffer.last)
        for offset, buffer in zip(found.offsets, made.buffers, strict=True)
    ]
    for i, (start, end, first, last) in enumerate(spans):
        assert end <= found.bytes
        for other, other_end, other_first, other_last in spans[:i]:
            if first <= other_last and other_first <= last:
                assert end <= other or other_end <= start
    assert found.bytes < 1.1 * made.arena_bytes * itemsize / 4 + DEVICE_ALIGNMENT * len(spans)


def test_one_allocation_holds_every_tensor() -> None:
    device = FakeDevice()
    made = program()
    memory = Memory(made, device, np.dtype(np.float16))
    assert device.used == memory.layout.bytes
    for tensor in made.tensors.values():
        view = memory.view(tensor)
        assert view.shape == tensor.shape and view.dtype == np.float16
        assert device.address(view) == memory.address(tensor)
        assert memory.address(tensor) % DEVICE_ALIGNMENT == (2 * tensor.offset) % DEVICE_ALIGNMENT
    del memory, view
    gc.collect()
    assert device.used == 0


def test_the_workspace_is_as_large_as_the_most_demanding_step() -> None:
    device = FakeDevice()
    workspace = Workspace(device)
    for size in (100, 5000, 300):
        workspace.need(size)
    a, b = workspace.take(np.dtype(np.float32), (3, 5), (7,))
    assert workspace.bytes == 5120 and device.used == 5120
    assert device.address(b) - device.address(a) == 256 and a.shape == (3, 5)


def test_a_workspace_that_graphs_know_stays_where_it_is() -> None:
    device = FakeDevice()
    workspace = Workspace(device)
    workspace.need(1000)
    before = workspace.memory
    workspace.sealed = True
    workspace.need(5000)
    assert workspace.memory.size == 5120 and device.address(workspace.memory) != device.address(before)
    address = device.address(before)
    del before
    gc.collect()
    assert device.used == 5120 + 1024 and device.address(workspace._captured[0]) == address


def test_weights_are_packed_once_for_all_sizes_and_precisions_apart() -> None:
    device = FakeDevice()
    packs: dict[Any, Any] = {}
    sizes = [program(batch=batch, shape=f"3x{size}x{size}") for batch, size in ((1, 8), (2, 8), (1, 12))]
    for each in sizes:
        CupyExecutable(each, device, PRECISIONS["float32"], packs, candidates=[])
    # Two convolutions and a dense layer, each with a bias, and the two rows of ones for the pools of 64 and 144.
    assert len(packs) == 3 * 2 + 2
    CupyExecutable(sizes[0], device, PRECISIONS["float16"], packs, candidates=[])
    assert len(packs) == 8 + 3 + 1, "biases are float32 in both"
    assert {str(array.dtype) for array in packs.values()} == {"float32", "float16"}


def test_too_large_a_batch_says_what_would_fit() -> None:
    device = FakeDevice(limit=WORKSPACE_BYTES + 4 * 2**20)
    made = model(device)
    made(images(2, 3, 32, 32))
    with pytest.raises(RunError) as caught:
        made(np.zeros((8000, 3, 32, 32), np.float32))
    assert caught.value.code == "E0714"
    assert "8000 x x 3x32x32 in float32: the plan takes" in caught.value.message
    assert caught.value.help is not None and caught.value.help.startswith("the largest batch that fits is ")
    most = int(caught.value.help.rpartition(" ")[2])
    assert 20 < most < 8000
    del caught  # its traceback holds what was built
    gc.collect()
    # What it says is true, but for scratch memory, which is an allowance: the device has more than the plan counts.
    assert made(images(most, 3, 32, 32)).shape == (most, 2)
    assert made(images(2, 3, 32, 32)).shape == (2, 2), "it goes on working"


def test_no_memory_for_a_graph_is_no_error() -> None:
    class Full(FakeDevice):
        def capture(self, run: Any) -> Any:
            raise DeviceMemoryError(1, 0, 1)

    found = executable(Full())
    (array,) = found({"x": images(2, 3, 8, 8)}).values()
    assert array.shape == (2, 2)
    assert found.notes == ("there is no memory for a CUDA graph: each kernel is launched by itself",)


def test_memory_that_runs_out_while_weights_are_packed_leaves_nothing_behind() -> None:
    device = FakeDevice()
    made = model(device)
    made(images(1, 3, 8, 8))
    gc.collect()
    used = device.used
    device.failing_allocations = 1
    with pytest.raises(RunError, match="E0714"):
        made(images(1, 3, 16, 16))
    gc.collect()
    assert device.used == used
    assert made(images(1, 3, 16, 16)).shape == (1, 2)


# ------------------------------------------------------------------------------------------------------ a lost device


def test_a_device_that_stops_is_said_and_nothing_hangs() -> None:
    device = FakeDevice()
    made = model(device)
    x = images(1, 3, 8, 8)
    made(x)
    device.lose()
    for _ in range(2):
        with pytest.raises(DeviceLostError, match="Played H200 stopped: an illegal memory access") as caught:
            made(x)
        assert caught.value.code == "E0718"
    with pytest.raises(DeviceLostError):
        made(images(1, 3, 9, 9))
    with pytest.raises(DeviceLostError):
        list(made.stream([x, x]))


# ------------------------------------------------------------------------------------------------------------ batches


def test_a_stream_copies_beside_the_work() -> None:
    device = FakeDevice()
    made = model(device)
    batches = [images(2, 3, 8, 8) * scale for scale in (1, 2, 3, 4, 5)]
    expected = [made(batch) for batch in batches]
    list(made.stream(batches[:2]))  # graphs of two more slots are captured
    device.order.clear()
    found = list(made.stream(batches))
    for array, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, want)
    # Two batches are on their way before the first one comes back, and no copy waits for the whole device.
    assert device.order[:8] == ["up", "await copies", "hold copies", "down"] * 2
    assert "synchronize" not in device.order


def test_a_stream_of_batches_of_different_sizes_in_order() -> None:
    made = model()
    batches = [images(count, 3, size, size) for count, size in ((2, 8), (2, 8), (1, 8), (3, 10), (2, 8))]
    for array, batch in zip(made.stream(iter(batches)), batches, strict=True):
        np.testing.assert_array_equal(array, made(batch))


def test_a_stream_that_is_left_early_leaves_the_model_usable() -> None:
    made = model()
    batches = [images(2, 3, 8, 8)] * 4
    stream = made.stream(batches)
    first = next(stream)
    stream.close()
    for array in made.stream(batches):
        np.testing.assert_array_equal(array, first)
    assert list(made.stream([])) == []


def test_weights_that_change_are_used() -> None:
    made = model()
    x = images(1, 3, 8, 8)
    before = made(x)
    made.initialize(3, everything=True)
    assert np.abs(made(x) - before).max() > 1e-4


def test_taps_and_outputs_by_name() -> None:
    made = model()
    output, taps = made(images(2, 3, 8, 8), tap=["conv1"])
    assert output.shape == (2, 2) and taps["conv1"].shape == (2, 4, 8, 8)


def test_parts_of_a_run_can_be_timed() -> None:
    device = FakeDevice()
    found = executable(device)
    names = [name for name, _ in found.parts({"x": images(2, 3, 8, 8)})]
    assert names == ["x", *(step.name for step in found.program.steps)]
    for _, task in found.parts({"x": images(2, 3, 8, 8)}):
        assert device.time(task) >= 0
