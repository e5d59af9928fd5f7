"""Convolutions by cuDNN on a played device: what is asked of the library, with which addresses, and what becomes of it.

The library that is played computes each graph from its definition; the steps themselves are computed by layers in
float64. Whether the real library has plans is asked in `test_cudnn_plans.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_cudnn import PlayedCudnn

import netdsl
from netdsl.backends.cupy import cudnn, cudnn_conv
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.cudnn import CudnnError, Operation, Place
from netdsl.backends.cupy.cudnn_conv import CANDIDATE
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.fake_array import plain
from netdsl.backends.cupy.memory import Memory
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.passes import bind, run
from netdsl.program.ir import Program, Step
from netdsl.program.lower import lower
from netdsl.weights.store import WeightStore


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture(autouse=True)
def library(device: FakeDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PlayedCudnn:
    played = PlayedCudnn(device)
    monkeypatch.setattr(cudnn, "load", lambda: played)
    monkeypatch.setattr(cudnn_conv, "_HANDLES", {})
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    return played


def program_of(body: str, shape: str, batch: int = 2) -> Program:
    """A program whose weights are not at rest."""
    network = netdsl.loads(f"network n {{\n input x: {shape}\n {body}\n}}").network
    store = WeightStore(network)
    store.initialize(3)
    random = np.random.default_rng(4)
    values = {
        name: array + random.normal(0, 0.5, array.shape).astype(np.float32) if "bias" in name else array
        for name, array in store.values.items()
    }
    return lower(run(bind(network, values)), network.input_types(), batch)


def ready(program: Program, device: FakeDevice, precision: str = "float32", deterministic: bool = True) -> Context:
    kind = PRECISIONS[precision]
    context = Context(device, kind, Memory(program, device, kind.dtype), {}, deterministic)
    random = np.random.default_rng(5)
    plain(context.memory.arena).view(kind.dtype)[...] = random.normal(size=context.memory.arena.size // kind.itemsize)
    return context


def expected(step: Step, context: Context) -> Any:
    """The step by its layers, in float64, from the numbers in memory as they are rounded there."""

    def first(tensor: Any) -> Any:
        view = plain(context.view(tensor)).astype(np.float64)
        return np.moveaxis(view, -1, 1)

    kind = context.dtype
    weights = {name: array.astype(kind).astype(np.float64) for name, array in step.weights.items()}
    y = step.layer.forward(np, [first(step.inputs[0])], weights)
    if step.residual is not None:
        y = y + first(step.residual)
    if step.activation is not None:
        y = step.activation.forward(np, [y], {})
    return np.moveaxis(np.asarray(y), 1, -1)


CASES = {
    "3x3": ("conv(8, 3x3, padding = 1) -> relu", "4x7x6"),
    "stride": ("conv(8, 3x3, stride = 2, padding = 1)", "4x7x6"),
    "strides": ("conv(8, 5x3, stride = (2, 1), padding = (2, 0))", "4x9x6"),
    "uneven padding": ("conv(8, 3x3, stride = 2, padding = same) -> tanh", "4x8x6"),
    "dilation": ("conv(8, 3x3, dilation = 2, padding = 2, bias = false) -> silu", "4x9x9"),
    "1x1": ("conv(16, 1x1) -> relu6", "8x5x5"),
    "groups": ("conv(8, 3x3, groups = 2, padding = 1) -> relu", "4x5x5"),
    "depthwise": ("depthwise_conv(3x3, padding = 1) -> relu6", "8x6x6"),
    "multiplier": ("depthwise_conv(3x3, multiplier = 2) -> hard_swish", "4x6x6"),
    "residual": ("conv(8, 1x1) -> add { | conv(8, 3x3, padding = 1) | identity } -> relu", "8x5x5"),
    "covers the map": ("conv(8, 4x5) -> leaky_relu(0.1)", "8x4x5"),
    "sequence": ("conv(8, 3, padding = 1) -> sigmoid", "4x11"),
    "dense": ("flatten -> dense(12) -> hard_sigmoid", "8x2x2"),
    "dense along the channels": ("dense(12, axis = channels) -> elu", "8x3x3"),
    "lanes": ("concat { | conv(8, 1x1) -> gelu | conv(16, 3x3, padding = 1) -> relu }", "8x4x4"),
}
BOUNDS = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("case", CASES)
def test_steps(case: str, precision: str, device: FakeDevice) -> None:
    program = program_of(*CASES[case])
    context = ready(program, device, precision)
    met = 0
    for at, step in enumerate(program.steps):
        if not CANDIDATE.covers(program, at):
            continue
        assert CANDIDATE.supports([step], context.precision, device) is None
        launch = CANDIDATE.build([step], context, "")
        wanted = expected(step, context)
        launch.run()
        found = plain(context.view(step.output)).astype(np.float64)
        np.testing.assert_allclose(found, wanted, atol=BOUNDS[precision] * float(np.abs(wanted).max()), rtol=0)
        met += 1
    assert met


def test_nothing_else_is_written(device: FakeDevice) -> None:
    program = program_of(*CASES["lanes"])
    context = ready(program, device)
    step = program.steps[0]
    before = plain(context.memory.arena).copy()
    launch = CANDIDATE.build([step], context, "")
    launch.run()
    lane = plain(context.view(step.output)).copy()
    plain(context.view(step.output))[...] = 0
    after = plain(context.memory.arena).copy()
    plain(context.memory.arena)[...] = before
    plain(context.view(step.output))[...] = 0
    np.testing.assert_array_equal(after, plain(context.memory.arena))
    assert np.abs(lane).max() > 0


def test_a_launch_is_captured_and_replayed(device: FakeDevice) -> None:
    program = program_of(*CASES["residual"])
    context = ready(program, device)
    step = next(step for step in program.steps if step.residual is not None)
    launch = CANDIDATE.build([step], context, "")
    launch.run()
    wanted = plain(context.view(step.output)).copy()
    graph = device.capture(launch.run)
    plain(context.view(step.output))[...] = 0
    graph.launch()
    np.testing.assert_array_equal(plain(context.view(step.output)), wanted)
    assert launch.name == "cudnn conv+residual+bias+relu"


class TestPlans:
    """Which plan is taken."""

    def conv(self) -> tuple[Program, Step]:
        program = program_of(*CASES["3x3"])
        return program, program.steps[0]

    def test_variants_are_the_names_of_plans(self, device: FakeDevice) -> None:
        _, step = self.conv()
        found = CANDIDATE.variants([step], PRECISIONS["float16"], device)
        assert list(found) == ["fast_1", "loose_2", "plain_3"]
        assert list(CANDIDATE.variants([step], PRECISIONS["float32"], device)) == ["", *found]

    def test_without_a_name_the_first(self, device: FakeDevice, library: PlayedCudnn) -> None:
        program, step = self.conv()
        CANDIDATE.build([step], ready(program, device, "float16"), "")
        assert library.built == ["fast_1"]

    def test_float32_takes_no_tensor_cores_unless_tf32(self, device: FakeDevice, library: PlayedCudnn) -> None:
        program, step = self.conv()
        CANDIDATE.build([step], ready(program, device, "float32"), "")
        CANDIDATE.build([step], ready(program, device, "tf32"), "")
        assert library.built == ["plain_3", "fast_1"]

    def test_a_plan_that_fails_is_passed_over(self, device: FakeDevice, library: PlayedCudnn) -> None:
        program, step = self.conv()
        library.broken = {"fast_1"}
        CANDIDATE.build([step], ready(program, device, "float16"), "")
        assert library.built == ["plain_3"]
        with pytest.raises(ValueError, match="no plan fast_1"):
            CANDIDATE.build([step], ready(program, device, "float16"), "fast_1")

    def test_deterministic_mode(self, device: FakeDevice, library: PlayedCudnn) -> None:
        program, step = self.conv()
        with pytest.raises(ValueError, match="loose_2"):
            CANDIDATE.build([step], ready(program, device, "float16"), "loose_2")
        launch = CANDIDATE.build([step], ready(program, device, "float16", deterministic=False), "loose_2")
        assert library.built == ["loose_2"] and not launch.deterministic

    def test_no_plan_is_a_reason(self, device: FakeDevice, library: PlayedCudnn) -> None:
        program, step = self.conv()
        library.refuses = lambda graph: True
        assert CANDIDATE.variants([step], PRECISIONS["float16"], device) == [""]
        with pytest.raises(ValueError, match="cuDNN has no plan for conv\\+bias\\+relu: not supported"):
            CANDIDATE.build([step], ready(program, device, "float16"), "")

    def test_plans_are_kept_on_disk(self, device: FakeDevice, library: PlayedCudnn, tmp_path: Path) -> None:
        program, step = self.conv()
        first = ready(program, device, "float16")
        CANDIDATE.build([step], first, "").run()
        wanted = plain(first.view(step.output)).copy()
        again = ready(program, device, "float16")
        CANDIDATE.build([step], again, "").run()
        assert library.built == ["fast_1"] and library.restored == 1
        np.testing.assert_array_equal(plain(again.view(step.output)), wanted)
        # Another device has plans of its own.
        other = FakeDevice(replace(device.info, name="Another"))
        library.device = other
        CANDIDATE.build([step], ready(program, other, "float16"), "")
        assert len(library.built) == 2

    def test_damaged_plans_are_built_anew(self, device: FakeDevice, library: PlayedCudnn, tmp_path: Path) -> None:
        program, step = self.conv()
        CANDIDATE.build([step], ready(program, device, "float16"), "")
        (path,) = (tmp_path / "cupy").glob("*.entry")
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        CANDIDATE.build([step], ready(program, device, "float16"), "")
        library.kept.clear()  # another version of the library, which takes no plan of this one
        assert len(library.built) == 2 and library.restored == 0


def test_what_it_does_not_know(device: FakeDevice) -> None:
    def reason(body: str, shape: str, info: Any = None) -> str | None:
        program = program_of(body, shape)
        (step,) = (step for at, step in enumerate(program.steps) if CANDIDATE.covers(program, at))
        return CANDIDATE.supports([step], PRECISIONS["float32"], info or device)

    assert "spatial" in str(reason("conv(4, 3x3x3)", "4x5x5x5"))
    assert "along axis" in str(reason("dense(4, axis = height)", "4x5x5"))
    assert "sm_60" in str(reason("conv(4, 3x3)", "4x5x5", FakeDevice(replace(device.info, capability=(6, 0)))))
    assert "mish" in str(reason("conv(4, 3x3) -> mish", "4x5x5"))


def test_misaligned_tensors_are_refused(device: FakeDevice) -> None:
    # A lane of 3 channels puts the next one at 12 bytes.
    program = program_of("concat { | conv(3, 1x1) | conv(8, 1x1) }", "8x4x4")
    with pytest.raises(ValueError, match="multiple of 16"):
        CANDIDATE.build([program.steps[1]], ready(program, device), "")


def test_two_libraries_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "7f00-7f01 r-xp 00000000 08:01 1 /{}/libcudnn{}.so.9\n"
    maps = line.format("opt/a", "") + line.format("opt/a", "_graph") + "7f02-7f03 rw-p 00000000 00:00 0\n"
    assert cudnn.library_folders(maps) == {"/opt/a"}
    assert cudnn.clash({"/opt/a"}, "/opt/a") is None
    assert cudnn.clash(set(), "/opt/a") is None and cudnn.clash({"/opt/a"}, None) is None
    both = cudnn.library_folders(maps + line.format("usr/lib", ""))
    assert (
        cudnn.clash(both, None)
        == "two libcudnn would be in one process: /opt/a and /usr/lib; load one, or keep torch out"
    )


def test_without_the_library(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise CudnnError("nvidia-cudnn-frontend is not installed: pip install 'netdsl[cuda13]'")

    monkeypatch.setattr(cudnn, "load", absent)
    step = program_of(*CASES["3x3"]).steps[0]
    assert "pip install" in str(CANDIDATE.supports([step], PRECISIONS["float32"], device))


def test_the_front_end_is_not_imported_beside_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(cudnn, "_loaded", lambda: {"/opt/a"})
    monkeypatch.setattr(cudnn, "own_folder", lambda: "/opt/b")
    monkeypatch.setattr(cudnn.importlib, "import_module", lambda name: pytest.fail("imported"))
    with pytest.raises(CudnnError, match="two libcudnn"):
        cudnn.load.__wrapped__()


def test_names_for_people() -> None:
    place = Place.dense(1, 2, 3, 4)
    assert Operation("data", place, (1, 1, 1, 4), place, residual=place).name == "dx+residual"
    assert place.dims == [1, 4, 2, 3] and place.steps == [24, 1, 12, 4]
