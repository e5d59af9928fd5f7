"""Every code has a story, and the story's example tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netdsl
from netdsl.language.codes import CODES

PACKAGE = Path(netdsl.__file__).parent
SHOWN = sorted(code for code in CODES if CODES[code].example)


def test_every_code_that_is_used_has_a_story_and_the_other_way_round() -> None:
    used = {
        code
        for path in PACKAGE.rglob("*.py")
        if path.name != "codes.py"
        for code in re.findall(r"\"(E0\d{3})\"", path.read_text(encoding="utf-8"))
    }
    assert used == set(CODES)


@pytest.mark.parametrize("code", SHOWN)
def test_the_example_yields_its_code(code: str) -> None:
    with pytest.raises(netdsl.NetdslError) as error:
        netdsl.loads(CODES[code].example)
    value = error.value
    found = (
        [diagnostic.code for diagnostic in value.diagnostics] if isinstance(value, netdsl.SpecError) else [value.code]
    )  # type: ignore[attr-defined]
    assert found == [code]


@pytest.mark.parametrize("code", SHOWN)
def test_the_mended_example_compiles(code: str) -> None:
    netdsl.loads(CODES[code].mended)
