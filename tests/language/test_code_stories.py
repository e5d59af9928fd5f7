"""Stories are worth reading: a title, a few sentences, and an example wherever a spec can show the error."""

from __future__ import annotations

import re

import pytest

from netdsl.language.codes import CODES
from netdsl.language.formatter import format_source
from netdsl.language.source import Source

MENDED = [code for code, story in CODES.items() if story.mended]


@pytest.mark.parametrize("code", CODES)
def test_a_story_says_something(code: str) -> None:
    story = CODES[code]
    assert re.fullmatch(r"[EW]\d{4}", code)
    assert story.title and not story.title.endswith(".") and len(story.title) <= 60
    assert len(story.story.strip()) >= 60 and story.story.strip().endswith(".")
    assert bool(story.example) == bool(story.mended)


@pytest.mark.parametrize("code", MENDED)
def test_what_mends_it_is_formatted(code: str) -> None:
    assert format_source(Source(CODES[code].mended)) == CODES[code].mended


@pytest.mark.parametrize("family", ["E01", "E02", "E03", "E04"])
def test_errors_of_a_spec_are_shown_by_example(family: str) -> None:
    unshown = {code for code, story in CODES.items() if code.startswith(family) and not story.example}
    assert unshown <= {"E0102", "E0103"}, "binary and huge files are shown by no text"
