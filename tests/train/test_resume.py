"""A run that is killed, at any moment, and resumed ends with the bits of one that was never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from small import write

import netdsl
from netdsl.train.checkpoint import Checkpoints
from netdsl.train.errors import TrainError
from netdsl.train.log import records
from netdsl.train.loop import Pace, Silent
from netdsl.train.trainer import Trainer

CHILD = Path(__file__).with_name("killed.py")
ROOT = Path(netdsl.__file__).resolve().parent.parent
PACE = Pace(checkpoint_steps=4, log_steps=1)

MOMENTS = [
    "step:1",  # before the first checkpoint behind a step
    "step:7",  # within an epoch
    "step:12",  # at a checkpoint
    "epoch:2",  # between the end of an epoch and its checkpoint
    "half:4",  # while the arrays are written
    "rename:5",  # complete, and not yet in place
    "clean:6",  # in place, and the old ones not yet removed
    "best:2",  # the best weights are newer than the checkpoint
    "step:22",  # in the second phase, on features
    "features:0",  # while features are written
]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(CHILD.parent), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path}


def child(spec: Path, run: Path, moment: str) -> int:
    done = subprocess.run(
        [sys.executable, str(CHILD), str(spec), str(run), moment],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def history(run: Path) -> list[dict[str, Any]]:
    """What the log says of steps and epochs, without times."""
    kept = [record for record in records(run / "log.jsonl") if record["event"] in ("step", "epoch", "phase")]
    return [
        {k: v for k, v in record.items() if k not in ("seconds", "images_per_second", "waited_seconds")}
        for record in kept
    ]


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unstopped")
    assert child(write(folder), folder / "run", "none") == 0
    return folder / "run"


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(moment: str, unstopped: Path, tmp_path: Path) -> None:
    spec, run = write(tmp_path), tmp_path / "run"
    assert child(spec, run, moment) == -signal.SIGKILL
    assert Trainer.resume(run, pace=PACE).run().done
    for name in ("weights.safetensors", "best.safetensors"):
        assert (run / name).read_bytes() == (unstopped / name).read_bytes(), name
    assert history(run) == history(unstopped)
    assert not list(run.rglob(".writing-*"))


def test_killed_again_and_again(unstopped: Path, tmp_path: Path) -> None:
    spec, run = write(tmp_path), tmp_path / "run"
    for moment in ("step:3", "half:1", "rename:1", "step:27"):
        assert child(spec, run, moment) == -signal.SIGKILL
    assert Trainer.resume(run, pace=PACE).run().done
    assert (run / "weights.safetensors").read_bytes() == (unstopped / "weights.safetensors").read_bytes()
    assert history(run) == history(unstopped)


def test_killed_from_outside(unstopped: Path, tmp_path: Path) -> None:
    """At a moment that nobody chose, by the command line."""
    spec, run = write(tmp_path), tmp_path / "run"
    command = [sys.executable, "-m", "netdsl", "train", str(spec), "whole", "--run", str(run), "--backend", "numpy"]
    options = ["--checkpoint-every", "4", "--log-every", "1"]
    process = subprocess.Popen(
        [*command, *options], env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    log = run / "log.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_text().count('"step"') > 6):
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert Trainer.resume(run, pace=PACE).run().done
    assert (run / "weights.safetensors").read_bytes() == (unstopped / "weights.safetensors").read_bytes()


class Stopper(Silent):
    """Presses Ctrl-C behind a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, progress: Any, sums: Any, lr: float) -> None:
        if progress.step == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("step", [2, 6, 18, 30])
def test_ctrl_c_makes_a_checkpoint(step: int, unstopped: Path, tmp_path: Path) -> None:
    trainer = Trainer(write(tmp_path), "whole", run=tmp_path / "run", backend="numpy", pace=PACE)
    result = trainer.run(Stopper(step))
    assert not result.done
    assert Checkpoints(tmp_path / "run" / "checkpoints").load()[0].progress.step == step
    resumed = Trainer.resume(tmp_path / "run", pace=PACE).run()
    assert resumed.done
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == (unstopped / "weights.safetensors").read_bytes()
    assert history(tmp_path / "run") == history(unstopped)


def test_workers_and_pace_change_nothing(unstopped: Path, tmp_path: Path) -> None:
    pace = Pace(checkpoint_steps=1000, log_steps=1)
    Trainer(write(tmp_path), "whole", run=tmp_path / "run", backend="numpy", workers=0, pace=pace).run()
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == (unstopped / "weights.safetensors").read_bytes()


def test_a_run_that_is_done_stays_done(unstopped: Path) -> None:
    before = (unstopped / "log.jsonl").read_bytes()
    result = Trainer.resume(unstopped).run()
    assert result.done and result.weights == unstopped / "weights.safetensors"
    assert (unstopped / "log.jsonl").read_bytes() == before


# ------------------------------------------------------------------------------------------------------- what changed


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, Path]:
    spec, run = write(tmp_path), tmp_path / "run"
    assert not Trainer(spec, "whole", run=run, backend="numpy", pace=PACE).run(Stopper(6)).done
    return spec, run


def complaint(run: Path) -> TrainError:
    with pytest.raises(TrainError) as caught:
        Trainer.resume(run).run()
    return caught.value


def test_a_changed_recipe_says_what_changed(stopped: tuple[Path, Path]) -> None:
    spec, run = stopped
    text = spec.read_text()
    spec.write_text(
        text.replace("phase all  { epochs 3", "phase all { epochs 5").replace("batch     8", "batch     16")
    )
    error = complaint(run)
    assert error.code == "E0975"
    assert set(error.notes) == {"batch: 8, now 16", "all.epochs: 3, now 5"}
    spec.write_text(text)
    assert Trainer.resume(run, pace=PACE).run().done


def test_a_changed_network_is_refused(stopped: tuple[Path, Path]) -> None:
    spec, run = stopped
    spec.write_text(spec.read_text().replace("conv(4, 3x3) ->", "conv(5, 3x3) ->"))
    assert complaint(run).code == "E0975"


def test_changed_data_is_refused(stopped: tuple[Path, Path]) -> None:
    import numpy as np

    spec, run = stopped
    with np.load(spec.parent / "shapes.npz") as found:
        np.savez(spec.parent / "shapes.npz", x=found["x"][:-1], y=found["y"][:-1])
    error = complaint(run)
    assert error.code == "E0975" and "data" in error.message


def test_a_checkpoint_of_another_network_is_refused(stopped: tuple[Path, Path], tmp_path: Path) -> None:
    _, run = stopped
    other = tmp_path / "other"
    other.mkdir()
    wider = write(other, (tmp_path / "small.net").read_text().replace("conv(4, 3x3) ->", "conv(5, 3x3) ->"))
    Trainer(wider, "whole", run=other / "run", backend="numpy", pace=PACE).run(Stopper(6))
    for path in sorted((run / "checkpoints").iterdir()):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    (newest,) = sorted((other / "run" / "checkpoints").iterdir())[-1:]
    newest.rename(run / "checkpoints" / newest.name)
    assert complaint(run).code == "E0976"


def test_a_damaged_checkpoint_is_passed_over(stopped: tuple[Path, Path], unstopped: Path) -> None:
    _, run = stopped
    newest = sorted((run / "checkpoints").iterdir())[-1]
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[-5] ^= 1
    (newest / "state.safetensors").write_bytes(bytes(data))
    notes: list[str] = []

    class Listener(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    Trainer.resume(run, pace=PACE).run(Listener())
    assert any("damaged" in note for note in notes)
    assert (run / "weights.safetensors").read_bytes() == (unstopped / "weights.safetensors").read_bytes()


SHAPES = json.dumps(
    {"format": 1, "asked": {"spec": "small.net", "recipe": None, "settings": [], "shapes": {"image": 3}, "backend": "numpy",
                            "threads": None, "workers": None, "features": None}}
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"format": 99}', '{"format": 1}', '{"format": 1, "asked": {"spec": 3}}', SHAPES, "[" * 100_000],
)
def test_a_run_file_that_is_none(stopped: tuple[Path, Path], text: str) -> None:
    _, run = stopped
    (run / "run.json").write_text(text)
    assert complaint(run).code == "E0973"


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"phase": 99},
        {"step": "3"},
        {"sums": {"loss": "x"}},
        {"best": 3},
        {"best": {"step": 3}},
        {"best": {"step": 3, "score": "ab"}},
        {"digest": "x"},
        {"done": 1},
    ],
)
def test_a_state_that_makes_no_sense(stopped: tuple[Path, Path], change: dict[str, Any]) -> None:
    _, run = stopped
    for path in (run / "checkpoints").iterdir():
        state = json.loads((path / "state.json").read_text())
        (path / "state.json").write_text(json.dumps(state | change))
    assert complaint(run).code == "E0973"


def test_no_run_and_no_checkpoint(tmp_path: Path, stopped: tuple[Path, Path]) -> None:
    assert complaint(tmp_path).code == "E0973"
    _, run = stopped
    for path in (run / "checkpoints").iterdir():
        (path / "state.json").unlink()
    assert complaint(run).code == "E0973"


def test_a_folder_in_use(stopped: tuple[Path, Path]) -> None:
    spec, run = stopped
    with pytest.raises(TrainError) as caught:
        Trainer(spec, "whole", run=run).run()
    assert caught.value.code == "E0974" and "--resume" in (caught.value.help or "")
    from netdsl.train.runs import Run

    with Run(run).lock():
        assert complaint(run).code == "E0974"


def test_a_folder_that_cannot_be_written_into(stopped: tuple[Path, Path]) -> None:
    _, run = stopped
    (run / "lock").unlink()
    (run / "lock").mkdir()  # permissions would not stop everybody
    assert complaint(run).code == "E0974"


def test_a_log_that_was_removed_is_begun_anew(stopped: tuple[Path, Path], unstopped: Path) -> None:
    _, run = stopped
    (run / "log.jsonl").unlink()
    assert Trainer.resume(run, pace=PACE).run().done
    assert history(run) == history(unstopped)[-len(history(run)) :]
    assert (run / "weights.safetensors").read_bytes() == (unstopped / "weights.safetensors").read_bytes()
