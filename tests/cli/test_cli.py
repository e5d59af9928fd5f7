"""The command line, from outside: what is printed, what is written, and the exit status."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netdsl.cli.main import COMMANDS, run

Capture = pytest.CaptureFixture[str]

CLASSIFIER = """# A tiny classifier.
network tiny(classes = 3) {
  variant tiny_five(classes = 5)
  input image: 3x8x8
  preprocess resize(8) -> center_crop(8)
  stem: conv(4, 3x3, padding = half) -> relu
  global_avg_pool -> flatten
  fc: dense(classes)
}
"""


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.net").write_text(CLASSIFIER)
    return tmp_path


def photograph(path: Path, size: tuple[int, int] = (12, 9)) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def output(capsys: Capture, arguments: list[str], status: int = 0) -> str:
    assert run(arguments) == status
    return capsys.readouterr().out


def complaint(capsys: Capture, arguments: list[str], status: int = 1) -> str:
    assert run(arguments) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


# ------------------------------------------------------------------------------------------------------------- usage


def test_help_lists_every_command(capsys: Capture) -> None:
    text = output(capsys, ["--help"])
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(capsys: Capture, name: str) -> None:
    assert "Usage" in output(capsys, [name, "--help"])


@pytest.mark.parametrize(
    "arguments",
    [["sumary", "lenet5"], ["summary"], ["summary", "lenet5", "--depth", "0"], ["draw"], ["run", "lenet5"], ["check"],
     ["summary", "lenet5", "--set", "classes"], ["explain", "lenet5"], ["explain", "E9999"], ["fmt", "--unknown"]],
)  # fmt: skip
def test_bad_usage_is_2(capsys: Capture, arguments: list[str]) -> None:
    assert complaint(capsys, arguments, 2)


def test_misspelt_command_gets_a_suggestion(capsys: Capture) -> None:
    assert "summary" in complaint(capsys, ["sumary", "lenet5"], 2)


# ------------------------------------------------------------------------------------------------------------- check


def test_check_of_library_names_and_files(capsys: Capture) -> None:
    assert "3 networks checked" in output(capsys, ["check", "lenet5", "tiny.net"])


def test_check_of_a_file_without_a_network(capsys: Capture, inside: Path) -> None:
    (inside / "blocks.net").write_text("block unit { relu }\n")
    assert "0 networks checked, no errors" in output(capsys, ["check", "blocks.net"])
    (inside / "plan.net").write_text("recipe fast for lenet5 { epoch 3 }\n")
    assert "epochs" in complaint(capsys, ["check", "plan.net"])


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("empty.net", b"", "E0212"), ("binary.net", bytes(range(256)), "E0102"), ("latin.net", b"# caf\xe9\n", "E0607"),
        ("syntax.net", b"network n { conv(3 }", "E0101"), ("shape.net", b"network n { input 3x8x8 -> conv(8, 9x9) }", "E0301"),
        ("two.net", b"network a { input 3 -> relu }\nnetwork b { input 3 -> rel }", "E0201"),
        ("deep.net", b"network n { input 3 -> " + b"{" * 10_000, "E0104"), ("huge.net", b" " * 50_000_000, "E0103"),
    ],
)  # fmt: skip
def test_check_of_bad_files(capsys: Capture, inside: Path, name: str, data: bytes, code: str) -> None:
    (inside / name).write_bytes(data)
    assert code in complaint(capsys, ["check", name])


@pytest.mark.parametrize(
    ("spec", "code", "words"),
    [
        ("missing.net", "E0601", "missing.net"), (".", "E0605", "directory"), ("resnet_50", "E0604", "`resnet50`"),
        ("tiny.net@tiny_fve", "E0604", "tiny_five"), ("lenet@lenet6", "E0604", "lenet5"),
    ],
)  # fmt: skip
def test_check_of_what_is_not_there(capsys: Capture, spec: str, code: str, words: str) -> None:
    text = complaint(capsys, ["check", spec])
    assert code in text
    assert words in text


def test_check_as_json(capsys: Capture, inside: Path) -> None:
    (inside / "bad.net").write_text("network n {\n  input 3x8x8\n  conv(8, 3x3, pading = 1)\n}\n")
    result = json.loads(output(capsys, ["check", "bad.net", "--format", "json"], 1))
    (found,) = result["diagnostics"]
    assert result["ok"] is False
    assert (found["code"], found["file"], found["line"], found["column"], found["end_column"]) == (
        "E0202",
        "bad.net",
        3,
        16,
        26,
    )
    assert found["help"] == "did you mean `padding`?"
    assert json.loads(output(capsys, ["check", "tiny.net", "--format", "json"]))["ok"] is True


def test_check_as_sarif(capsys: Capture, inside: Path) -> None:
    (inside / "bad.net").write_text("network n {\n  input 3x8x8\n  conv(8, 3x3, pading = 1)\n}\n")
    log = json.loads(output(capsys, ["check", "bad.net", "--format", "sarif"], 1))
    assert log["version"] == "2.1.0"
    (result,) = log["runs"][0]["results"]
    assert result["ruleId"] == log["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "E0202"
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 3


# ----------------------------------------------------------------------------------------------- list, summary, explain


def test_list_as_json(capsys: Capture) -> None:
    rows = json.loads(output(capsys, ["list", "lenet5", "--format", "json"]))
    row = next(row for row in rows if row["name"] == "lenet5")
    assert (row["parameters"], row["macs"], row["input"]) == (61_706, 416_520, [1, 32, 32])


def test_list_filters(capsys: Capture) -> None:
    text = output(capsys, ["list", "mobilenet_v3*"])
    assert "mobilenet_v3_large" in text
    assert "resnet" not in text
    small = json.loads(output(capsys, ["list", "mobilenet_v3*", "--max-parameters", "3M", "--format", "json"]))
    assert [row["name"] for row in small] == ["mobilenet_v3_small"]


def test_summary_as_text_and_json(capsys: Capture) -> None:
    assert "61,706" in output(capsys, ["summary", "lenet5"])
    data = json.loads(
        output(capsys, ["summary", "tiny.net", "--set", "classes=7", "--shape", "3x16x16", "--format", "json"])
    )
    assert data["name"] == "tiny"
    assert (data["input"], data["output"]) == ([3, 16, 16], [7])
    assert data["parameters"] == 4 * 27 + 4 + 7 * 4 + 7
    assert data["macs"] == 16 * 16 * 4 * 27 + 28
    assert data["buffers"] == 0
    stem = next(layer for layer in data["layers"] if layer["name"] == "stem")
    assert stem == stem | {
        "kind": "conv",
        "inputs": ["image"],
        "output_shape": [4, 16, 16],
        "parameters": 112,
        "macs": 27_648,
    }
    assert {"name": "fc.weight", "shape": [7, 4], "trainable": True}.items() <= next(
        weight for weight in data["weights"] if weight["name"] == "fc.weight"
    ).items()


def test_summary_as_csv_and_markdown(capsys: Capture) -> None:
    rows = list(csv.DictReader(io.StringIO(output(capsys, ["summary", "tiny.net", "--format", "csv"]))))
    assert sum(int(row["parameters"]) for row in rows) == 112 + 15
    assert "| stem |" in output(capsys, ["summary", "tiny.net", "--format", "markdown"])


def test_variant_of_a_file(capsys: Capture) -> None:
    assert json.loads(output(capsys, ["summary", "tiny.net@tiny_five", "--format", "json"]))["output"] == [5]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--set", "clases=3"], "E0202"), (["--set", "classes=2+"], "E0101"), (["--set", "classes=0"], "E0204"),
     (["--shape", "3xQ"], "E0"), (["--shape", "other=3x8x8"], "E0202")],
)  # fmt: skip
def test_bad_settings(capsys: Capture, arguments: list[str], code: str) -> None:
    assert code in complaint(capsys, ["summary", "tiny.net", *arguments])


def test_explain_a_layer(capsys: Capture) -> None:
    text = output(capsys, ["explain", "resnet50", "conv1"])
    assert "112" in text
    assert "9,408" in text
    assert "118,013,952" in text
    assert "conv1" in complaint(capsys, ["explain", "resnet50", "conv_1"])


def test_explain_a_code(capsys: Capture) -> None:
    assert "E0301" in output(capsys, ["explain", "e0301"])


# -------------------------------------------------------------------------------------------------------------- draw


def test_draw(capsys: Capture, inside: Path) -> None:
    for name in ("tiny.svg", "tiny.dot", "tiny.png", "tiny.pdf"):
        assert output(capsys, ["draw", "tiny.net", "-o", name]).strip() == name
    assert (inside / "tiny.svg").read_text().lstrip().startswith("<?xml")
    assert (inside / "tiny.png").read_bytes().startswith(b"\x89PNG")
    assert (inside / "tiny.pdf").read_bytes().startswith(b"%PDF")
    assert "digraph" in (inside / "tiny.dot").read_text()


def test_draw_options(capsys: Capture, inside: Path) -> None:
    given = [
        "--depth",
        "1",
        "--expand",
        "layer3.2",
        "--label",
        "params",
        "--label",
        "macs",
        "--heat",
        "macs",
        "--theme",
        "dark",
    ]
    given += ["--direction", "right", "--width", "178", "--title", "A & B"]
    assert output(capsys, ["draw", "resnet50", "-o", "net.svg", *given]).strip() == "net.svg"
    drawn = (inside / "net.svg").read_text(encoding="utf-8")
    assert 'width="178mm"' in drawn
    assert "<title>A &amp; B</title>" in drawn
    assert "more than 10 boxes" in complaint(capsys, ["draw", "resnet50", "--no-fold", "--boxes", "10"])
    assert output(capsys, ["draw", "--compare", "tiny.net", "tiny.net", "-o", "both.svg"]).strip() == "both.svg"
    assert "one network is drawn, found 2" in complaint(capsys, ["draw", "tiny.net", "tiny.net"], 2)
    assert "draws two networks, found 1" in complaint(capsys, ["draw", "--compare", "tiny.net"], 2)


def test_diff(capsys: Capture) -> None:
    assert "The layers are the same." in output(capsys, ["diff", "tiny.net", "tiny.net"])
    found = json.loads(output(capsys, ["diff", "lenet5", "lenet5", "--set", "classes=3", "--format", "json"]))
    assert found["totals"]["parameters"] == {"before": 61_706, "after": 61_706 - 7 * 85}
    assert found["weights"]["load"] is False


def test_draw_elsewhere(capsys: Capture) -> None:
    assert ".svg" in complaint(capsys, ["draw", "tiny.net", "-o", "tiny.docx"])
    assert "nowhere" in complaint(capsys, ["draw", "tiny.net", "-o", "nowhere/tiny.svg"])


# --------------------------------------------------------------------------------------------------------------- run


def test_run_needs_weights(capsys: Capture, inside: Path) -> None:
    text = complaint(capsys, ["run", "tiny.net", "--input", photograph(inside / "a.png")])
    assert "E0711" in text
    assert "--random-weights" in text


def test_run_shows_the_best_classes(capsys: Capture, inside: Path) -> None:
    image = photograph(inside / "a.png")
    (inside / "labels.txt").write_text("cat\ndog\nowl\n")
    common = ["run", "tiny.net", "--input", image, "--random-weights", "1"]
    text = output(capsys, [*common, "--labels", "labels.txt"])
    assert {"cat", "dog", "owl"} <= set(text.split())
    data = json.loads(output(capsys, [*common, "--format", "json", "--top", "2"]))
    (top,) = data["results"][0]["outputs"]["fc"]["top"]
    assert len(top) == 2
    assert top[0]["probability"] >= top[1]["probability"]


def test_run_with_weights_equals_the_arithmetic(capsys: Capture, inside: Path) -> None:
    (inside / "one.net").write_text("network one { input 2 -> fc: dense(1) }")
    np.savez(inside / "w.npz", **{"fc.weight": np.array([[2, 3]], np.float32), "fc.bias": np.array([1], np.float32)})
    np.save(inside / "x.npy", np.array([[10, 100]], np.float32))
    output(capsys, ["run", "one.net", "-i", "x.npy", "-w", "w.npz", "-o", "y.npy"])
    assert np.load(inside / "y.npy").tolist() == [[321.0]]


def test_run_of_an_edge_detector_on_photographs(capsys: Capture, inside: Path) -> None:
    folder = inside / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        photograph(folder / name, (20, 10))
    output(capsys, ["run", "edges", "--input", "pictures", "--output", "edge.png", "--tap", "vertical"])
    assert Image.open(inside / "edge-a.png").size == (20, 10)
    assert Image.open(inside / "edge-b.png").size == (20, 10)
    assert np.load(inside / "vertical-a.npy").shape == (1, 1, 10, 20)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny.net", "-i", "missing.png", "--random-weights", "0"], "missing.png"),
        (["tiny.net", "-i", "tiny.net", "--random-weights", "0"], "tiny.net"),
        (["tiny.net", "-i", "a.png", "-w", "missing.npz"], "missing.npz"), (["tiny.net", "-i", "a.png", "-w", "a.png"], "a.png"),
        (["tiny.net", "-i", "a.png", "--random-weights", "0", "--tap", "stm"], "stem"),
        (["tiny.net", "-i", "a.png", "--random-weights", "0", "--labels", "tiny.net"], "labels"),
        (["tiny.net", "-i", "a.png", "--random-weights", "0", "-o", "x.jpg"], ".png"),
        (["lenet5", "-i", "a.png", "--random-weights", "0"], "32"),
    ],
)  # fmt: skip
def test_run_of_what_does_not_fit(capsys: Capture, inside: Path, arguments: list[str], words: str) -> None:
    photograph(inside / "a.png")
    assert words in complaint(capsys, ["run", *arguments])


def test_run_with_two_inputs(capsys: Capture, inside: Path) -> None:
    (inside / "two.net").write_text("network two { input a: 2\n input b: 2\n subtract(a, b) }")
    np.save(inside / "p.npy", np.array([[5, 7]], np.float32))
    np.save(inside / "q.npy", np.array([[1, 10]], np.float32))
    output(capsys, ["run", "two.net", "-i", "a=p.npy", "-i", "b=q.npy", "-o", "d.npy"])
    assert np.load(inside / "d.npy").tolist() == [[4.0, -3.0]]
    assert "--input a=FILE --input b=FILE" in complaint(capsys, ["run", "two.net", "-i", "p.npy"], 2)


# --------------------------------------------------------------------------------------------------------------- fmt


def test_fmt(capsys: Capture, inside: Path) -> None:
    path = inside / "ugly.net"
    path.write_text("network   n{input 3x8x8\n\n\n\n   relu   }")
    assert "would format" in output(capsys, ["fmt", "--check", "ugly.net"], 1)
    assert "+" in output(capsys, ["fmt", "--diff", "ugly.net"], 1)
    assert path.read_text().startswith("network   n")
    assert "formatted ugly.net" in output(capsys, ["fmt", "ugly.net"])
    assert path.read_text().startswith("network n {")
    assert "1 of 1 files are formatted" in output(capsys, ["fmt", "--check", "ugly.net"])


def test_fmt_leaves_what_it_cannot_read(capsys: Capture, inside: Path) -> None:
    path = inside / "broken.net"
    path.write_text("network n {")
    assert "E0101" in complaint(capsys, ["fmt", "broken.net"])
    assert path.read_text() == "network n {"
