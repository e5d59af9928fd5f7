"""Every code has a story, every story's example gives its code, and what mends it compiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netdsl
from netdsl.language.codes import CODES
from netdsl.language.diagnostics import NetdslError, SpecError
from netdsl.language.formatter import format_source
from netdsl.language.source import Source

PACKAGE = Path(netdsl.__file__).parent
EXAMPLES = [(code, story.example, story.mended) for code, story in CODES.items() if story.example]


def codes_of(text: str) -> set[str]:
    """The codes of the errors in a spec."""
    try:
        netdsl.loads(text)
    except SpecError as error:
        return {diagnostic.code for diagnostic in error.diagnostics}
    except NetdslError as error:
        return {getattr(error, "code", "no code")}
    return set()


@pytest.mark.parametrize(("code", "example", "mended"), EXAMPLES, ids=[code for code, *_ in EXAMPLES])
def test_the_example_gives_its_code_and_no_other(code: str, example: str, mended: str) -> None:
    assert codes_of(example) == {code}


@pytest.mark.parametrize(("code", "example", "mended"), EXAMPLES, ids=[code for code, *_ in EXAMPLES])
def test_the_mended_example_compiles_and_is_formatted(code: str, example: str, mended: str) -> None:
    assert codes_of(mended) == set()
    assert format_source(Source(mended)) == mended


def test_codes_that_are_raised_are_those_that_have_a_story() -> None:
    raised: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name != "codes.py":
            raised |= set(re.findall(r"\"([EW]\d{4})\"", path.read_text(encoding="utf-8")))
    assert raised - CODES.keys() == set(), "these have no story"
    assert CODES.keys() - raised == set(), "these are never raised"


@pytest.mark.parametrize("code", CODES)
def test_a_story_says_something(code: str) -> None:
    story = CODES[code]
    assert re.fullmatch(r"[EW]\d{4}", code)
    assert story.title and not story.title.endswith(".") and len(story.title) <= 60
    assert len(story.story.strip()) >= 60 and story.story.strip().endswith(".")
    assert bool(story.example) == bool(story.mended)


@pytest.mark.parametrize("family", ["E01", "E02", "E03", "E04"])
def test_errors_of_a_spec_are_shown_by_example(family: str) -> None:
    unshown = {code for code, story in CODES.items() if code.startswith(family) and not story.example}
    assert unshown <= {"E0102", "E0103"}, "binary and huge files are shown by no text"
