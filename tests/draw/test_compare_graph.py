"""Two graphs side by side: what differs is marked, what does not is not."""

import re
from pathlib import Path

import pytest
from library import network
from test_graph_fits import faults

import netdsl
from netdsl.cli.main import run
from netdsl.draw import compare_svg


def marks(document: str) -> int:
    return document.count('<text class="mark"')


def texts(document: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", document)


def test_what_is_equal_has_no_marks() -> None:
    document = compare_svg(network("lenet5"), network("lenet5"))
    assert marks(document) == 0
    assert texts(document).count("conv 5x5, 16") == 2
    assert "0 layers removed, 0 added, 0 changed." in document


def test_a_changed_layer_is_marked_on_both_sides() -> None:
    document = compare_svg(network("lenet5"), netdsl.load("lenet5", classes=3).network)
    assert marks(document) == 2
    assert "changed" in texts(document)
    assert "added" not in texts(document)
    assert {"dense 10", "dense 3"} <= set(texts(document))
    assert faults(document) == []


def test_added_blocks_are_counted_in_what_is_folded() -> None:
    """He et al. (2015), Table 1: 2, 2, 2, 2 blocks and 3, 4, 6, 3."""
    document = compare_svg(network("resnet18"), netdsl.load("resnet34").network)
    said = texts(document)
    # The first block of each later stage stands alone: it halves the image.
    for text in ("1 of 3 added", "2 of 3 added", "4 of 5 added", "1 of 2 added"):
        assert any(found.startswith(text) for found in said), text
    assert "+10.1 M parameters, +1.85 G MACs" in said
    assert faults(document) == []


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["draw", "--compare", "lenet5", "lenet5", "-o", f"both.{ending}", "--theme", "print"]) == 0
    assert (tmp_path / f"both.{ending}").stat().st_size > 5000
