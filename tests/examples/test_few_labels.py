"""examples/few_labels.py in a shortened form: both recipes learn, and the figure is drawn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"

pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")


def test_the_script_measures_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    found = importlib.util.spec_from_file_location("few_labels", EXAMPLES / "few_labels.py")
    assert found is not None and found.loader is not None
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    output = tmp_path / "few_labels.png"
    monkeypatch.setattr(
        "sys.argv", ["few_labels.py", "--seeds", "1", "--each", "5", "--steps", "40", "-o", str(output)]
    )
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == [
        "5 of each digit,     plain", "5 of each digit, augmented",
    ]  # fmt: skip
    for line in lines:
        # A tenth would be right by chance.
        assert float(line.split(":")[1].split("%")[0]) > 30
    assert output.read_bytes().startswith(b"\x89PNG")
