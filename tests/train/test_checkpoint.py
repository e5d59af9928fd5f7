"""Checkpoints: complete or not there, the newest few and the best kept, full disks survived."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import write

import netdsl
from netdsl.train import checkpoint
from netdsl.train.checkpoint import Checkpoints, Progress, finite, read
from netdsl.train.errors import TrainError
from netdsl.train.loop import Pace, Silent
from netdsl.train.trainer import Trainer

ROOT = Path(netdsl.__file__).resolve().parent.parent
ARRAYS = {
    "weights/a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "weights/n": np.array(7),
    "optimizer/v": np.zeros(0, np.float32),
}


def progress(step: int) -> Progress:
    return Progress(
        step=step,
        phase=1,
        phase_step=3,
        epoch=2,
        batch=5,
        sums={"loss": 0.1 + 0.2, "images": 8.0},
        best={"step": 3, "score": [0.5, -1.0]},
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    path = kept.save(progress(12), ARRAYS)
    assert sorted(each.name for each in path.iterdir()) == ["state.json", "state.safetensors"]
    loaded, notes = kept.load()
    assert loaded.progress == progress(12) and notes == []
    assert loaded.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
        assert loaded.arrays[name].dtype == array.dtype


@given(
    st.dictionaries(
        st.sampled_from(["loss", "right", "judged", "images"]), st.floats(allow_nan=False, allow_infinity=False)
    )
)
@settings(deadline=None, max_examples=30)
def test_sums_come_back_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, sums: dict[str, float]) -> None:
    folder = tmp_path_factory.mktemp("sums")
    Checkpoints(folder).save(Progress(step=1, sums=sums), {})
    assert Checkpoints(folder).load()[0].progress.sums == sums


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for step in range(1, 8):
        kept.save(progress(step), ARRAYS, keep=[3])
    assert [int(path.name) for path in sorted(tmp_path.iterdir())] == [3, 6, 7]


def test_the_same_step_twice(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for batch in range(3):
        state = progress(4)
        state.batch = batch
        kept.save(state, ARRAYS)
    assert kept.load()[0].progress.batch == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_half_written_does_not_count_and_is_removed(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(progress(1), ARRAYS)
    half = tmp_path / ".writing-abc"
    half.mkdir()
    (half / "state.json").write_text("{")
    assert kept.load()[0].progress.step == 1
    kept.save(progress(2), ARRAYS)
    assert not half.exists()


@pytest.mark.parametrize("failing", ["mkdir", "write", "fsync", "rename"])
def test_a_failure_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    kept = Checkpoints(tmp_path / "run" / "checkpoints")
    kept.folder.mkdir(parents=True)
    kept.save(progress(1), ARRAYS)

    def fail(*arguments: Any, **keywords: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    targets = {
        "mkdir": (Path, "mkdir"),
        "write": (checkpoint.safetensors_file, "write"),
        "fsync": (os, "fsync"),
        "rename": (Path, "rename"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*targets[failing], fail)
        with pytest.raises(TrainError) as caught:
            kept.save(progress(2), ARRAYS)
    assert caught.value.code == "E0972"
    assert "step 1" in caught.value.message and "--resume" in (caught.value.help or "")
    assert [path.name for path in kept.folder.iterdir()] == ["0000000001"]
    assert kept.load()[0].progress.step == 1


FULL = """
import resource, signal, sys
from pathlib import Path
from netdsl.cli.main import run
from netdsl.train import checkpoint

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
save = checkpoint.Checkpoints.save
count = 0

def counting(self, *arguments, **keywords):
    global count
    count += 1
    if count == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    return save(self, *arguments, **keywords)

checkpoint.Checkpoints.save = counting
sys.exit(run(["train", sys.argv[1], "plain", "--run", sys.argv[2], "--backend", "numpy", "--checkpoint-every", "2"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_file_system_that_takes_no_more(tmp_path: Path) -> None:
    """The operating system refuses to write in the middle of a checkpoint; with room again, the run goes on to the end."""
    spec, run = write(tmp_path), tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(spec), str(run)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "E0972" in done.stderr and "--resume" in done.stderr and "Traceback" not in done.stderr
    assert Trainer.resume(run).run().done
    other = tmp_path / "other"
    Trainer(spec, "plain", run=other, backend="numpy").run()
    assert (run / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_damage_is_an_error_of_one_kind(tmp_path_factory: pytest.TempPathFactory, file: str, data: Any) -> None:
    """Whatever byte is changed or cut: the checkpoint is refused, or (in the white space of the JSON) is the same."""
    folder = tmp_path_factory.mktemp("damage")
    path = Checkpoints(folder).save(progress(9), ARRAYS)
    content = bytearray((path / file).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] = data.draw(st.integers(0, 255))
    else:
        content = content[:place]
    (path / file).write_bytes(bytes(content))
    try:
        found = read(path)
    except TrainError as error:
        assert error.code == "E0973"
    else:
        assert isinstance(found.progress, Progress)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found.arrays[name], array)


def test_what_is_not_finite_is_named() -> None:
    assert finite({"a": np.ones(3), "b": np.array([1, np.inf]), "n": np.array(3)}) == "b"
    assert finite({"a": np.ones(3), "n": np.array(3)}) is None


def test_a_run_keeps_its_best_weights(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []

    class Listener(Silent):
        def epoch(self, record: Any) -> None:
            records.append(dict(record))

    trainer = Trainer(
        write(tmp_path), "plain", settings=["epochs=6"], run=tmp_path / "run", backend="numpy", pace=Pace()
    )
    result = trainer.run(Listener())
    best = max(records, key=lambda record: (record["validation_accuracy"], -record["validation_loss"]))
    assert result.best["epoch"] == best["epoch"]
    assert result.best["validation_accuracy"] == best["validation_accuracy"]
    steps = {int(path.name.partition(".")[0]) for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert best["step"] in steps
    saved = read(
        next(
            path
            for path in sorted((tmp_path / "run" / "checkpoints").iterdir())
            if int(path.name.partition(".")[0]) == best["step"]
        )
    )
    from netdsl.weights.files import read as read_weights

    for name, array in read_weights(tmp_path / "run" / "best.safetensors").items():
        np.testing.assert_array_equal(array, saved.arrays[f"weights/{name}"])
