"""Places in a source, and diagnostics as text and as data."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdsl.language.diagnostics import (
    MAX_EXCERPT,
    CodedError,
    Diagnostic,
    SpecError,
    did_you_mean,
    nearest,
    render,
    render_one,
    to_json,
    to_sarif,
)
from netdsl.language.source import Source, Span


@given(st.text(alphabet="ab\n\r", max_size=30), st.data())
def test_positions_count_lines_as_python_does(text: str, data: st.DataObject) -> None:
    source = Source(text)
    offset = data.draw(st.integers(0, len(text)))
    line, column = source.position(offset)
    # Between the halves of a line break we are still on its line.
    inside = text[offset - 1 : offset + 1] == "\r\n"
    before = text[: offset - inside].splitlines(keepends=True) or [""]
    ended = before[-1].endswith(("\n", "\r"))
    assert line == len(before) + ended
    assert column == (1 if ended else len(before[-1]) + 1) + inside
    assert source.line(line) == [*text.splitlines(), ""][line - 1]


def test_lines_behind_the_end_are_empty() -> None:
    assert Source("a\nb").line(3) == ""


def test_a_diagnostic_as_text() -> None:
    source = Source("network n {\n  block(3)\n}\nblock block(k) {\n  conv(8, kk)\n}\n", "nets/n.net")
    place = source.text.index("kk")
    call = source.text.index("block(3)")
    diagnostic = Diagnostic(
        "E0201",
        "unknown name `kk`",
        Span(source, place, place + 2),
        "did you mean `k`?",
        trace=(("block", Span(source, call, call + 8)),),
        notes=("k is 3",),
    )
    assert render_one(diagnostic) == (
        "error[E0201]: unknown name `kk`\n"
        " --> nets/n.net:5:11\n"
        "  |\n"
        "5 |   conv(8, kk)\n"
        "  |           ^^\n"
        "  = in block, called at nets/n.net:2:3\n"
        "  = note: k is 3\n"
        "  = help: did you mean `k`?"
    )
    assert str(SpecError([diagnostic, diagnostic])) == render([diagnostic, diagnostic])
    assert render([diagnostic, diagnostic]).count("\n\n") == 1


def test_a_span_of_several_lines_is_underlined_to_the_end_of_the_first() -> None:
    source = Source("conv(\n  8\n)\n")
    assert render_one(Diagnostic("E0301", "no", Span(source, 0, 11))).endswith("1 | conv(\n  | ^^^^^")


@pytest.mark.parametrize(
    ("text", "columns"),
    [("const a = (", 10), ("\tconst a", 7), ("\u8f38\u5165 \u00fc x", 7), ("\U0001f600x", 2), ("e\u0301x", 1)],
    ids=["plain", "tab", "wide", "emoji", "accent"],
)
def test_the_caret_stands_under_the_last_character(text: str, columns: int) -> None:
    """East Asian characters and emoji take two columns of a terminal, accents none."""
    source = Source(text)
    shown = render_one(Diagnostic("E0101", "no", Span(source, len(text) - 1, len(text))))
    assert shown.splitlines()[-1] == "  | " + " " * columns + "^"


def test_long_lines_are_cut_around_the_place() -> None:
    source = Source("a" * 5000 + "!" + "b" * 5000)
    lines = render_one(Diagnostic("E0101", "no", Span(source, 5000, 5001))).splitlines()
    assert all(len(line) < MAX_EXCERPT + 20 for line in lines)
    assert lines[-2][lines[-1].index("^")] == "!"


def test_control_characters_are_not_printed() -> None:
    source = Source("a \x1b[31m red \x07")
    shown = render_one(Diagnostic("E0101", "no", Span(source, 0, 1)))
    assert "\x1b" not in shown and "\x07" not in shown


def test_a_diagnostic_without_a_place() -> None:
    assert str(CodedError("E0701", "no file", "look", ["one"])) == "error[E0701]: no file\n = note: one\n = help: look"


def test_names_that_were_meant() -> None:
    assert nearest("batchnorm", ["batch_norm", "layer_norm"]) == "batch_norm"
    assert nearest("Conv", ["conv", "dense"]) == "conv"
    assert nearest("zzz", ["conv", "dense"]) is None
    assert did_you_mean("Conv", ["conv"]) == "did you mean `conv`?"
    assert did_you_mean("zzz", ["conv"]) is None


def test_diagnostics_as_data() -> None:
    source = Source("a\nbcd\n", "n.net")
    found = [
        Diagnostic(
            "E0201", "unknown", Span(source, 3, 5), "help", trace=(("unit", Span(source, 0, 1)),), notes=("so",)
        ),
        Diagnostic("W0001", "odd", severity="warning"),
    ]
    place = {"file": "n.net", "line": 2, "column": 2, "end_line": 2, "end_column": 4}
    caller = {"block": "unit", "file": "n.net", "line": 1, "column": 1, "end_line": 1, "end_column": 2}
    assert json.loads(json.dumps(to_json(found))) == [
        {
            "code": "E0201",
            "severity": "error",
            "message": "unknown",
            "help": "help",
            "notes": ["so"],
            "trace": [caller],
            **place,
        },
        {"code": "W0001", "severity": "warning", "message": "odd", "help": None, "notes": [], "trace": []},
    ]


def test_diagnostics_as_sarif() -> None:
    """The properties that SARIF 2.1.0 (OASIS, 2020) asks for in sections 3.13, 3.14, 3.27 to 3.30."""
    source = Source("a\nbcd\n", "my nets/n.net")
    found = [Diagnostic("E0201", "unknown", Span(source, 3, 5), "help"), Diagnostic("E0101", "no")]
    log = json.loads(json.dumps(to_sarif(found, {"E0201": "an unknown name"}, "0.1.0")))
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["columnKind"] == "unicodeCodePoints"
    assert [rule["id"] for rule in rules] == ["E0101", "E0201"]
    assert rules[1]["shortDescription"] == {"text": "an unknown name"}
    for result, diagnostic in zip(run["results"], found, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == diagnostic.code
        assert result["level"] == "error" and result["message"]["text"].startswith(diagnostic.message)
    (location,) = run["results"][0]["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "my%20nets/n.net"},
        "region": {"startLine": 2, "startColumn": 2, "endLine": 2, "endColumn": 4},
    }
    assert "locations" not in run["results"][1]
