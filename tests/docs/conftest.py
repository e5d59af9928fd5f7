import shutil
from pathlib import Path

import pytest
from pages import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a fresh checkout for whoever follows the documentation: the examples are there."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "README.md").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
