"""LeNet-5 on the handwritten digits, as examples/digits.net trains it, in fewer epochs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import netdsl
from netdsl.cli.main import run
from netdsl.data.open import open_data
from netdsl.data.sources import Digits
from netdsl.train.log import records
from netdsl.train.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
SPEC = EXAMPLES / "digits.net"

sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")


def test_the_reader_has_the_layers_of_lenet5() -> None:
    reader, lenet = netdsl.load(f"{SPEC}@reader").network, netdsl.load("lenet5").network
    assert [(node.layer, node.type) for node in reader.nodes()] == [(node.layer, node.type) for node in lenet.nodes()]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs, of the thirty."""
    folder = tmp_path_factory.mktemp("runs") / "reader"
    assert Trainer(SPEC, "digits", settings=["epochs=4"], run=folder, threads=1).run().done
    return folder


def test_a_few_epochs_read_nine_of_ten_digits(run_folder: Path) -> None:
    epochs = [record for record in records(run_folder / "log.jsonl") if record["event"] == "epoch"]
    assert len(epochs) == 4
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 3
    assert epochs[-1]["validation_accuracy"] > 0.9


def test_a_picture_of_a_digit_is_read(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "digit.png"
    command = [sys.executable, EXAMPLES / "digit.py", picture, "12"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "scan 48, a 0, one of the 359 kept apart" in said
    with Image.open(picture) as opened:
        assert (opened.mode, opened.size) == ("L", (256, 256))
    weights = str(run_folder / "weights.safetensors")
    assert run(["run", str(SPEC), "--weights", weights, "--input", str(picture), "--format", "json"]) == 0
    (guesses,) = json.loads(capsys.readouterr().out)["results"][0]["outputs"].values()
    assert guesses["top"][0][0]["class_index"] == 0


def test_the_digit_that_is_read_is_one_that_was_kept_apart() -> None:
    data = open_data(Digits(validation=0.2), channels=1)
    assert data.validation is not None
    assert 48 in data.validation.indices and 48 not in data.training.indices
    # "Optical Recognition of Handwritten Digits", as scikit-learn has it: 1,797 scans.
    assert (len(data.training.indices), len(data.validation.indices)) == (1438, 359)
    assert sklearn.load_digits().target[48] == 0
