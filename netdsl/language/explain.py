"""Words for what the parser met and what it waited for."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from netdsl.language.diagnostics import Diagnostic
from netdsl.language.lexer import Lexer, Token
from netdsl.language.source import Source, Span

_SPELLED = {
    "_NEWLINE": "the end of the line",
    "SEMICOLON": "`;`",
    "$END": "the end of the file",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "EQUAL": "`=`",
    "PIPE": "`|`",
    "ARROW": "`->`",
    "NAME": "a name",
    "DOTTED": "a name",
    "NUMBER": "a number",
    "STRING": "a string",
    "SHAPE": "a shape",
    "PATH": "a name",
    "LABEL": "a label",
}
_VALUES = {"NUMBER", "STRING", "SHAPE", "TRUE", "FALSE", "NONE", "UNKNOWN", "LSQB", "LPAR", "NAME", "NOT", "SUM"}
_STEPS = {"REPEAT", "RESIDUAL", "SHARE", "LABEL", "FROM", "IF", "FOR", "NAME", "LBRACE"}
_STATEMENTS = {"LET", "EXPECT", "OUTPUT", "AUXILIARY", "VARIANT", "PREPROCESS", "INPUT"}
_DECLARATIONS = {"NETWORK", "BLOCK", "FN", "CONST", "RECIPE", "FROM"}
_OPERATORS = {"SUM", "PRODUCT", "POWER", "COMPARE", "AND", "OR", "IF", "IN", "NOT", "DOT", "TILDE", "ARROW", "SPLIT"}


def unexpected(source: Source, lexer: Lexer, token: Token, expected: Set[str]) -> Diagnostic:
    """A token that does not fit."""
    opened = lexer.nesting.open
    # The token that does not fit closes or opens a bracket, so it is the last but one that is open.
    inner = next((bracket for bracket in reversed(opened) if bracket is not token), None)
    if token.type == "RBRACE" and inner is not None and inner.type != "LBRACE":
        return _unclosed(source, inner)
    message = f"unexpected `{_shortened(token.text)}`, expected {expectation(expected)}"
    start, end = token.at
    if token.type == "_NEWLINE":
        message = f"the line ends too early, expected {expectation(expected)}"
        end = start + 1
    help = _hint(source, start, token.text, expected)
    if inner is not None and inner.type != "LBRACE" and "COMMA" in expected:
        line = source.position(inner.at[0])[0]
        if line != source.position(start)[0]:
            help = f"is a comma missing before this, or is the `{inner.text}` in line {line} not closed?"
        elif help is None:
            help = f"is the `{inner.text}` closed?"
    return Diagnostic("E0101", message, Span(source, start, end), help)


def unreadable(source: Source, offset: int) -> Diagnostic:
    """A character with which no token begins."""
    character = source.text[offset]
    shown = f"`{character}`" if character.isprintable() else f"character U+{ord(character):04X}"
    hint = _CHARACTERS.get(character)
    if hint is None and character in "\"'":
        hint = f"this string has no closing {character} on its line"
    if hint is None and (character.isalpha() or not character.isascii()):
        hint = "names are written with the letters a to z and A to Z, digits and `_`"
    if hint is None and character.isdigit():
        hint = "shapes are written `3x224x224`, large numbers `4.1G`, and names begin with a letter"
    return Diagnostic("E0101", f"unexpected {shown}", Span(source, offset, offset + 1), hint)


def unfinished(source: Source, lexer: Lexer, end: int, expected: Set[str]) -> Diagnostic:
    """The text ends inside something: points at the bracket that was never closed."""
    opened = lexer.nesting.open
    if opened:
        bracket = opened[-1]
        return _unclosed(source, _outdented(source, lexer.nesting.pairs) or bracket)
    end = len(source.text[:end].rstrip())
    span = Span(source, max(0, end - 1), end)
    return Diagnostic("E0101", f"the file ends too early, expected {expectation(expected)}", span)


def _unclosed(source: Source, bracket: Token) -> Diagnostic:
    closing = {"{": "}", "(": ")", "[": "]"}[bracket.text]
    span = Span(source, *bracket.at)
    return Diagnostic("E0101", f"this `{bracket.text}` is never closed", span, f"add `{closing}`")


def _outdented(source: Source, pairs: Sequence[tuple[Token, Token]]) -> Token | None:
    """The first brace whose partner stands further left than its line begins: most likely it is the partner of another,
    and this one is not closed."""

    def margin(token: Token) -> int:
        text = source.line(source.position(token.at[0])[0])
        return len(text) - len(text.lstrip())

    return next((one for one, other in pairs if one.text == "{" and margin(other) < margin(one)), None)


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def expectation(kinds: Set[str]) -> str:
    """What would have fitted, in words, from the terminals that the parser would accept."""
    left = set(kinds)
    parts: list[str] = []
    if left >= _DECLARATIONS:
        parts.append("a declaration (network, block, fn, const, recipe, from ... import)")
        left -= _DECLARATIONS | {"_NEWLINE"}
    if left >= _STEPS:
        parts.append("a step")
        left -= _STEPS | _STATEMENTS
    if left >= _VALUES - {"NOT"}:
        parts.append("a value")
        left -= _VALUES
    ends_line = "_NEWLINE" in left
    closing = [kind for kind in ("COMMA", "RPAR", "RSQB", "RBRACE", "LBRACE", "EQUAL", "COLON", "PIPE") if kind in left]
    left -= {*closing, *_OPERATORS, "_NEWLINE", "SEMICOLON", "LSQB", "LPAR", "$END"}
    if ends_line:
        closing = [kind for kind in closing if kind not in {"LBRACE", "RBRACE", "PIPE"}]
    parts += [_SPELLED[kind] for kind in closing]
    parts += sorted({_SPELLED.get(kind, f"`{kind.lower()}`") for kind in left})
    if ends_line:
        parts.append(_SPELLED["_NEWLINE"])
    if not parts:
        parts = sorted(_SPELLED.get(kind, f"`{kind.lower()}`") for kind in kinds)
    return " or ".join(parts[-2:]) if len(parts) <= 2 else ", ".join(parts[:-1]) + " or " + parts[-1]


_CHARACTERS = {
    "&": "write `and`",
    "!": "write `not` (or `!=`)",
    "\N{NO-BREAK SPACE}": "this is a space of another kind, as word processors make them; type a plain one",
    "\N{MULTIPLICATION SIGN}": "write the letter `x` in shapes, `*` for a product",
    "\N{RIGHTWARDS ARROW}": "write `->`",
    "\N{MINUS SIGN}": "write `-`",
    "\N{EN DASH}": "write `-`",
    "\N{LESS-THAN OR EQUAL TO}": "write `<=`",
    "\N{GREATER-THAN OR EQUAL TO}": "write `>=`",
    "\N{NOT EQUAL TO}": "write `!=`",
    "\N{ALMOST EQUAL TO}": "write `~`",
    **dict.fromkeys("\u2018\u2019\u201c\u201d", "write plain quotes: \" or '"),
}


def _hint(source: Source, offset: int, found: str, expected: Set[str]) -> str | None:
    """A mend for the mistakes that people make most."""
    before = source.text[max(0, offset - 1000) : offset]
    line = re.split(r"[\r\n]", before)[-1]
    if found == "=" and re.search(r"\bexpect\b", line):
        return "write `==` for a comparison"
    if found == "=" and re.match(r"\s*\w+\s*$", line):
        return "write `let NAME = ...` to name a value"
    if found in {"class", "def", "module", "model", "layer"}:
        return "write `network NAME { ... }` or `block NAME(...) { ... }`"
    if re.search(r"\binput\s*:\s*$", before):
        return "write `input NAME: SHAPE`"
    if re.search(r"\boutput\s+\S+\s*:\s*$", before):
        return "an output without steps ends with a semicolon: `output NAME:;`"
    if found == "import":
        return "write `from FILE import NAME`"
    if line.split()[-1:] == ["elif"]:
        return "write `else if`"
    if "LBRACE" in expected and (found == ":" or line.rstrip().endswith(":")):
        return "bodies stand between braces: `{ ... }`"
    if found == "|":
        return "lanes stand inside a join: `add { | ... | ... }`"
    if "COMMA" in expected and re.match(r"[\w\"'\[(]", found):
        return "is a comma missing before this?"
    if found == "-" and "DOTTED" in expected:
        return "no entry of a recipe takes a number below 0"
    if found == "-" and "LBRACE" in expected and "SUM" not in expected:
        return "names are written with letters, digits and `_`"
    if "ARROW" in expected and re.match(r"\w", found):
        return "put each step on a line of its own, or `->` between them"
    return None
