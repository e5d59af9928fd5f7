"""`netdsl compile`, and the back-ends of `netdsl run`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netdsl.cli.main import run
from netdsl.passes import PIPELINE


def test_the_steps_and_the_arena(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "lenet5", "--batch", "2"]) == 0
    text = capsys.readouterr().out
    assert "lenet5: image 2x32x32x1 -> fc3 2x10" in text
    assert "conv 5x5, 6 | tanh" in text and "Arena" in text and "side by side" in text


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "resnet18", "--format", "json", "--shape", "3x64x64"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [step["kernel"] for step in data["steps"]].count("conv") == 20
    assert data["arena_bytes"] < data["network_bytes"]


@pytest.mark.parametrize("name", [each.name for each in PIPELINE])
def test_the_network_after_any_pass(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "resnet18", "--after", name, "--format", "json"]) == 0
    kinds = [node["kind"] for node in json.loads(capsys.readouterr().out)["nodes"]]
    assert ("batch_norm" in kinds) == (name in ("drop_identities", "share_subexpressions", "standardize_weights"))


def test_the_kernels_of_a_back_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "resnet18", "--backend", "numpy"]) == 0
    text = capsys.readouterr().out
    assert "winograd 4x4" in text and "im2col" in text


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["compile", "lenet5", "--after", "fuse_epilogue"], 2, "did you mean `fuse_epilogues`?"),
        (["compile", "lenet5", "--backend", "nunpy"], 1, "did you mean `numpy`?"),
        (["compile", "lenet5", "--batch", "0"], 2, "--batch"),
        (["compile", "sobel_horizontal"], 2, "--shape"),
    ],
)
def test_what_is_refused(arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == status
    assert said in capsys.readouterr().err


def test_run_on_a_back_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32))
    found = {}
    for backend in ("reference", "numpy"):
        arguments = ["run", "lenet5", str(tmp_path / "x.npy"), "--random-weights", "1", "--backend", backend]
        assert run([*arguments, "--input", str(tmp_path / "x.npy"), "--format", "json"]) == 0
        results = json.loads(capsys.readouterr().out)["results"]
        found[backend] = [guess["class_index"] for guess in results[0]["outputs"]["fc3"]["top"][0]]
    assert found["reference"] == found["numpy"]
    assert run(["run", "lenet5", "--input", str(tmp_path / "x.npy"), "--random-weights", "1", "--backend", "cuda"]) == 1
    assert "E0716" in capsys.readouterr().err
