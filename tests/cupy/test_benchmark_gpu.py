"""benchmarks/gpu.py on a played device: it measures, goes on where it was, tells what is wrong."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gpu() -> Any:
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("gpu")
    finally:
        sys.path.remove(folder)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path / "cache"))


def played(gpu: Any, folder: Path, *more: str) -> int:
    given = ["--device", "fake", "--networks", "lenet5", "--seconds", "0.002", "--results", str(folder), *more]
    code: int = gpu.main(given)
    return code


def test_all_parts(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("on_gpu.training"), "FOLLOWED", ("lenet5",))
    assert played(gpu, tmp_path, "--precision", "float32,bfloat16") == 0
    text = capsys.readouterr().out
    for expected in ("## Ceilings", "## Parity", "## Inference", "## Training", "lenet5 2 bfloat16", "0 of 20"):
        assert expected in text
    assert "MISSED" not in text
    data = json.loads((tmp_path / "gpu-played-h200.json").read_text())
    assert data["description"]["device"].startswith("Played H200")
    assert data["parts"]["parity"]["lenet5 float32"]["difference"] < 1e-4
    (ours,) = (record for name, record in data["parts"]["inference"].items() if name == "ours lenet5 2 float32")
    assert ours["share"] > 0 and ours["replays"] == 20 and sum(ours["kernels"].values()) == len(ours["profile"])
    assert data["parts"]["training"]["follows lenet5 bfloat16"]["ok"]
    assert all("chosen" in entry for entry in data["tuned"])
    # Nothing is measured twice.
    assert played(gpu, tmp_path, "--precision", "float32,bfloat16") == 0
    assert "parity: lenet5" not in capsys.readouterr().out


def test_it_goes_on_where_it_was(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert played(gpu, tmp_path, "--part", "ceilings", "--limit", "0") == 3
    assert "figures are left" in capsys.readouterr().out
    assert played(gpu, tmp_path, "--part", "ceilings") == 0
    first = (tmp_path / "gpu-played-h200.json").read_text()
    assert played(gpu, tmp_path, "--part", "ceilings", "--table") == 0
    assert (tmp_path / "gpu-played-h200.json").read_text() == first
    assert played(gpu, tmp_path, "--part", "ceilings", "--fresh") == 0
    assert "ceilings: copy" in capsys.readouterr().out


def test_what_goes_wrong_is_told_and_tried_again(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--device", "fake", "--part", "parity", "--networks", "lenet6", "--results", str(tmp_path)]
    given += ["--precision", "tf32"]
    assert gpu.main(given) == 1
    assert "lenet6" in capsys.readouterr().out
    assert gpu.main(given) == 1
    assert "parity: lenet6 tf32: error" in capsys.readouterr().out


def test_a_damaged_book_is_begun_anew(gpu: Any, tmp_path: Path) -> None:
    path = tmp_path / "gpu-played-h200.json"
    for text in ("{", "[]", '{"parts": 3}'):
        path.write_text(text)
        assert played(gpu, tmp_path, "--part", "ceilings", "--limit", "0") == 3
        assert json.loads(path.read_text())["parts"] == {"ceilings": {}}


def test_an_interruption_keeps_what_there_is(gpu: Any, tmp_path: Path) -> None:
    book = importlib.import_module("on_gpu.book").Book(tmp_path / "b.json", say=lambda line: None)

    def stopped() -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        book.measure("x", [("a", lambda: {"ms": 1.0}), ("b", stopped), ("c", lambda: {"ms": 2.0})])
    assert set(json.loads((tmp_path / "b.json").read_text())["parts"]["x"]) == {"a"}


def test_missed_figures_are_found(gpu: Any, tmp_path: Path) -> None:
    book = importlib.import_module("on_gpu.book").Book(tmp_path / "b.json")
    book.part("parity")["good"] = {"difference": 1e-6, "ok": True}
    book.part("parity")["bad"] = {"difference": 1.0, "ok": False}
    book.part("inference")["bits"] = {"ms": 1.0, "other_bits": 3, "replays": 10}
    book.part("training")["follows"] = {"ok": False}
    assert gpu.failed(book) == ["bad", "bits", "follows"]


def test_ratios_and_shares(gpu: Any, tmp_path: Path) -> None:
    table = importlib.import_module("on_gpu.table")
    book = importlib.import_module("on_gpu.book").Book(tmp_path / "b.json")
    ours = {"ms": 2.0, "latency_ms": 3.0, "images_per_second": 128000.0, "share": 0.6, "replays": 1000, "other_bits": 0}
    book.part("inference").update(
        {
            "ours net 256 bfloat16": ours, "torch eager net 256 bfloat16": {"ms": 4.0, "latency_ms": 4.5},
            "torch compile net 256 bfloat16": {"absent": "given up"}, "ours net 1 bfloat16": ours,
            "torch eager net 1 bfloat16": {"ms": 4.0, "latency_ms": 4.5},
        }
    )  # fmt: skip
    rows = [line.split("|") for line in table.lines(book) if line.startswith("| net ")]
    assert [cell.strip() for cell in rows[0][1:-1]] == [
        "net 256 bfloat16",
        "128,000",
        "3.000",
        "2.00x",
        "-",
        "",
        "60%",
        "0 of 1000",
    ]
    assert rows[1][4].strip() == "1.50x"  # latency counts for one image


def test_the_roofline_is_the_sum_over_steps(gpu: Any) -> None:
    import netdsl
    from netdsl.passes import bind, run
    from netdsl.program.lower import lower
    from netdsl.weights.store import WeightStore

    roofline = importlib.import_module("on_gpu.roofline")
    network = netdsl.loads(
        "network n {\n input x: 4x8x8\n conv(16, 3x3, padding = 1) -> relu -> max_pool(2x2)\n}"
    ).network
    store = WeightStore(network)
    store.initialize(0)
    program = lower(run(bind(network, store.values)), network.input_types(), 10)
    at = roofline.Ceilings(1e9, 1e12)
    x, y, weights, pooled = 10 * 4 * 64, 10 * 16 * 64, 16 * 4 * 9 + 16, 10 * 16 * 16
    flops = 2 * 10 * 64 * 16 * 4 * 9
    memory = ((x + y + weights) + (y + pooled)) * 2
    assert roofline.inference(program, "bfloat16", at) == pytest.approx(1e3 * memory / 1e9)
    slow = roofline.Ceilings(1e15, 1e9)
    # The activation and the bias count one operation each, the pool three comparisons a window.
    assert roofline.inference(program, "bfloat16", slow) >= 1e3 * flops / 1e9


def test_without_a_gpu_it_says_so(
    gpu: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from netdsl.backends.errors import RunError

    def absent(kind: str) -> Any:
        raise RunError("E0716", "the back-end `cupy` cannot run here: there is no NVIDIA GPU", "-")

    monkeypatch.setattr(gpu, "opened", absent)
    assert gpu.main(["--part", "ceilings"]) == 2
    assert "there is no NVIDIA GPU" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["COMMON", "TORCH", "TRAIN", "ONNX"])
def test_programs_of_peers_are_python(text: str) -> None:
    peers = importlib.import_module("on_gpu.peers")
    program = getattr(peers, text).format(
        timm="resnet50", batch=2, size=224, precision="tf32", compiled=True, seconds=1.0, latency=3
    )
    compile(program, text, "exec")


def test_a_peer_that_fails_or_is_not_there(gpu: Any, tmp_path: Path) -> None:
    peers = importlib.import_module("on_gpu.peers")
    options = gpu.arguments(["--peer-python", sys.executable])
    setup = importlib.import_module("types").SimpleNamespace(options=options)
    assert peers.inference(setup, "torch eager", "lenet5", 1, "bfloat16") == {"absent": "timm has no lenet5"}
    assert "ms" not in peers._run(setup, "import no_such_package_at_all", "resnet50", 1, "bfloat16", False)
    with pytest.raises(RuntimeError, match="ValueError: so"):
        peers._run(setup, "raise ValueError('so')", "resnet50", 1, "bfloat16", False)
    record = peers._run(setup, "print('noise'); print('{{\"ms\": 2.0}}')", "resnet50", 8, "bfloat16", False)
    assert record == {"ms": 2.0, "images_per_second": 4000.0}
