"""`netdsl cache` shows and clears the cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from netdsl.backends.native import cache
from netdsl.cli.cache_command import command


def test_show_and_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    cache.write("entry", bytes(5000))
    shown = CliRunner().invoke(command, [])
    assert shown.exit_code == 0
    assert str(tmp_path) in shown.output and "1 kernels, 5 KiB" in shown.output
    cleared = CliRunner().invoke(command, ["--clear"])
    assert "Removed 1 kernels" in cleared.output
    assert cache.contents().entries == 0
    monkeypatch.setenv("NETDSL_CACHE_DIR", "off")
    assert "off" in CliRunner().invoke(command, []).output
