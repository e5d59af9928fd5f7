"""Parser: text -> syntax tree, or every syntax error that can be found.

The grammar lies in `grammars/netdsl.lark`; nothing else knows the syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from lark import Lark, Token, UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from netdsl.collector import paused_collector
from netdsl.language import syntax
from netdsl.language.builder import Builder
from netdsl.language.diagnostics import Diagnostic, SpecError
from netdsl.language.explain import expectation, hint, spelled
from netdsl.language.source import Source, Span
from netdsl.resources import grammar_path

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Largest spec that is read, in bytes. The largest of the library has under 20 thousand."""

MAX_NESTING = 200
"""Deepest nesting of braces, parentheses and brackets."""

MAX_SYNTAX_ERRORS = 20
"""How many syntax errors are looked for in one file."""

_OPENING = {"LBRACE", "LPAR", "LSQB"}
_CLOSING = {"RBRACE": "LBRACE", "RPAR": "LPAR", "RSQB": "LSQB"}
_BRACKETS = {"LBRACE": "{", "LPAR": "(", "LSQB": "["}
# Behind these a newline means nothing, so that a body may begin on the next line.
_OPEN_ENDED = {"LBRACE", "PIPE", "LABEL", "SEMICOLON", "COMMA", "_NEWLINE", "__ANON_0", ""}


class _Nesting(SpecError):
    pass


class _Layout:
    """Between lexer and parser: drops the newlines that separate nothing, and bounds the nesting."""

    always_accept = ("_NEWLINE",)

    def __init__(self, source: Source, max_nesting: int) -> None:
        self.source = source
        self.max_nesting = max_nesting
        self.open: list[Token] = []

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        # A list of its own for each run: a label holds expressions, which are parsed while the file is.
        opened = self.open = []
        previous = ""
        for token in stream:
            kind = token.type
            if kind == "_NEWLINE":
                if previous in _OPEN_ENDED or previous == "ARROW" or (opened and opened[-1].type != "LBRACE"):
                    continue
            elif kind in _OPENING:
                if len(opened) >= self.max_nesting:
                    message = f"nested deeper than {self.max_nesting} levels"
                    raise _Nesting([Diagnostic("E0104", message, _token_span(self.source, token), "use blocks")])
                opened.append(token)
            elif kind in _CLOSING and opened and opened[-1].type == _CLOSING[kind]:
                opened.pop()
            previous = "ARROW" if token == "->" else kind
            yield token


def _token_span(source: Source, token: Token) -> Span:
    return Span(source, token.start_pos or 0, token.end_pos or 0)


@cache
def _grammar() -> str:
    return grammar_path().read_text(encoding="utf-8")


class _Parser:
    """One Lark parser whose tree builder and layout filter are pointed at the source in hand."""

    def __init__(self) -> None:
        self.comments: list[syntax.Comment] = []
        self.layout = _Layout(Source(""), MAX_NESTING)
        self.builder = Builder(Source(""), self.expression)
        self.source = Source("")
        self.lark = Lark(
            _grammar(),
            parser="lalr",
            lexer="contextual",
            start=["module", "expression"],
            transformer=self.builder,
            postlex=self.layout,  # type: ignore[arg-type]
            keep_all_tokens=True,
            maybe_placeholders=True,
            lexer_callbacks={"COMMENT": self._comment, "CONTINUATION": self._continuation},
        )

    def _comment(self, token: Token) -> Token:
        self._keep(token.start_pos or 0, str(token))
        return token

    def _continuation(self, token: Token) -> Token:
        for match in re.finditer(r"#[^\n]*", str(token)):
            self._keep((token.start_pos or 0) + match.start(), match.group())
        return token

    def _keep(self, offset: int, text: str) -> None:
        line, column = self.source.position(offset)
        own_line = not self.source.line(line)[: column - 1].strip()
        self.comments.append(syntax.Comment(offset, text.rstrip(), own_line))

    def expression(self, text: str, offset: int) -> syntax.Expression:
        """The expression inside a label; its offsets are those of the file."""
        opened = self.layout.open
        try:
            found: Any = self.lark.parse(" " * offset + text, start="expression")
            return cast(syntax.Expression, found)
        except UnexpectedInput:
            span = Span(self.source, offset, offset + len(text))
            raise SpecError([Diagnostic("E0101", f"`{text}` in a label is not an expression", span)]) from None
        finally:
            self.layout.open = opened

    def module(self, source: Source, max_nesting: int) -> syntax.Module:
        self.source = self.layout.source = self.builder.source = source
        self.layout.max_nesting = max_nesting
        self.comments.clear()
        with paused_collector():
            declarations: Any = self.lark.parse(source.text, start="module")
        return syntax.Module(source, declarations, tuple(self.comments))


@cache
def _parser() -> _Parser:
    return _Parser()


def parse(source: Source, *, max_nesting: int = MAX_NESTING, max_bytes: int = MAX_FILE_BYTES) -> syntax.Module:
    """The syntax tree of a source. Raises SpecError with every syntax error that was found."""
    text = source.text
    if len(text) > max_bytes:
        message = f"the file has {len(text):,} bytes, and at most {max_bytes:,} are read"
        raise SpecError([Diagnostic("E0103", message, Span(source, 0, 0), "is this a `.net` file?")])
    if "\0" in text:
        raise SpecError([Diagnostic("E0102", "this is a binary file, not the text of a network", Span(source, 0, 0))])
    try:
        return _parser().module(source, max_nesting)
    except (UnexpectedInput, SpecError) as error:
        raise SpecError(_collect(source, error, max_nesting)) from None


def parse_expression(source: Source) -> syntax.Expression:
    """The expression that a source consists of, e.g. a value given on the command line. Raises SpecError."""
    parser = _parser()
    parser.source = parser.layout.source = parser.builder.source = source
    parser.layout.max_nesting = MAX_NESTING
    try:
        found: Any = parser.lark.parse(source.text, start="expression")
        return cast(syntax.Expression, found)
    except (UnexpectedInput, SpecError) as error:
        raise SpecError([_diagnose(source, error)]) from None


def _collect(source: Source, error: UnexpectedInput | SpecError, max_nesting: int) -> list[Diagnostic]:
    """All independent syntax errors: the part with an error is blanked out and the rest parsed again."""
    found: list[Diagnostic] = []
    text = source.text
    current: UnexpectedInput | SpecError | None = error
    while current is not None and len(found) < MAX_SYNTAX_ERRORS:
        diagnostic = _diagnose(source, current)
        found.append(diagnostic)
        if diagnostic.code in {"E0103", "E0104"} or diagnostic.span is None:
            break
        text = _without(text, diagnostic.span.start)
        current = None
        try:
            _parser().module(Source(text, source.name), max_nesting)
        except (UnexpectedInput, SpecError) as again:
            if _offset(again) > diagnostic.span.start:
                current = again
    return found


def _offset(error: UnexpectedInput | SpecError) -> int:
    if isinstance(error, SpecError):
        span = error.diagnostics[0].span
        return span.start if span else 0
    return error.pos_in_stream or 0


_DECLARATION = re.compile(r"^(?:network|block|fn|const|recipe|from)\b", re.MULTILINE)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _without(text: str, offset: int) -> str:
    """The text with the line of an error blanked if its brackets balance, else with its whole declaration blanked."""
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    end = len(text) if end < 0 else end
    line = text[start:end]
    balanced = all(line.count(a) == line.count(b) for a, b in ("()", "[]", "{}"))
    if not balanced or _DECLARATION.match(line):
        starts = [match.start() for match in _DECLARATION.finditer(text)]
        start = max((s for s in starts if s <= offset), default=start)
        end = min((s for s in starts if s > offset), default=len(text))
    return text[:start] + _blank(text[start:end]) + text[end:]


def _diagnose(source: Source, error: UnexpectedInput | SpecError) -> Diagnostic:
    if isinstance(error, SpecError):
        return error.diagnostics[0]
    if isinstance(error, UnexpectedCharacters):
        offset = error.pos_in_stream or 0
        character = source.text[offset : offset + 1]
        span = Span(source, offset, offset + 1)
        shown = character if character.isprintable() else f"character U+{ord(character):04X}"
        return Diagnostic("E0101", f"unexpected `{shown}`", span, hint(source, offset, character, set(error.allowed or ())))
    if not isinstance(error, UnexpectedToken):
        end = len(source.text.rstrip())
        return Diagnostic("E0101", "the file ends too early", Span(source, max(0, end - 1), end))
    token = error.token
    expected = set(error.accepts or error.expected)
    offset = token.start_pos if token.start_pos is not None else len(source.text)
    if token.type == "$END":
        return _unfinished(source, expected)
    span = Span(source, offset, token.end_pos or offset + 1)
    message = f"unexpected {spelled(token.type, str(token))}, expected {expectation(expected)}"
    return Diagnostic("E0101", message, span, hint(source, offset, str(token), expected))


def _unfinished(source: Source, expected: set[str]) -> Diagnostic:
    """The file ends inside something: points at the bracket that was never closed."""
    opened = _parser().layout.open
    end = len(source.text.rstrip())
    if opened:
        bracket = opened[-1]
        closing = {"{": "}", "(": ")", "[": "]"}[_BRACKETS[bracket.type]]
        span = _token_span(source, bracket)
        return Diagnostic("E0101", f"this `{bracket}` is never closed", span, f"add `{closing}`")
    span = Span(source, max(0, end - 1), end)
    return Diagnostic("E0101", f"the file ends too early, expected {expectation(expected)}", span)
