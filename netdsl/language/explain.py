"""Words for what the parser met and what it waited for."""

from __future__ import annotations

import re
from collections.abc import Set

from netdsl.language.source import Source

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
    "NAME": "a name",
    "PATH": "the name of a tensor",
    "LABEL": "a label",
    "__ANON_0": "`->`",
}
_VALUES = {"NUMBER", "STRING", "SHAPE", "TRUE", "FALSE", "NONE", "UNKNOWN", "LSQB", "LPAR", "NAME", "NOT", "SUM"}
_STEPS = {"REPEAT", "RESIDUAL", "SHARE", "LABEL", "FROM", "IF", "FOR", "NAME", "LBRACE"}
_STATEMENTS = {"LET", "EXPECT", "OUTPUT", "AUXILIARY", "VARIANT", "PREPROCESS", "INPUT"}
_DECLARATIONS = {"NETWORK", "BLOCK", "FN", "CONST", "RECIPE", "FROM"}
_OPERATORS = {"SUM", "PRODUCT", "POWER", "COMPARE", "AND", "OR", "IF", "IN", "NOT", "DOT", "TILDE", "__ANON_0", "SPLIT"}


def spelled(kind: str, text: str) -> str:
    """What was found, in words."""
    if kind == "_NEWLINE":
        return _SPELLED[kind]
    return f"`{text}`" if text else _SPELLED.get(kind, kind.lower())


def expectation(kinds: Set[str]) -> str:
    """What would have fitted, in words, from the terminals that the parser would accept."""
    left = set(kinds) - {"COMMENT", "CONTINUATION"}
    parts: list[str] = []
    if left >= _DECLARATIONS:
        parts.append("a declaration (network, block, fn, const, recipe, from ... import)")
        left -= _DECLARATIONS
    if left >= _STEPS:
        parts.append("a step")
        left -= _STEPS | _STATEMENTS
    if left >= _VALUES - {"NOT"}:
        parts.append("a value")
        left -= _VALUES
    closing = [kind for kind in ("COMMA", "RPAR", "RSQB", "RBRACE", "LBRACE", "EQUAL", "COLON", "PIPE") if kind in left]
    parts += [_SPELLED[kind] for kind in closing]
    left -= set(closing) | _OPERATORS
    if "_NEWLINE" in left and not parts:
        parts.append(_SPELLED["_NEWLINE"])
    left -= {"_NEWLINE", "SEMICOLON", "LSQB", "LPAR", "$END"}
    parts += sorted(_SPELLED.get(kind, f"`{kind.lower()}`") for kind in left)
    if not parts:
        return "the end of the line" if kinds else "nothing more"
    return " or ".join(parts[-2:]) if len(parts) <= 2 else ", ".join(parts[:-1]) + " or " + parts[-1]


def hint(source: Source, offset: int, found: str, expected: Set[str]) -> str | None:
    """A mend for the mistakes that people make most."""
    before = source.text[:offset]
    line = before.rsplit("\n", 1)[-1]
    if found == "=" and re.search(r"\bexpect\b", line):
        return "write `==` for a comparison"
    if found == "=" and re.match(r"\s*\w+\s*$", line):
        return "write `let NAME = ...` to name a value"
    if found in {"&", "&&"}:
        return "write `and`"
    if found == "!":
        return "write `not` (or `!=`)"
    if found in {"True", "False", "None"}:
        return f"write `{found.lower()}`"
    if found in {"class", "def", "module", "model", "layer"}:
        return "write `network NAME { ... }` or `block NAME(...) { ... }`"
    if found == "import":
        return "write `from FILE import NAME`"
    if found in {"elif"}:
        return "write `else if`"
    if "LBRACE" in expected and (found == ":" or line.rstrip().endswith(":")):
        return "bodies stand between braces: `{ ... }`"
    if found == "}" and ("RPAR" in expected or "RSQB" in expected):
        return "a `(` or `[` before this is not closed"
    if found == "|":
        return "lanes stand inside a join: `add { | ... | ... }`"
    if "COMMA" in expected and re.match(r"[\w\"'\[(]", found):
        return "is a comma missing before this?"
    if "_NEWLINE" in expected and re.match(r"\w", found):
        return "put each step on a line of its own, or `->` between them"
    return None
