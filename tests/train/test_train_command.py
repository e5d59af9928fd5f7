"""`netdsl train` from outside: what is printed, what is written, the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import SPEC, write

import netdsl
from netdsl.cli.main import run as cli

ROOT = Path(netdsl.__file__).resolve().parent.parent
Capture = pytest.CaptureFixture[str]
FAST = ["--backend", "numpy"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    return tmp_path


def test_a_run_from_the_command_line(capsys: Capture) -> None:
    assert cli(["train", "small.net", "plain", *FAST]) == 0
    captured = capsys.readouterr()
    assert "runs/plain-1/best.safetensors" in captured.out
    assert "epoch 2/2" in captured.out and "accuracy" in captured.out and "images/s" in captured.out
    assert sorted(path.name for path in Path("runs/plain-1").iterdir()) == [
        "best.safetensors", "checkpoints", "lock", "log.jsonl", "run.json", "weights.safetensors",
    ]  # fmt: skip
    assert cli(["train", "small.net", "plain", *FAST]) == 0
    assert Path("runs/plain-2").is_dir()
    assert (
        Path("runs/plain-1/weights.safetensors").read_bytes() == Path("runs/plain-2/weights.safetensors").read_bytes()
    )
    assert cli(["train", "small.net", "plain", *FAST, "--seed", "9", "--run", "other"]) == 0
    assert Path("runs/plain-1/weights.safetensors").read_bytes() != Path("other/weights.safetensors").read_bytes()


def test_the_result_as_json(capsys: Capture) -> None:
    assert (
        cli(["train", "small.net", "plain", "--format", "json", "--set", "batch=16", "--set", "epochs=1", *FAST]) == 0
    )
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["done"], found["steps"], found["run"]) == (True, 3, "runs/plain-1")
    assert set(found["best"]) == {"step", "phase", "epoch", "validation_loss", "validation_accuracy"}
    assert captured.err == ""


def test_a_dry_run_trains_nothing(capsys: Capture) -> None:
    assert cli(["train", "small.net", "whole", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "45 images of 3 classes" in text and "36 steps in all" in text
    assert "195 numbers: fc" in text and "freeze all except fc" in text and "memory" in text and "on disk" in text
    assert not Path("runs").exists()
    assert cli(["train", "small.net", "whole", "--dry-run", "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [phase["trainable_parameters"] for phase in plan["phases"]] == [387, 195]


def test_the_finder_prints_a_suggestion(capsys: Capture) -> None:
    assert cli(["train", "small.net", "plain", "--find-lr", *FAST]) == 0
    assert "suggestion: lr" in capsys.readouterr().out
    assert cli(["train", "small.net", "whole", "--find-lr", "--format", "json", *FAST]) == 0
    assert json.loads(capsys.readouterr().out)["steepest"] > 0
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "SPEC"), (["small.net"], 1, "several recipes"), (["small.net", "plane"], 1, "`plain`"), (["nowhere.net"], 1, "nowhere.net"),
        (["--resume", "nowhere"], 1, "E0973"), (["small.net", "--resume", "runs"], 2, "--resume"),
        (["small.net", "plain", "--backend", "nupy"], 1, "numpy"), (["small.net", "plain", "--set", "btch=3"], 1, "`batch`"),
        (["small.net", "plain", "--set", "data=arrays('none.npz')"], 1, "none.npz"), (["small.net", "plain", "--threads", "0"], 2, "threads"),
        (["small.net", "plain", "--find-lr", "--picture", "x.txt"], 1, "E097"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said_in_a_few_words(capsys: Capture, arguments: list[str], status: int, words: str) -> None:
    assert cli(["train", *arguments]) == status
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
    assert not list(Path().glob("runs/*/checkpoints/*")), "nothing has been trained"


@pytest.mark.parametrize(
    ("images", "code"),
    [({}, "E0902"), ({"a": 3}, "E0903"), ({"a": 3, "b": 0}, "E0904"), ({"a": 3, "b": 3}, "E0906")],
    ids=["no folders", "one class", "an empty class", "too few classes"],
)
def test_folders_that_cannot_be_trained_on(capsys: Capture, images: dict[str, int], code: str) -> None:
    Path("images").mkdir()
    for name, count in images.items():
        Path("images", name).mkdir()
        for number in range(count):
            Image.new("L", (6, 6), 40 * number).save(f"images/{name}/{number}.png")
    assert cli(["train", "small.net", "plain", "--set", 'data=folder("images")', *FAST]) == 1
    error = capsys.readouterr().err
    assert code in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("labels", "code"), [([0, 1, 2, 3], "E0906"), ([0, 1, 2, -1], "E0906"), ([0, 0, 0, 0], "E0904")]
)
def test_labels_out_of_range(capsys: Capture, labels: list[int], code: str) -> None:
    np.savez("bad.npz", x=np.zeros((4, 6, 6), np.uint8), y=np.array(labels))
    assert cli(["train", "small.net", "plain", "--set", 'data=arrays("bad.npz", classes = 3)', *FAST]) == 1
    error = capsys.readouterr().err
    assert code in error and "Traceback" not in error


def test_a_diverging_run_ends_with_status_1(capsys: Capture) -> None:
    Path("small.net").write_text(SPEC.replace(" -> bn1: batch_norm", ""))
    assert cli(["train", "small.net", "plain", "--set", "lr=1e30", *FAST]) == 1
    error = capsys.readouterr().err
    assert "E0971" in error and "step" in error and "Traceback" not in error


def test_ctrl_c_says_how_to_go_on(inside: Path) -> None:
    """A real signal to a real process, which finishes its step, saves and ends with 130."""
    command = [
        sys.executable,
        "-m",
        "netdsl",
        "train",
        "small.net",
        "plain",
        "--set",
        "epochs=2000",
        "--run",
        "long",
        *FAST,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=inside, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = inside / "long" / "log.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_text().count('"epoch"') > 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "netdsl train --resume long" in error and "Traceback" not in error
    states = sorted((inside / "long" / "checkpoints").iterdir())
    assert json.loads((states[-1] / "state.json").read_text())["step"] > 5
    assert cli(["train", "--resume", "long", "--dry-run"]) == 0


def test_a_log_for_tensorboard(capsys: Capture) -> None:
    pytest.importorskip("tensorboardX")
    assert cli(["train", "small.net", "plain", "--tensorboard", *FAST]) == 0
    (events,) = Path("runs/plain-1/tensorboard").iterdir()
    assert b"epoch/validation_loss" in events.read_bytes()


def test_a_missing_extra_is_said_before_anything_runs(inside: Path) -> None:
    script = (
        "import sys\nsys.modules['tensorboardX'] = None\nfrom netdsl.cli.main import run\n"
        "sys.exit(run(['train', 'small.net', 'plain', '--tensorboard']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=inside, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "netdsl[tensorboard]" in done.stderr and "Traceback" not in done.stderr
    assert not (inside / "runs").exists()


def test_from_python() -> None:
    trainer = netdsl.Trainer("small.net", "plain", run="here", backend="numpy")
    result = trainer.run()
    assert result.done and result.weights == Path("here/weights.safetensors")
    model = netdsl.load("small.net").compile()
    model.load(result.weights)


def test_damaged_images_are_named_and_left_out_where_that_is_asked_for(capsys: Capture) -> None:
    for name in ("a", "b", "c"):
        Path("images", name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (6, 6), 40 * number).save(f"images/{name}/{number}.png")
    Path("images/b/9.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    data = 'data=folder("images", validation = 25%'
    assert cli(["train", "small.net", "plain", "--set", f"{data})", *FAST]) == 1
    assert "b/9.png" in capsys.readouterr().err
    assert not Path("runs").exists()
    assert cli(["train", "small.net", "plain", "--set", f"{data}, corrupt = skip)", *FAST]) == 0
    assert "damaged images that are left out, 1: b/9.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "code"), [('data folder("nowhere")', "E0901"), ('data digits; weights "none.npz"', "E0701")]
)
def test_what_is_missing_is_shown_in_the_recipe(entry: str, code: str, capsys: Capture) -> None:
    pytest.importorskip("sklearn")
    page = "network tiny() {\n  input image: 1x8x8\n  flatten -> dense(10)\n}\n"
    Path("missing.net").write_text(
        f"{page}recipe learn for tiny {{\n  {entry}\n  optimizer sgd(lr = 0.1)\n  epochs 1\n}}\n"
    )
    assert cli(["train", "missing.net"]) == 1
    message = capsys.readouterr().err
    last = entry.split("; ")[-1]
    assert code in message and "missing.net:6:" in message and "^" * len(last) in message
