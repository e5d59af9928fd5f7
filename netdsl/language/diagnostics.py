"""Diagnostics: what is wrong, where, what was expected, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal
from unicodedata import combining, east_asian_width
from urllib.parse import quote

from netdsl.language.source import Span


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `trace` is the chain of block calls that led to it, outermost first."""

    code: str
    message: str
    span: Span | None = None
    help: str | None = None
    trace: tuple[tuple[str, Span], ...] = ()
    notes: tuple[str, ...] = ()
    severity: Literal["error", "warning"] = "error"


class NetdslError(Exception):
    """Base of every error that netdsl raises for bad input."""


@dataclass(eq=False)
class SpecError(NetdslError):
    """A spec does not compile. Holds every independent finding; `str()` renders them as text."""

    diagnostics: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return render(self.diagnostics)


def fail(code: str, message: str, span: Span | None = None, help: str | None = None) -> SpecError:
    """A SpecError of one diagnostic, ready to be raised."""
    return SpecError([Diagnostic(code, message, span, help)])


class CodedError(NetdslError):
    """Bad input that has no place in a spec: a weights file, an image, an array. `str()` renders it as text."""

    def __init__(self, code: str, message: str, help: str | None = None, notes: Sequence[str] = ()) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.help = help
        self.notes = tuple(notes)

    @property
    def diagnostic(self) -> Diagnostic:
        return Diagnostic(self.code, self.message, help=self.help, notes=self.notes)

    def __str__(self) -> str:
        return render_one(self.diagnostic)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be."""
    candidates = sorted(set(known))
    lowered = {candidate.lower(): candidate for candidate in candidates}
    found = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    found = nearest(name, known)
    return f"did you mean `{found}`?" if found else None


MAX_EXCERPT = 160
"""Longest piece of a source line that is quoted, in characters; a longer line is cut around the place."""


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


MAX_TRACE = 8
"""How many calls of the way to an error are shown as text: the innermost and the outermost."""


def _excerpt(span: Span) -> tuple[str, int, int]:
    """The line of a span, where the caret starts in it, and how many columns it underlines."""
    line, column = span.source.position(span.start)
    text = span.source.line(line).replace("\t", " ")
    start = column - 1
    length = max(1, min(span.end - span.start, len(text) - start))
    if len(text) > MAX_EXCERPT:
        cut = max(0, start - MAX_EXCERPT // 3)
        text = ("..." if cut else "") + text[cut : cut + MAX_EXCERPT] + ("..." if cut + MAX_EXCERPT < len(text) else "")
        start = start - cut + (3 if cut else 0)
        length = max(1, min(length, len(text) - start))
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text, _width(text[:start]), max(1, _width(text[start : start + length]))


def render_one(diagnostic: Diagnostic) -> str:
    """One diagnostic as text: a headline, the place with a caret, the way there, and the help."""
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"]
    margin = ""
    if diagnostic.span is not None:
        line, _ = diagnostic.span.source.position(diagnostic.span.start)
        text, start, length = _excerpt(diagnostic.span)
        margin = " " * len(str(line))
        lines.append(f"{margin}--> {diagnostic.span!r}")
        lines.append(f"{margin} |")
        lines.append(f"{line} | {text}")
        lines.append(f"{margin} | {' ' * start}{'^' * length}")
    calls = [f"{margin} = in {name}, called at {span!r}" for name, span in reversed(diagnostic.trace)]
    if len(calls) > MAX_TRACE:
        half = MAX_TRACE // 2
        calls[half:-half] = [f"{margin} = ... {len(calls) - 2 * half} more calls ..."]
    lines += calls
    lines += [f"{margin} = note: {note}" for note in diagnostic.notes]
    if diagnostic.help:
        lines.append(f"{margin} = help: {diagnostic.help}")
    return "\n".join(lines)


def render(diagnostics: Sequence[Diagnostic]) -> str:
    """All diagnostics as text, with a blank line between them."""
    return "\n\n".join(render_one(diagnostic) for diagnostic in diagnostics)


def to_json(diagnostics: Sequence[Diagnostic]) -> list[dict[str, object]]:
    """The diagnostics as plain data."""
    rows: list[dict[str, object]] = []
    for diagnostic in diagnostics:
        row: dict[str, object] = {
            "code": diagnostic.code,
            "severity": diagnostic.severity,
            "message": diagnostic.message,
            "help": diagnostic.help,
            "notes": list(diagnostic.notes),
            "trace": [{"block": name, **_place(span)} for name, span in diagnostic.trace],
        }
        if diagnostic.span is not None:
            row |= _place(diagnostic.span)
        rows.append(row)
    return rows


def _place(span: Span) -> dict[str, object]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(max(span.start, span.end))
    return {"file": span.source.name, "line": line, "column": column, "end_line": end_line, "end_column": end_column}


def to_sarif(diagnostics: Sequence[Diagnostic], titles: dict[str, str], version: str) -> dict[str, object]:
    """The diagnostics as a SARIF 2.1.0 log (OASIS), which editors and code hosts read."""
    codes = sorted({diagnostic.code for diagnostic in diagnostics})
    results: list[dict[str, object]] = []
    for diagnostic in diagnostics:
        text = diagnostic.message + (f". {diagnostic.help}" if diagnostic.help else "")
        result: dict[str, object] = {
            "ruleId": diagnostic.code,
            "ruleIndex": codes.index(diagnostic.code),
            "level": diagnostic.severity,
            "message": {"text": text},
        }
        if diagnostic.span is not None:
            result["locations"] = [_sarif_location(diagnostic.span)]
        if diagnostic.trace:
            result["relatedLocations"] = [
                {**_sarif_location(span), "message": {"text": f"in {name}"}} for name, span in diagnostic.trace
            ]
        results.append(result)
    rules = [{"id": code, "shortDescription": {"text": titles.get(code, code)}} for code in codes]
    driver = {"name": "netdsl", "version": version, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _sarif_location(span: Span) -> dict[str, object]:
    place = _place(span)
    region = {
        "startLine": place["line"],
        "startColumn": place["column"],
        "endLine": place["end_line"],
        "endColumn": place["end_column"],
    }
    uri = quote(str(place["file"]).replace("\\", "/"))
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}
