"""Evaluation against counting by hand, from arrays and from the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import netdsl
from netdsl.cli.data_options import open_part
from netdsl.cli.main import run as cli
from netdsl.data.dataset import ArrayDataset, Part
from netdsl.train.errors import TrainError
from netdsl.train.evaluate import evaluate

NET = "network n(classes = 3) {\n  input image: 1x2x2\n  flatten -> fc: dense(classes)\n}\n"


class Told:
    """A model whose outputs are told."""

    def __init__(self, outputs: Any, name: str = "output") -> None:
        self.outputs = np.asarray(outputs, np.float32)
        self.name = name
        self.done = 0

    def run(self, x: Any, tap: Any = ()) -> Any:
        count = len(next(iter(x.values())))
        self.done += count
        return {self.name: self.outputs[self.done - count : self.done]}, {}


def part(labels: list[int], classes: int, targets: Any = None) -> Part:
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    dataset = ArrayDataset(
        images, np.array(labels), [f"c{i}" for i in range(classes)] if targets is None else [], targets=targets
    )
    return Part(dataset, np.arange(len(labels)))


def main_output(net: netdsl.Net) -> str:
    return next(iter(net.outputs))


def test_counts_by_hand() -> None:
    net = netdsl.loads(NET)
    outputs = [[2, 1, 0], [0, 3, 1], [5, 0, 0], [0, 0, 7], [1, 2, 0]]
    labels = [0, 1, 1, 2, 0]
    found = evaluate(net.network, Told(outputs, main_output(net)), part(labels, 3), batch=2)
    assert (found.images, found.top1, found.top5) == (5, 0.6, None)
    assert found.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    expected = (
        sum(math.log(sum(map(math.exp, row))) - row[label] for row, label in zip(outputs, labels, strict=True)) / 5
    )
    assert found.loss == pytest.approx(expected)
    first = found.classes[0]
    assert (first.name, first.images, first.right, first.taken) == ("c0", 2, 1, 2)
    assert (first.recall, first.precision, first.f1) == (0.5, 0.5, 0.5)
    assert found.classes[2].f1 == 1


def test_top_five_counts_a_label_among_the_five_largest() -> None:
    net = netdsl.loads(NET, classes=8)
    outputs = [list(range(8))] * 8
    found = evaluate(net.network, Told(outputs, main_output(net)), part(list(range(8)), 8))
    assert found.top1 == 1 / 8 and found.top5 == 5 / 8


def test_a_class_that_never_comes() -> None:
    net = netdsl.loads(NET)
    found = evaluate(net.network, Told([[1, 0, 0], [1, 0, 0]], main_output(net)), part([0, 0], 3))
    missing = found.classes[1]
    assert (missing.recall, missing.precision, missing.f1) == (None, None, None)


def test_a_softmax_at_the_end_gives_probabilities() -> None:
    net = netdsl.loads(NET.replace("dense(classes)", "dense(classes) -> softmax"))
    found = evaluate(net.network, Told([[0.5, 0.25, 0.25], [0, 1, 0]], main_output(net)), part([0, 0], 3))
    assert found.loss == pytest.approx((math.log(2) - math.log(np.finfo(np.float64).tiny)) / 2)


def test_targets_are_judged_by_their_squared_error() -> None:
    net = netdsl.loads(NET)
    targets = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    found = evaluate(net.network, Told([[1, 2, 4], [3, 0, 0]], main_output(net)), part([0, 0], 0, targets))
    assert found.loss == pytest.approx((1 / 3 + 9 / 3) / 2)
    assert found.top1 is None and found.classes == ()


def test_other_classes_than_the_network_has() -> None:
    net = netdsl.loads(NET)
    with pytest.raises(TrainError) as caught:
        evaluate(net.network, Told([[1, 0, 0]], main_output(net)), part([0], 4))
    assert caught.value.code == "E0906" and "classes=4" in (caught.value.help or "")


# ------------------------------------------------------------------------------------------------------------- command


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network that knows white from black and takes gray for white; pictures of the three."""
    monkeypatch.chdir(tmp_path)
    Path("n.net").write_text(NET)
    weight = np.array([[-1, -1, -1, -1], [-9, -9, -9, -9], [1, 1, 1, 1]], np.float32)
    np.savez("w.npz", **{"fc.weight": weight, "fc.bias": np.array([1, 0, 0], np.float32)})
    for name, value, count in (("black", 0, 3), ("gray", 128, 2), ("white", 255, 4)):
        Path("data", name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (2, 2), value).save(f"data/{name}/{number}.png")
    return tmp_path


def test_the_command_shows_and_tells(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["evaluate", "n.net", "--weights", "w.npz", "--data", "data"]) == 0
    text = capsys.readouterr().out
    assert "images  9" in text and "77.78%" in text and "gray" in text
    assert cli(["evaluate", "n.net", "--weights", "w.npz", "--data", "data", "--format", "json", "--batch", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["confusion"] == [[3, 0, 0], [0, 0, 2], [0, 0, 4]]
    assert [each["name"] for each in found["classes"]] == ["black", "gray", "white"]
    assert found["classes"][2]["precision"] == pytest.approx(4 / 6)


def test_parts_of_the_data(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def images(*options: str) -> int:
        arguments = ["evaluate", "n.net", "--weights", "w.npz", "--format", "json", *options]
        assert cli(arguments) == 0
        return int(json.loads(capsys.readouterr().out)["images"])

    call = 'folder("data", validation = 34%)'
    assert images("--data", "data") == 9
    assert images("--data", call) == 3
    assert images("--data", call, "--part", "training") == 6
    assert images("--data", call, "--part", "all") == 9
    assert cli(["evaluate", "n.net", "--weights", "w.npz", "--data", "data", "--part", "validation"]) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--data", "data"], 1, "E0711"), (["--data", "nowhere", "-w", "w.npz"], 1, "nowhere"),
        (["--data", "data", "-w", "w.npz", "--set", "classes=4"], 1, "E0706"), (["-w", "w.npz"], 2, "--data"),
        (["--data", "foldr('data')", "-w", "w.npz"], 1, "did you mean `folder`"), (["--data", "folder('data', validaton = 20%)", "-w", "w.npz"], 1, "E0202"),
        (["--data", "data", "-w", "w.npz", "--picture", "x.txt"], 1, "E097"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated(
    inside: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    assert cli(["evaluate", "n.net", *arguments]) == status
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error


def test_many_classes_show_what_is_confused_most(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.zeros((50, 2, 2), np.uint8)
    np.savez("many.npz", x=images, y=np.arange(50) % 25)
    assert cli(["evaluate", "n.net", "--set", "classes=25", "--random-weights", "0", "--data", "many.npz"]) == 0
    assert "taken for" in capsys.readouterr().out


def test_the_picture_of_a_confusion_matrix(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert cli(["evaluate", "n.net", "-w", "w.npz", "--data", "data", "--picture", "m.png"]) == 0
    with Image.open("m.png") as picture:
        assert min(picture.size) > 200


@pytest.mark.parametrize(
    ("text", "code", "help"),
    [
        ("digts", "E0901", "did you mean `digits`?"),
        ('foldr("col")', "E0201", "did you mean `folder`?"),
        ("nothing/here", "E0901", "a folder of folders"),
        ('folder("nothing/here")', "E0901", None),
    ],
)
def test_data_that_is_not_there(
    text: str, code: str, help: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = netdsl.loads("network n() { input image: 3x8x8\n flatten -> dense(2) }").network
    with pytest.raises(netdsl.NetdslError) as refused:
        open_part(network, text, None)
    (found,) = refused.value.diagnostics if isinstance(refused.value, netdsl.SpecError) else (refused.value,)
    assert found.code == code
    assert help is None or help in (found.help or "")
