"""Images of a size that the network does not read are found before a run begins, and by --dry-run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netdsl.cli.main import run as cli

SPEC = """
network small(classes = 2) {{
  input image: 1x12x12
  {preprocess}
  conv(4, 3x3) -> relu
  global_avg_pool -> flatten
  fc: dense(classes)
}}

recipe learn for small {{
  data      arrays("x.npz", validation = 25%)
  optimizer sgd(lr = 0.1)
  epochs    1
  {augment}
}}
"""


@pytest.mark.parametrize("options", [["--dry-run"], []], ids=["dry", "run"])
@pytest.mark.parametrize("augment", ["", "augment rotate(5)"], ids=["plain", "augmented"])
def test_images_of_another_size(
    options: list[str],
    augment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", x=np.zeros((8, 8, 8), np.uint8), y=np.arange(8) % 2)
    spec = tmp_path / "small.net"
    spec.write_text(SPEC.format(preprocess="", augment=augment), encoding="utf-8")
    assert cli(["train", str(spec), "learn", *options]) == 1
    said = capsys.readouterr().err
    assert "E0912" in said and "12x12" in said and "preprocess resize(12x12)" in said
    assert not Path("runs").exists()
    spec.write_text(SPEC.format(preprocess="preprocess resize(12)", augment=augment), encoding="utf-8")
    assert cli(["train", str(spec), "learn", *options]) == 0
