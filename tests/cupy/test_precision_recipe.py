"""The entry `precision` of a recipe: what is understood, what is wrong, what the CPU makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdsl.backends.cupy import backend as cupy_backend
from netdsl.backends.cupy.backend import CupyBackend
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.errors import RunError
from netdsl.language.diagnostics import SpecError
from netdsl.train.fast import build_engine
from netdsl.train.find import find_job
from netdsl.train.loop import Silent
from netdsl.train.losses import CrossEntropy
from netdsl.train.trainer import Trainer

SPEC = """
network tiny {
  input image: 1x6x6
  conv(4, 3x3, bias = false) -> batch_norm -> relu -> flatten
  fc: dense(3)
}
recipe learn for tiny {
  data arrays("data.npz", validation = 20%)
  batch 8
  epochs 2
  PRECISION
  optimizer sgd(lr = 0.05, momentum = 0.9)
  ema 0.9
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 40)
    images = random.normal(size=(40, 1, 6, 6)).astype(np.float32) + labels[:, None, None, None].astype(np.float32)
    np.savez(tmp_path / "data.npz", x=images, y=labels)
    return tmp_path


def spec(folder: Path, entry: str) -> Path:
    path = folder / "tiny.net"
    path.write_text(SPEC.replace("PRECISION", entry), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["float32", "tf32", "bfloat16", "float16"])
def test_it_is_understood(name: str, folder: Path) -> None:
    recipe = find_job(spec(folder, f"precision {name}"), "learn").recipe
    assert recipe.precision == name
    assert recipe.describe().get("precision", "float32") == name


def test_without_the_entry_a_recipe_is_described_as_before(folder: Path) -> None:
    recipe = find_job(spec(folder, ""), "learn").recipe
    assert recipe.precision == "float32" and "precision" not in recipe.describe()


def test_it_can_be_set_from_outside(folder: Path) -> None:
    assert find_job(spec(folder, ""), "learn", settings=["precision=float16"]).recipe.precision == "float16"


@pytest.mark.parametrize(
    "entry", ["precision float8", "precision 16", "precision float16 float32", 'precision "float16"']
)
def test_what_is_no_precision(entry: str, folder: Path) -> None:
    with pytest.raises(SpecError, match="it takes one of float32, tf32, bfloat16, float16"):
        find_job(spec(folder, entry), "learn")


class Heard(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_cpu_trains_in_float32_and_says_so(folder: Path) -> None:
    heard = Heard()
    Trainer(spec(folder, "precision bfloat16"), "learn", run=folder / "run", backend="numpy").run(heard)
    assert any(re.search("precision bfloat16 is for a GPU: numpy trains in float32", note) for note in heard.notes)


def test_an_engine_of_the_cpu_refuses_it(folder: Path) -> None:
    from netdsl.weights.store import WeightStore

    network = find_job(spec(folder, ""), "learn").network
    store = WeightStore(network)
    store.initialize(0)
    with pytest.raises(RunError, match="trains in float32, not in float16"):
        build_engine(network, store, ["fc.weight"], CrossEntropy(), backend="numpy", precision="float16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_whole_run_on_a_played_device(precision: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs, validation, checkpoints, the moving average: as on the CPU."""
    monkeypatch.setattr(cupy_backend, "BACKEND", CupyBackend(played=FakeDevice()))
    path = spec(folder, f"precision {precision}")
    there = Trainer(path, "learn", run=folder / "there", backend="cupy").run()
    here = Trainer(path, "learn", run=folder / "here", backend="numpy").run()
    assert there.done and here.done
    mine, wanted = (_weights(run) for run in (there, here))
    for name, array in wanted.items():
        bound = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2}[precision]
        np.testing.assert_allclose(mine[name], array, atol=bound * max(0.1, float(np.abs(array).max())), err_msg=name)


def _weights(run: Any) -> dict[str, Any]:
    from netdsl.weights.files import read

    return {name: np.asarray(array, np.float64) for name, array in read(run.weights).items()}
