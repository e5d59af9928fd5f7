"""netdsl bench: what it prints and refuses. How long anything takes is not tested."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from random_networks import values_of

import netdsl
from netdsl.bench import engines
from netdsl.bench.compare import BenchError, compare
from netdsl.bench.profile import profile
from netdsl.cli.main import run

SMALL = "network small {\n  input x: 3x12x12\n  conv(8, 3x3, padding = 1) -> batch_norm -> relu\n  unusual: upsample(2)\n  avg_pool(2) -> flatten -> dense(5)\n}"
QUICK = ["--rounds", "1", "--seconds", "0.01", "--threads", "1"]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "small.net").write_text(SMALL, encoding="utf-8")
    return str(tmp_path / "small.net")


def test_back_ends_side_by_side(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", spec, "--backend", "numpy,reference", "--batch", "2", "--format", "json", *QUICK]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["network"], found["batch"], found["threads"]) == ("small", 2, 1)
    assert [engine["engine"] for engine in found["engines"]] == ["numpy", "reference"]
    assert all(engine["ms"] > 0 and len(engine["rounds_ms"]) == 1 for engine in found["engines"])


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_every_step_has_a_time_and_its_operations(backend: str) -> None:
    net = netdsl.loads(SMALL)
    model = net.compile(backend=backend, threads=1)
    model.load(values_of(net.network))
    x = np.ones((2, 3, 12, 12), np.float32)
    expected = model(x)
    found = profile(model, {"x": x}, 1, 0.01)  # type: ignore[arg-type]
    steps = {step.name: step for step in found.steps}
    program = model.program(2)  # type: ignore[attr-defined]
    assert set(steps) >= {step.name for step in program.steps}
    assert all(step.seconds > 0 for step in found.steps) and found.peak > 0
    conv = program.steps[0]
    # 2 images, 8 filters of 3x3x3 at 144 places: 2 FLOPs for each product, and one for the bias that batch norm left.
    assert steps[conv.name].flops == 2 * 8 * 144 * (2 * 27 + 1)
    np.testing.assert_array_equal(model(x), expected)


def test_a_profile_as_a_table(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", spec, "--profile", "--backend", "numpy", "--top", "2", "--format", "markdown", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| Step | Kernel | Shape | ms | GFLOP/s") and len(lines) == 4


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["lenet5", "--backend", "nunpy"], 2, "did you mean `numpy`?"),
        (["lenet5", "--backend", ""], 2, "name one"),
        (["lenet5", "--against", "tensorflow"], 2, "onnxruntime, torch"),
        (["sobel_horizontal"], 2, "--shape"),
        (["lenet5", "--profile", "--backend", "reference"], 2, "has no steps"),
        (["lenet5", "--threads", "0"], 2, "--threads"),
        (["no_such_network"], 1, "no_such_network"),
    ],
)
def test_what_is_refused(arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *arguments]) == status
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("peer", sorted(engines.PEERS))
def test_an_engine_that_is_not_installed(
    peer: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netdsl.bench.compare.find_spec", lambda name: None)
    assert run(["bench", "lenet5", "--against", peer]) == 2
    error = capsys.readouterr().err
    assert f"pip install {' '.join(engines.PEERS[peer][1])}" in error and "Traceback" not in error


@pytest.mark.peer
@pytest.mark.parametrize("peer", sorted(engines.PEERS))
def test_against_a_peer(peer: str, spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    absent = [package for package in engines.PEERS[peer][1] if find_spec(package) is None]
    if absent:
        pytest.skip(f"{absent[0]} is not installed")
    if peer == "torch":
        spec = "lenet5"  # `upsample` has no counterpart there
    assert run(["bench", spec, "--backend", "numpy", "--against", peer, "--format", "csv", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["Engine", "numpy", peer]


def test_engines_that_differ_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    net = netdsl.loads(SMALL)
    model = net.compile(backend="numpy")
    model.load(values_of(net.network))
    monkeypatch.setitem(engines.PEERS, "liar", (liar, ()))
    monkeypatch.setattr("netdsl.bench.compare._apart", lambda name, engine, task: engine(task))
    with pytest.raises(BenchError, match="liar answers otherwise than numpy"):
        compare(model, {"x": np.ones((1, 3, 12, 12), np.float32)}, ["numpy"], ["liar"], 1, 1, 0.01)


def liar(task: engines.Task) -> engines.Answer:
    answer = engines.own("numpy", task)
    return engines.Answer(answer.seconds, [array + 1 for array in answer.outputs])
