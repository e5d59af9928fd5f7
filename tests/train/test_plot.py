"""Plots: the curves that a log holds, the file that is written, and what is said where there is nothing to draw."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import netdsl
from netdsl.cli.main import run as cli
from netdsl.train.errors import TrainError
from netdsl.train.plot import Curves, ceiling, curves

ROOT = Path(netdsl.__file__).resolve().parent.parent


def run_of(folder: Path, epochs: int, phases: int = 1) -> Path:
    folder.mkdir()
    lines = [{"event": "start", "step": 0}]
    for phase in range(phases):
        lines.append({"event": "phase", "phase": f"p{phase}"})
        for epoch in range(epochs):
            lines.append({"event": "step", "step": epoch, "loss": 9.0})
            lines.append({"event": "epoch", "epoch": epoch + 1, "loss": 1 / (epoch + 1 + phase), "accuracy": 0.5,
                          "validation_loss": 2.0, "validation_accuracy": 0.25 * epoch})  # fmt: skip
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_curves_run_over_the_epochs_of_all_phases(tmp_path: Path) -> None:
    found = curves(run_of(tmp_path / "a", 3, phases=2))
    assert found.name == "a"
    assert found.loss == ([1, 2, 3, 4, 5, 6], pytest.approx([1, 1 / 2, 1 / 3, 1 / 2, 1 / 3, 1 / 4]))
    assert found.validation_accuracy[1] == [0, 0.25, 0.5, 0, 0.25, 0.5]
    assert found.phases == (("p0", 0), ("p1", 3))


def test_a_line_that_is_being_written_does_not_count(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "a", 2)
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"event": "epoch", "loss": 0.')
    assert len(curves(folder).loss[0]) == 2


@pytest.mark.parametrize("text", ["", '{"event": "start"}\n', "hello\n", "[1]\n", "\0\n", "[" * 50_000 + "\n"])
def test_logs_without_curves(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(TrainError) as caught:
        curves(tmp_path)
    assert caught.value.code == "E0979"


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainError) as caught:
        curves(tmp_path)
    assert caught.value.code == "E0979"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_several_runs_in_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    pytest.importorskip("matplotlib")
    runs = [str(run_of(tmp_path / name, 3)) for name in ("plain", "residual")]
    target = tmp_path / f"curves.{suffix}"
    assert cli(["plot", *runs, "-o", str(target)]) == 0
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert target.read_bytes().startswith(start)
    if suffix == "svg":
        assert all(f"<!-- {name}: training -->" in target.read_text() for name in ("plain", "residual"))
    assert "plain: 3 epochs" in capsys.readouterr().out


def test_a_picture_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    run = str(run_of(tmp_path / "a", 2))
    for target in ("x.txt", "nowhere/x.png"):
        assert cli(["plot", run, "-o", str(tmp_path / target)]) == 1
        assert "E0978" in capsys.readouterr().err


def test_a_missing_extra_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", 2)
    script = (
        "import sys\nsys.modules['matplotlib'] = None\nfrom netdsl.cli.main import run\n"
        f"sys.exit(run(['plot', {str(run)!r}, '-o', {str(tmp_path / 'x.png')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "netdsl[plot]" in done.stderr and "Traceback" not in done.stderr


def test_a_few_losses_beyond_all_others_do_not_flatten_the_picture() -> None:
    def of(loss: list[float], validation: list[float]) -> Curves:
        epochs = [float(epoch) for epoch in range(len(loss))]
        return Curves("run", (epochs, loss), ([], []), (epochs, validation), ([], []), ())

    assert ceiling([of([2.0, 1.0], [2.5, 1.5])]) is None
    assert ceiling([of([2.0, 1.0], [48_500.0, 1.5])]) == pytest.approx(2.3)
    assert ceiling([of([2.0, 1.0], [float("nan"), float("inf")])]) is None
    assert ceiling([of([2.0], [])]) is None
