"""`netdsl weights`, and weights of every format for `netdsl run`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netdsl.cli.main import run
from netdsl.weights import read, write

Capture = pytest.CaptureFixture[str]
FIXTURES = Path(__file__).resolve().parent.parent / "weights" / "fixtures"

TINY = """network tiny {
  input image: 1x4x4
  conv: conv(2, 3x3, bias = false) -> bn: batch_norm -> relu
  flatten
  fc: dense(3)
}
"""
ARRAYS = {
    "conv.weight": np.ones((2, 1, 3, 3), np.float32), "bn.weight": np.ones(2, np.float32),
    "bn.bias": np.zeros(2, np.float32), "bn.running_mean": np.zeros(2, np.float32),
    "bn.running_var": np.ones(2, np.float32), "bn.num_batches_tracked": np.array(4),
    "fc.weight": np.ones((3, 8), np.float32), "fc.bias": np.zeros(3, np.float32),
}  # fmt: skip


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.net").write_text(TINY)
    write("tiny.pth", ARRAYS)
    write("other.npz", {f"net.{name}": array for name, array in ARRAYS.items()})
    (tmp_path / "rules.toml").write_text('[[rename]]\nfrom = "net.{name:path}"\nto = "{name}"\n')
    np.save(tmp_path / "x.npy", np.ones((1, 1, 4, 4), np.float32))
    return tmp_path


def output(capsys: Capture, arguments: list[str], status: int = 0) -> str:
    assert run(arguments) == status
    return capsys.readouterr().out


def complaint(capsys: Capture, arguments: list[str], status: int = 1) -> str:
    assert run(arguments) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


def test_inspect(capsys: Capture) -> None:
    text = output(capsys, ["weights", "inspect", "tiny.pth"])
    assert "conv.weight" in text and "2x1x3x3" in text and "8 arrays, 54 numbers, 220 bytes, PyTorch (zip)" in text
    assert "deviation" not in text
    assert "the weights lie under `model`" in output(capsys, ["weights", "inspect", str(FIXTURES / "checkpoint.pth")])


def test_inspect_statistics(capsys: Capture) -> None:
    write("holes.safetensors", {"a": np.array([1, np.nan, 3, np.inf], np.float32), "b": np.zeros(2, np.float32)})
    text = output(capsys, ["weights", "inspect", "holes.safetensors", "--stats"])
    assert "NaN or infinity in 1 of them: a" in text
    found = json.loads(output(capsys, ["weights", "inspect", "holes.safetensors", "--stats", "--format", "json"]))
    first, second = found["arrays"]
    assert (first["least"], first["most"], first["mean"], first["deviation"], first["not_finite"]) == (1, 3, 2, 1, 2)
    assert (second["zeros"], second["shape"], second["dtype"]) == (2, [2], "float32")
    assert (found["format"], found["numbers"], found["bytes"]) == ("safetensors", 6, 24)


def test_inspect_shows_types_that_are_not_read(capsys: Capture) -> None:
    assert "quantized" in output(capsys, ["weights", "inspect", str(FIXTURES / "quantized.pth"), "--stats"])


@pytest.mark.parametrize(
    ("name", "code"), [("whole_model.pth", "E0710"), ("torchscript.pt", "E0702"), ("none.pth", "E0701")]
)
@pytest.mark.parametrize("verb", ["inspect", "convert", "compare"])
def test_bad_files(capsys: Capture, verb: str, name: str, code: str, inside: Path) -> None:
    file = str(FIXTURES / name)
    arguments = {"inspect": [file], "convert": [file, "out.npz"], "compare": ["tiny.net", file]}[verb]
    assert code in complaint(capsys, ["weights", verb, *arguments])
    assert not (inside / "out.npz").exists()


def test_names_cannot_paint_the_terminal(capsys: Capture) -> None:
    write("evil.npz", {"\x1b[2Jname": np.ones(1, np.float32)})
    assert "\x1b" not in output(capsys, ["weights", "inspect", "evil.npz"])
    assert "\x1b" not in output(capsys, ["weights", "compare", "tiny.net", "evil.npz"], 1)
    assert "\x1b" not in complaint(capsys, ["run", "tiny.net", "-i", "x.npy", "-w", "evil.npz"])


def test_convert(capsys: Capture) -> None:
    text = output(
        capsys, ["weights", "convert", "other.npz", "b.safetensors", "--rules", "rules.toml", "--dtype", "float16"]
    )
    assert "b.safetensors: 8 arrays, 54 numbers, 114 bytes" in text and "8 renamed, 0 left out" in text
    found = read("b.safetensors")
    assert list(found) == list(ARRAYS) and found["fc.weight"].dtype == np.float16
    done = json.loads(output(capsys, ["weights", "convert", "tiny.pth", "c.npz", "--format", "json"]))
    assert (done["arrays"], done["renamed"], done["format"]) == (8, 0, "PyTorch (zip)")
    assert "no name fits the rule" in output(
        capsys, ["weights", "convert", "tiny.pth", "d.pt", "--rules", "rules.toml"]
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["tiny.pth", "out.h5"], "E0702"), (["tiny.pth", "no/out.npz"], "E0709"), (["tiny.pth", "o.npz", "--rules", "x.toml"], "E0731")],
)  # fmt: skip
def test_convert_that_cannot_be(capsys: Capture, arguments: list[str], code: str) -> None:
    assert code in complaint(capsys, ["weights", "convert", *arguments])


def test_compare_what_fits(capsys: Capture) -> None:
    text = output(capsys, ["weights", "compare", "tiny.net", "tiny.pth"])
    assert text == "tiny and tiny.pth: 8 of 8 weights fit\n"
    text = output(capsys, ["weights", "compare", "tiny.net", "other.npz", "--rules", "rules.toml"])
    assert "8 of 8 weights fit" in text and "`conv.weight` is `net.conv.weight`" in text
    text = output(capsys, ["weights", "compare", "tiny.net", "other.npz", "--by-position"])
    assert "8 of 8 weights fit" in text


def test_compare_what_does_not_fit(capsys: Capture) -> None:
    changed = {**ARRAYS, "fc.weight": np.ones((8, 3), np.float32), "fc.bias_": ARRAYS["fc.bias"]}
    del changed["fc.bias"]
    write("changed.npz", changed)
    text = output(capsys, ["weights", "compare", "tiny.net", "changed.npz"], 1)
    assert "6 of 8 weights fit" in text
    assert "missing: `fc.bias` (the file has `fc.bias_`)" in text
    assert "unexpected: `fc.bias_` (the network has `fc.bias`)" in text
    assert "wrong shape: `fc.weight` is 8x3 in the file, the network wants 3x8; is it transposed?" in text
    assert "except fc" in text
    found = json.loads(output(capsys, ["weights", "compare", "tiny.net", "changed.npz", "--format", "json"], 1))
    assert found["fits"] is False and found["missing"] == ["fc.bias"] and found["nearest"]["fc.bias"] == "fc.bias_"
    assert found["wrong_shape"] == [{"name": "fc.weight", "found": [8, 3], "expected": [3, 8]}]
    text = output(capsys, ["weights", "compare", "tiny.net", "changed.npz", "--except", "fc"], 0)
    assert "6 of 6 weights fit" in text and "left out: 2 of the network, 2 of the file" in text
    assert "E0708" in complaint(capsys, ["weights", "compare", "tiny.net", "changed.npz", "--except", "fx"])


def test_compare_lists_all_where_asked(capsys: Capture) -> None:
    assert "missing: and 80 more" in output(capsys, ["weights", "compare", "resnet18", "tiny.pth"], 1)
    assert " more" not in output(capsys, ["weights", "compare", "resnet18", "tiny.pth", "--all"], 1)


def test_compare_sees_numbers_of_the_wrong_kind(capsys: Capture) -> None:
    write("whole.npz", ARRAYS | {"fc.bias": np.zeros(3, np.int32)})
    assert "E0705" in complaint(capsys, ["weights", "compare", "tiny.net", "whole.npz"])


@pytest.mark.parametrize(
    "options",
    [["tiny.pth"], ["other.npz", "--rules", "rules.toml"], ["other.npz", "--by-position"]],
    ids=lambda o: o[-1],
)
def test_run_takes_every_format(capsys: Capture, options: list[str]) -> None:
    """Every convolution gives 9 (over sqrt(1 + 1e-5)), every output the sum of 8 of them."""
    arguments = ["run", "tiny.net", "-i", "x.npy", "-w", *options, "-o", "y.npy"]
    output(capsys, arguments)
    np.testing.assert_allclose(np.load("y.npy"), np.full((1, 3), 72), rtol=1e-4)


def test_run_with_weights_that_do_not_fit(capsys: Capture) -> None:
    error = complaint(capsys, ["run", "tiny.net", "-i", "x.npy", "-w", "other.npz"])
    assert "E0706" in error and 'from = "net.{name:path}"' in error
