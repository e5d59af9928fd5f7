"""What formatting promises for every spec: idempotent, comments kept, meaning kept."""

from __future__ import annotations

import re

from hypothesis import assume, given
from random_specs import modules, relaxed

from netdsl.language import syntax
from netdsl.language.diagnostics import SpecError
from netdsl.language.formatter import format_source
from netdsl.language.parser import parse
from netdsl.language.source import Source


def parsed(text: str) -> syntax.Module:
    """The tree; a random spec that is nested too deep is none."""
    try:
        return parse(Source(text))
    except SpecError as error:
        assume(error.diagnostics[0].code != "E0104")
        raise


@relaxed
@given(modules())
def test_formatting_keeps_meaning_and_comments_and_is_idempotent(text: str) -> None:
    before = parsed(text)
    once = format_source(Source(text)).replace("\r\n", "\n")
    after = parse(Source(once))
    assert after.declarations == before.declarations
    assert [c.text for c in after.comments] == [c.text for c in before.comments]
    assert format_source(Source(once)) == once


@relaxed
@given(modules())
def test_formatted_text_is_tidy(text: str) -> None:
    parsed(text)
    once = format_source(Source(text)).replace("\r\n", "\n")
    assert once == "" or (once.endswith("\n") and not once.startswith("\n"))
    assert "\n\n\n" not in once and "\t" not in once and "\r" not in once
    assert not re.search(r"[ ]+$", once, re.MULTILINE)
    assert not re.search(r"\{\n\n|\n\n *\}", once)
