"""The networks of examples/depth.net: twins, and that the shallow ones learn. The whole experiment takes minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

import netdsl
from netdsl.train.log import records
from netdsl.train.trainer import Trainer

SPEC = Path(__file__).resolve().parent.parent.parent / "examples" / "depth.net"


@pytest.mark.parametrize("depth", [20, 56])
def test_twins_differ_in_their_shortcuts_alone(depth: int) -> None:
    plain, residual = (netdsl.load(f"{SPEC}@{kind}{depth}") for kind in ("plain", "residual"))
    assert plain.parameters == residual.parameters
    assert plain.macs == residual.macs
    kinds = [[node.layer.kind for node in net.network.nodes()] for net in (plain, residual)]
    shortcuts = {"add", "decimate", "pad_channels"}
    assert not shortcuts & set(kinds[0])
    assert [kind for kind in kinds[1] if kind not in shortcuts] == kinds[0]
    assert kinds[1].count("add") == (depth - 2) // 2
    assert kinds[0].count("conv") == depth - 1


def test_the_residual_one_begins_faster(tmp_path: Path) -> None:
    """Two epochs of 20 layers on 40 images of each digit."""
    pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")
    losses = {}
    for name in ("plain20", "residual20"):
        settings = ["epochs=2", "data=digits(validation = 20%, per_class = 40)"]
        Trainer(f"{SPEC}@{name}", "depth", settings=settings, run=tmp_path / name, threads=1).run()
        losses[name] = [each["loss"] for each in records(tmp_path / name / "log.jsonl") if each["event"] == "epoch"]
    assert losses["residual20"][-1] < losses["plain20"][-1]
    assert losses["residual20"][-1] < losses["residual20"][0]
