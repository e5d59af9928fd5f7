"""Selection of kernels on a played device with times that are told to it; what is kept of it on disk."""

from __future__ import annotations

import os
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import netdsl
from netdsl.backends.cupy import autotune, choice
from netdsl.backends.cupy.autotune import Autotuner, checked_mode, described
from netdsl.backends.cupy.choice import Launch, Option
from netdsl.backends.cupy.device import Task
from netdsl.backends.cupy.errors import DeviceLostError
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.backends.cupy.shelf import Shelf, identity
from netdsl.backends.errors import RunError
from netdsl.passes import bind, run
from netdsl.program.ir import Program, Step
from netdsl.program.lower import lower
from netdsl.weights.store import WeightStore


class Timed(FakeDevice):
    """A device whose launches take as long as `table` says, by label; each may be a list, of which the last stays."""

    def __init__(self, table: dict[str, float | list[float]], **facts: Any) -> None:
        super().__init__(**facts)
        self.table = table
        self.now = ""
        self.measured: list[str] = []

    def time(self, run: Task, repeats: int = 1) -> float:
        run()
        self.measured.append(self.now)
        value = self.table[self.now]
        if isinstance(value, list):
            value = value.pop(0) if len(value) > 1 else value[0]
        return value * repeats


def program_of(body: str = "conv(8, 3x3, padding = 1) -> relu -> global_avg_pool", shape: str = "4x6x6") -> Program:
    network = netdsl.loads(f"network n {{\n input x: {shape}\n {body}\n}}").network
    store = WeightStore(network)
    store.initialize(3)
    return lower(run(bind(network, store.values)), network.input_types(), 2)


def builder(device: Timed, broken: Sequence[str] = (), packs: dict[Any, Any] | None = None) -> Any:
    built: list[str] = []

    def build(option: Option) -> Launch:
        label = option.label
        if label in broken:
            raise ValueError("no such plan")
        built.append(label)
        if packs is not None:
            packs[option.steps[0].name, label] = "weights"

        def launch() -> None:
            device.now = (
                f"{label} {option.steps[0].kernel}" if f"{label} {option.steps[0].kernel}" in device.table else label
            )

        return Launch(label, launch)

    build.built = built  # type: ignore[attr-defined]
    return build


def offers(step: Step, *labels: str) -> list[Option]:
    split = [label.partition(":") for label in labels]
    return [Option(name, variant, (step,)) for name, _, variant in split]


@pytest.fixture
def step() -> Step:
    return program_of().steps[0]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "cupy")


FLOAT = PRECISIONS["float32"]


def test_the_fastest_is_taken(step: Step, shelf: Shelf) -> None:
    device = Timed({"plain": 3.0, "cudnn:a": 2.0, "cudnn:b": 1.0, "own": 1.5})
    tuner = Autotuner(device, FLOAT, "full", shelf=shelf)
    option, launch = tuner(offers(step, "cudnn:a", "cudnn:b", "own", "plain"), builder(device))
    assert option.label == launch.name == "cudnn:b"
    assert tuner.found[0].milliseconds == {"plain": 3.0, "cudnn:a": 2.0, "cudnn:b": 1.0, "own": 1.5}
    assert tuner.found[0].steps == (step.name,) and not tuner.found[0].kept


def test_the_median_decides_and_rounds_interleave(step: Step, shelf: Shelf) -> None:
    # `own` meets a slow moment once, and `plain` a quick one.
    device = Timed({"plain": [1, 1, 0.1, 1.2, 1.2], "own": [1, 1, 9, 1.0, 1.0]})
    tuner = Autotuner(device, FLOAT, "full", shelf=shelf)
    assert tuner(offers(step, "own", "plain"), builder(device))[0].label == "own"
    assert device.measured[-8:] == ["own", "plain"] * 4


def test_the_hopeless_are_not_measured_on(step: Step, shelf: Shelf) -> None:
    device = Timed({"plain": 10.0, "own": 1.0, "cudnn:a": 1.5})
    Autotuner(device, FLOAT, "full", shelf=shelf)(offers(step, "cudnn:a", "own", "plain"), builder(device))
    assert device.measured.count("plain") == 5 and device.measured.count("cudnn:a") == 3 + autotune.ROUNDS["full"]


def test_short_launches_are_repeated(step: Step, shelf: Shelf) -> None:
    device = Timed({"plain": 0.05, "own": 0.001})
    runs: list[str] = []
    build = builder(device)

    def counting(option: Option) -> Launch:
        launch = build(option)
        return replace(launch, run=lambda: (runs.append(option.label), launch.run())[0])

    original = device.time
    device.time = lambda run, repeats=1: (runs.extend([""] * repeats), original(run, repeats))[1]  # type: ignore[method-assign]
    tuner = Autotuner(device, FLOAT, "quick", shelf=shelf)
    tuner(offers(step, "own", "plain"), counting)
    assert runs.count("") > 64  # own: 64 times in one measurement
    assert tuner.found[0].milliseconds == pytest.approx({"own": 0.001, "plain": 0.05})


def test_quick_times_few_variants(step: Step, shelf: Shelf) -> None:
    labels = [f"cudnn:{n}" for n in range(9)]
    device = Timed({"plain": 5.0, **{label: 9.0 - n for n, label in enumerate(labels)}})
    quick = Autotuner(device, FLOAT, "quick", shelf=shelf)(offers(step, *labels, "plain"), builder(device))[0]
    assert quick.label == "plain" and set(device.measured) == {"plain", *labels[:3]}
    assert (
        Autotuner(device, FLOAT, "full", shelf=shelf)(offers(step, *labels, "plain"), builder(device))[0].label
        == "cudnn:8"
    )


def test_off_takes_the_first_that_can_be_built(step: Step, shelf: Shelf) -> None:
    device = Timed({})
    tuner = Autotuner(device, FLOAT, "off", shelf=shelf)
    assert tuner(offers(step, "cudnn:a", "own", "plain"), builder(device, ["cudnn:a"]))[0].label == "own"
    assert not device.measured and not tuner.found


def test_what_cannot_be_built_or_run_is_left_out(step: Step, shelf: Shelf) -> None:
    device = Timed({"plain": 3.0, "own": 1.0})  # no time for `wrong`: it fails when it runs
    tuner = Autotuner(device, FLOAT, "quick", shelf=shelf)
    option, _ = tuner(offers(step, "cudnn:a", "wrong", "own", "plain"), builder(device, ["cudnn:a"]))
    assert option.label == "own" and set(tuner.found[0].milliseconds) == {"own", "plain"}


def test_a_lost_device_is_told(step: Step, shelf: Shelf) -> None:
    device = Timed({"plain": 3.0, "own": 1.0})

    def build(option: Option) -> Launch:
        return Launch(option.label, lambda: device.check())

    device.lose()
    with pytest.raises(DeviceLostError):
        Autotuner(device, FLOAT, "quick", shelf=shelf)(offers(step, "own", "plain"), build)


class TestKept:
    def tuned(self, device: Timed, step: Step, shelf: Shelf, mode: Any = "quick", **facts: Any) -> tuple[str, bool]:
        tuner = Autotuner(device, facts.pop("precision", FLOAT), mode, shelf=shelf, **facts)
        option, _ = tuner(offers(step, "own:a", "own:b", "plain"), builder(device))
        return option.label, tuner.found[0].kept

    def device(self, **facts: Any) -> Timed:
        return Timed({"plain": 3.0, "own:a": 2.0, "own:b": 1.0}, **facts)

    def test_results_are_read_again(self, step: Step, shelf: Shelf) -> None:
        assert self.tuned(self.device(), step, shelf) == ("own:b", False)
        later = Timed({})
        assert self.tuned(later, step, shelf) == ("own:b", True) and not later.measured

    def test_by_step_device_precision_libraries_and_mode(self, step: Step, shelf: Shelf) -> None:
        self.tuned(self.device(), step, shelf)
        info = self.device().info
        others: list[tuple[Timed, Step, dict[str, Any]]] = [
            (self.device(info=replace(info, name="Another")), step, {}),
            (self.device(info=replace(info, driver=(12, 4))), step, {}),
            (self.device(info=replace(info, library="cupy 99")), step, {}),
            (self.device(), step, {"precision": PRECISIONS["float16"]}),
            (self.device(), step, {"libraries": ("cudnn 9.99",)}),
            (self.device(), step, {"deterministic": False}),
            (self.device(), program_of("conv(8, 3x3) -> relu").steps[0], {}),
            (self.device(), program_of("conv(8, 3x3, padding = 1) -> relu6").steps[0], {}),
        ]
        for device, other, facts in others:
            assert self.tuned(device, other, shelf, **facts) == ("own:b", False)
        # The same kind of step elsewhere, with other weights and another name, is the same.
        again = program_of("a: conv(8, 3x3, padding = 1) -> relu -> max_pool(2x2)").steps[0]
        assert self.tuned(Timed({}), again, shelf) == ("own:b", True)

    def test_damaged_entries_are_measured_anew(self, step: Step, shelf: Shelf) -> None:
        self.tuned(self.device(), step, shelf)
        (path,) = Path(str(shelf.place)).glob("*.entry")
        whole = path.read_bytes()
        for data in (b"", whole[:40], whole[:-1], whole[:-3] + b"9" + whole[-2:], b"x" + whole):
            path.write_bytes(data)
            assert self.tuned(self.device(), step, shelf) == ("own:b", False)

    @pytest.mark.parametrize(
        "entry", [{}, {"format": 1, "chosen": "own:z", "milliseconds": {}}, {"format": 1, "chosen": "own:a", "milliseconds": [1]},
                  {"format": 1, "chosen": "own:a", "milliseconds": {"own:a": "x"}}, {"format": 9, "chosen": "own:a", "milliseconds": {}}],
    )  # fmt: skip
    def test_entries_of_another_kind(
        self, entry: dict[str, Any], step: Step, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Shelf, "read_json", lambda self, key: entry)
        assert self.tuned(self.device(), step, shelf) == ("own:b", False)

    def test_a_choice_that_can_no_longer_be_built(self, step: Step, shelf: Shelf) -> None:
        self.tuned(self.device(), step, shelf)
        device = self.device()
        tuner = Autotuner(device, FLOAT, "quick", shelf=shelf)
        option, _ = tuner(offers(step, "own:a", "own:b", "plain"), builder(device, ["own:b"]))
        assert option.label == "own:a"


def test_weights_of_losers_are_let_go(step: Step, shelf: Shelf) -> None:
    packs: dict[Any, Any] = {"before": 1}
    device = Timed({"plain": 3.0, "own": 1.0})
    Autotuner(device, FLOAT, "quick", shelf=shelf, packs=packs)(
        offers(step, "own", "plain"), builder(device, packs=packs)
    )
    assert packs == {"before": 1, (step.name, "own"): "weights"}


class Pair:
    """A candidate that computes a convolution together with the pool behind it; and one for pools alone."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def covers(self, program: Program, at: int) -> int:
        return int(program.steps[at].kernel == self.kind)

    def supports(self, steps: Any, precision: Any, device: Any) -> str | None:
        return None

    def variants(self, steps: Any, precision: Any, device: Any) -> list[str]:
        return [""]


@pytest.mark.parametrize(("together", "chosen"), [(3.0, "pair"), (5.0, "own")])
def test_several_steps_at_once(together: float, chosen: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = program_of().steps
    monkeypatch.setitem(choice.CANDIDATES, "pool", "played_pool")
    monkeypatch.setattr(autotune, "CANDIDATES", {"pool": "played_pool"})
    monkeypatch.setitem(
        __import__("sys").modules, "played_pool", types.SimpleNamespace(CANDIDATE=Pair("global_avg_pool"))
    )
    # One by one: 2.5 for the convolution and 2 for the pool, whose plain form takes 9.
    table = {"pair": together, "own conv": 2.5, "plain conv": 4.0, "pool": 2.0, "plain global_avg_pool": 9.0}
    device = Timed(table)
    tuner = Autotuner(device, FLOAT, "quick", shelf=shelf)
    options = [Option("pair", "", (first, second)), Option("own", "", (first,)), Option("plain", "", (first,))]
    option, _ = tuner(options, builder(device))
    assert option.label == chosen
    assert tuner.found[0].milliseconds == {"pair": together, "own": 4.5, "plain": 6.0}


def test_modes() -> None:
    assert [checked_mode(mode) for mode in autotune.MODES] == ["off", "quick", "full"]
    with pytest.raises(RunError, match="autotune is fast"):
        checked_mode("fast")


def test_a_step_is_described_by_what_its_time_depends_on() -> None:
    step = program_of().steps[0]
    assert "from 0" in described(step) and step.name not in described(step).split("|")[0]
    moved = replace(step, output=replace(step.output, offset=3))
    assert described(moved) != described(step) == described(replace(step, number=7))


class TestShelf:
    """Entries on disk."""

    def test_entries(self, shelf: Shelf) -> None:
        shelf.write("a", b"body")
        assert shelf.read("a") == b"body" and shelf.read("b") is None
        shelf.write_json("c", {"x": 1})
        assert shelf.read_json("c") == {"x": 1} and shelf.read_json("a") is None
        assert shelf.clear() == 2 and shelf.read("a") is None

    def test_one_that_was_renamed_is_foreign(self, shelf: Shelf) -> None:
        shelf.write("a", b"one")
        (first,) = Path(str(shelf.place)).glob("*.entry")
        shelf.write("b", b"two")
        (second,) = (path for path in Path(str(shelf.place)).glob("*.entry") if path != first)
        first.replace(second)
        assert shelf.read("b") is None

    @pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs owners of files")
    def test_what_others_can_write_is_not_read(self, shelf: Shelf) -> None:
        shelf.write("a", b"one")
        place = Path(str(shelf.place))
        (path,) = place.glob("*.entry")
        path.chmod(0o666)
        assert shelf.read("a") is None
        path.chmod(0o600)
        assert shelf.read("a") == b"one"
        place.chmod(0o777)
        assert shelf.read("a") is None
        shelf.write("b", b"two")
        assert len(list(place.iterdir())) == 1

    def test_the_oldest_go_first(self, tmp_path: Path) -> None:
        shelf = Shelf(tmp_path / "cupy", 1000)
        for number, name in enumerate("abcd"):
            shelf.write(name, bytes(300))
            for path in (tmp_path / "cupy").glob("*.entry"):
                if path.stat().st_mtime > 1e6:
                    os.utime(path, (number, number))
        assert shelf.read("a") is not None  # used now
        shelf.sweep()
        assert [shelf.read(name) is not None for name in "abcd"] == [True, False, False, True]
        shelf.write("large", bytes(2000))
        assert shelf.read("large") is None

    def test_entries_are_taken_elsewhere(self, shelf: Shelf, tmp_path: Path) -> None:
        shelf.write_json("a", {"key": "a", "x": 1})
        shelf.write_json("b", {"key": "another", "x": 2})
        shelf.write("c", b"plan")
        assert shelf.records() == [{"key": "a", "x": 1}]
        other = Shelf(tmp_path / "other")
        for record in (*shelf.records(), {"x": 1}, "text", {"key": 3}):
            other.put_back(record)
        assert other.records() == shelf.records()
        other.put_back({"key": "a", "x": 9})
        assert other.read_json("a") == {"key": "a", "x": 1}

    def test_no_cache(self) -> None:
        shelf = Shelf(None)
        shelf.write("a", b"x")
        assert shelf.read("a") is None and shelf.bytes == 0

    def test_who_writes_at_the_same_time_sees_whole_entries(self, shelf: Shelf) -> None:
        other = Shelf(shelf.place)
        shelf.write("a", b"x" * 1000)
        other.write("a", b"y" * 1000)
        assert shelf.read("a") == b"y" * 1000 and not list(Path(str(shelf.place)).glob("*.part"))

    def test_identity(self) -> None:
        info = FakeDevice().info
        assert "sm_90" in identity(info, "cudnn 9.1") and identity(info, "a") != identity(info, "b")
