"""Parser: text -> syntax tree, or every syntax error that can be found.

The grammar lies in `grammars/netdsl.lark`; nothing else knows the syntax.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import Any, Final, cast

from netdsl.collector import paused_collector
from netdsl.language import syntax
from netdsl.language.automaton import Automaton, UnexpectedTokenError
from netdsl.language.builder import Builder
from netdsl.language.diagnostics import Diagnostic, SpecError, fail
from netdsl.language.explain import unexpected, unfinished, unreadable
from netdsl.language.lexer import Lexer, Scanners, TooDeepError, UnreadableError
from netdsl.language.source import Source, Span
from netdsl.language.tables import END, tables

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""Largest spec that is read, in bytes. The largest of the library has under 20 thousand."""

MAX_NESTING: Final = 100
"""Deepest tree: brackets of all kinds, and operators that hang on one another. The library's deepest has 20 levels."""

MAX_SYNTAX_ERRORS: Final = 20
"""How many syntax errors are looked for in one file."""

MAX_REREAD: Final = 1024 * 1024
"""How many characters are read again, in all, to find further syntax errors."""


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@cache
def _automaton() -> Automaton:
    return Automaton(tables())


@cache
def _scanners() -> Scanners:
    return Scanners(tables())


def parse(source: Source, *, max_nesting: int = MAX_NESTING, max_bytes: int = MAX_FILE_BYTES) -> syntax.Module:
    """The syntax tree of a source. Raises SpecError with every syntax error that was found."""
    text = source.text
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        message = f"the file has {size:,} bytes, and at most {max_bytes:,} are read"
        raise fail("E0103", message, Span(source, 0, 0), "is this a `.net` file?")
    if "\0" in text:
        raise fail("E0102", "this is a binary file, not the text of a network", Span(source, 0, 0))
    half = None if text.isascii() else _SURROGATE.search(text)
    if half is not None:
        raise fail("E0102", f"U+{ord(half.group()):04X} is half of a character", Span(source, *half.span()))
    try:
        with paused_collector():
            return _module(source, text, 0, len(text), max_nesting)
    except SpecError as error:
        if error.diagnostics[0].code == "E0104":
            raise
        raise SpecError(_all_errors(source, max_nesting) or error.diagnostics) from None


def parse_expression(source: Source) -> syntax.Expression:
    """The expression that a source consists of, e.g. a value given on the command line. Raises SpecError."""
    return cast(syntax.Expression, _run(source, source.text, 0, len(source.text), MAX_NESTING, "expression")[0])


def _module(source: Source, text: str, start: int, end: int, max_nesting: int) -> syntax.Module:
    declarations, lexer = _run(source, text, start, end, max_nesting, "module")
    return syntax.Module(source, declarations, tuple(lexer.comments))


def _run(source: Source, text: str, start: int, end: int, max_nesting: int, what: str) -> tuple[Any, Lexer]:
    """Parses the text from `start` to `end`; it is that of the source, or has blanks instead of some of it."""

    def expression(start: int, end: int) -> syntax.Expression:
        """The expression inside a label."""
        try:
            found, inner = _run(source, text, start, end, max_nesting, "expression")
        except SpecError as error:
            help = error.diagnostics[0].message
            raise fail(
                "E0101", f"`{text[start:end]}` in a label is not an expression", Span(source, start, end), help
            ) from None
        if inner.comments:
            raise fail("E0101", "a comment cannot stand inside a label", Span(source, start, end))
        return cast(syntax.Expression, found)

    lexer = Lexer(tables(), _scanners(), text, start, end, max_nesting)
    try:
        return _automaton().run(lexer, what, Builder(source, expression)), lexer
    except UnexpectedTokenError as error:
        if error.token.type == END:
            raise SpecError([unfinished(source, lexer, end, error.expected)]) from None
        raise SpecError([unexpected(source, lexer, error.token, error.expected)]) from None
    except UnreadableError as error:
        raise SpecError([unreadable(source, error.offset)]) from None
    except TooDeepError as error:
        message = f"nested deeper than {max_nesting} levels"
        raise fail(
            "E0104", message, Span(source, *error.token.at), "give parts a name, with `let` or as blocks"
        ) from None


# ------------------------------------------------------------------------------------------------------ further errors

_DECLARATION = re.compile(r"^(?:(?:network|block|fn|const|recipe)[ \t]+\w|from[ \t]+\S+[ \t]+import\b)", re.MULTILINE)


def _all_errors(source: Source, max_nesting: int) -> list[Diagnostic]:
    """The errors of each declaration by itself. Behind an error, reading goes on with the next line if the brackets of
    this one balance, else with the next declaration."""
    text = source.text
    starts = [match.start() for match in _DECLARATION.finditer(text)]
    bounds = [0, *(start for start in starts if start > 0), len(text)]
    found: list[Diagnostic] = []
    left = MAX_REREAD
    for start, end in pairwise(bounds):
        reached = start - 1
        while len(found) < MAX_SYNTAX_ERRORS and left > 0:
            left -= end - start
            try:
                _module(source, text, start, end, max_nesting)
                break
            except SpecError as error:
                diagnostic = error.diagnostics[0]
            if diagnostic.span is None or diagnostic.span.start <= reached:
                break
            found.append(diagnostic)
            reached = diagnostic.span.start
            without = _without_line(text, reached)
            if without is None:
                break
            text = without
    return found


def _without_line(text: str, offset: int) -> str | None:
    """The text with the line at an offset blanked; None where brackets of it are opened or closed on other lines."""
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    match = re.compile(r"[^\r\n]*").match(text, start)
    line = match.group() if match else ""
    if _DECLARATION.match(line) or any(line.count(a) != line.count(b) for a, b in ("()", "[]", "{}")):
        return None
    return text[:start] + " " * len(line) + text[start + len(line) :]
