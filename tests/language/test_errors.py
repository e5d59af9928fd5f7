"""What syntax errors say, as golden files: `errors/NAME.net` and what is printed for it, `errors/NAME.txt`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netdsl.language.diagnostics import Diagnostic, SpecError
from netdsl.language.parser import MAX_SYNTAX_ERRORS, parse, parse_expression
from netdsl.language.source import Source

FOLDER = Path(__file__).parent / "errors"
CASES = sorted(path.stem for path in FOLDER.glob("*.net"))


def errors(text: str, name: str = "spec.net") -> list[Diagnostic]:
    with pytest.raises(SpecError) as raised:
        parse(Source(text, name))
    return raised.value.diagnostics


@pytest.mark.parametrize("case", CASES)
def test_messages(case: str, golden: Callable[[Path, str], None]) -> None:
    text = (FOLDER / f"{case}.net").read_bytes().decode("utf-8")
    with pytest.raises(SpecError) as raised:
        parse(Source(text, f"{case}.net"))
    golden(FOLDER / f"{case}.txt", str(raised.value) + "\n")


def places(text: str) -> list[str]:
    found = errors(text)
    assert all(diagnostic.span is not None for diagnostic in found)
    return [repr(diagnostic.span).removeprefix("spec.net:") for diagnostic in found]


def test_errors_of_all_lines_are_found_in_one_run() -> None:
    assert places("network n {\n  conv(8 3x3)\n  relu\n  a b\n}\n") == ["2:10", "4:5"]


def test_errors_of_all_declarations_are_found_in_one_run() -> None:
    assert places("network n {\n  conv(8\n}\n\nblock b( {\n  relu\n}\n\nconst c = 3 +\n") == ["2:7", "5:10", "9:14"]


def test_a_sound_declaration_between_broken_ones_is_not_reported() -> None:
    assert places("const a = (\n\nblock b() {\n  relu\n}\n\nconst c = )\n") == ["1:11", "7:11"]


def test_no_more_errors_are_looked_for_than_the_limit() -> None:
    assert len(errors("network n {\n" + "  a b\n" * 100 + "}\n")) == MAX_SYNTAX_ERRORS


def test_a_from_step_at_the_margin_is_no_declaration() -> None:
    assert places("network n {\nrelu relu\nfrom a\nrelu relu\n}\n") == ["2:6", "4:6"]


def test_errors_stand_in_the_order_of_the_file() -> None:
    found = errors((FOLDER / "several.net").read_text(encoding="utf-8"))
    starts = [diagnostic.span.start for diagnostic in found if diagnostic.span]
    assert len(starts) >= 6 and starts == sorted(starts)


@pytest.mark.parametrize("text", ["", "1 +", "1 2", "(", "a b", "x: 1", "{", "1 # 2\n3"])
def test_an_expression_by_itself_is_refused_with_a_place(text: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse_expression(Source(text, "--set"))
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "E0101" and diagnostic.span is not None
    assert "--set:1:" in str(raised.value) or "--set:2:" in str(raised.value)
