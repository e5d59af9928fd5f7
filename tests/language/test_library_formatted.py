"""Every spec of the library is formatted."""

from __future__ import annotations

from pathlib import Path

import pytest

from netdsl.language.formatter import format_source
from netdsl.language.source import Source
from netdsl.resources import library_path

SPECS = sorted(library_path().rglob("*.net"))


def test_there_is_a_library() -> None:
    assert len(SPECS) > 20


@pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])
def test_spec_is_formatted(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert format_source(Source(text, path.name)) == text, f"run `netdsl fmt {path}`"
