"""From the parser's reductions to the syntax tree: one method for each rule of the grammar.

No token is filtered out, so that the span of a node can be read off its first and last child.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from math import inf
from typing import Any, TypeVar

from netdsl.language import syntax
from netdsl.language.diagnostics import SpecError, fail
from netdsl.language.lexer import Token
from netdsl.language.source import Source, Span

Children = list[Any]
N = TypeVar("N")

SUFFIXES = {"K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}

MAX_DIGITS = 400
"""Longest number, in characters: reading a longer one costs more than linear time."""

MAX_EXACT = 2**63
"""Numbers with a suffix are whole numbers up to here if they have no fraction: `4.1G`."""

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_PLACEHOLDER = re.compile(r"\{([^{}\r\n]*)\}")
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "not in"})


def _at(children: Children) -> syntax.At:
    return (children[0].at[0], children[-1].at[1]) if children else (0, 0)


def _all(children: Children, kind: type[N]) -> tuple[N, ...]:
    return tuple(child for child in children if isinstance(child, kind))


def _one(children: Children, kind: type[N]) -> N | None:
    return next((child for child in children if isinstance(child, kind)), None)


def _names(children: Children) -> list[str]:
    return [child.text for child in children if isinstance(child, Token) and child.type == "NAME"]


class _Names(tuple[str, ...]):
    """The targets of `for` and `let`, with their span."""

    at: syntax.At = (0, 0)


class _Arguments(tuple[syntax.Argument, ...]):
    at: syntax.At = (0, 0)


class _Parameters(tuple[syntax.Parameter, ...]):
    at: syntax.At = (0, 0)


class Builder:
    """Builds the tree of one source while the parser runs. `parse_expression` parses a stretch of it by itself."""

    def __init__(self, source: Source, parse_expression: Callable[[int, int], syntax.Expression]) -> None:
        self._source = source
        self._parse_expression = parse_expression

    def _error(self, code: str, message: str, at: syntax.At, help: str | None = None) -> SpecError:
        return fail(code, message, Span(self._source, *at), help)

    # ------------------------------------------------------------------------------------------------- declarations

    def module(self, c: Children) -> tuple[syntax.Declaration, ...]:
        return _all(c, syntax.Declaration)

    def network(self, c: Children) -> syntax.Network:
        return syntax.Network(_at(c), _names(c)[0], _plain(_one(c, _Parameters)), c[-1])

    def block(self, c: Children) -> syntax.Block:
        return syntax.Block(_at(c), _names(c)[0], _plain(_one(c, _Parameters)), c[-1])

    def function(self, c: Children) -> syntax.Function:
        return syntax.Function(_at(c), c[1].text, tuple(c[2]), c[-1])

    def constant(self, c: Children) -> syntax.Const:
        return syntax.Const(_at(c), c[1].text, c[-1])

    def import_(self, c: Children) -> syntax.Import:
        return syntax.Import(_at(c), c[1].text, _all(c, syntax.Imported))

    def imported(self, c: Children) -> syntax.Imported:
        names = _names(c)
        return syntax.Imported(_at(c), names[0], names[1] if len(names) > 1 else None)

    def parameters(self, c: Children) -> _Parameters:
        built = _Parameters(_all(c, syntax.Parameter))
        built.at = _at(c)
        return built

    def parameter(self, c: Children) -> syntax.Parameter:
        return syntax.Parameter(_at(c), c[0].text, c[2] if len(c) > 1 else None)

    # ------------------------------------------------------------------------------------------------------- bodies

    def body(self, c: Children) -> syntax.Body:
        at = _at(c)
        lanes: list[tuple[syntax.At, list[syntax.Statement]]] = []
        current: list[syntax.Statement] = []
        first = current
        for child in c[1:-1]:
            if isinstance(child, Token):
                if child.type == "PIPE":
                    current = []
                    lanes.append((child.at, current))
            else:
                current.append(child)
        built = tuple(
            syntax.Lane((place[0], statements[-1].at[1] if statements else place[1]), tuple(statements))
            for place, statements in lanes
        )
        return syntax.Body(at, tuple(first), built)

    def chain(self, c: Children) -> syntax.Chain:
        return syntax.Chain(_at(c), tuple(child for child in c if isinstance(child, syntax.Step | syntax.Input)))

    def step(self, c: Children) -> syntax.Step:
        label = self._label(c[0]) if isinstance(c[0], Token) and c[0].type == "LABEL" else None
        return syntax.Step(_at(c), label, c[-1])

    def call(self, c: Children) -> syntax.Call:
        return syntax.Call(_at(c), c[0].text, tuple(c[1]) if len(c) > 1 else None)

    def group(self, c: Children) -> syntax.Group:
        return syntax.Group(_at(c), c[0])

    def condition(self, c: Children) -> syntax.If:
        otherwise = c[4] if len(c) > 4 else None
        return syntax.If(_at(c), c[1], c[2], otherwise)

    def loop(self, c: Children) -> syntax.For:
        return syntax.For(_at(c), tuple(c[1]), c[3], c[4])

    def repetition(self, c: Children) -> syntax.Repeat:
        names = _names(c)
        return syntax.Repeat(_at(c), c[1], names[0] if names else None, c[-1])

    def join(self, c: Children) -> syntax.Join:
        arguments = _one(c, _Arguments)
        split = _one(c[1:], syntax.Expression)
        return syntax.Join(_at(c), c[0].text, None if arguments is None else tuple(arguments), split, c[-1])

    def residual(self, c: Children) -> syntax.Residual:
        return syntax.Residual(_at(c), _one(c, syntax.Expression), c[-1])

    def from_step(self, c: Children) -> syntax.From:
        if isinstance(c[1], Token) and c[1].type == "PATH":
            return syntax.From(_at(c), self._label(c[1]), None)
        return syntax.From(_at(c), None, c[2])

    def share(self, c: Children) -> syntax.Share:
        return syntax.Share(_at(c), self._label(c[1]))

    def input(self, c: Children) -> syntax.Input:
        label = next((self._label(child) for child in c if isinstance(child, Token) and child.type == "LABEL"), None)
        return syntax.Input(_at(c), label, c[-1])

    def let(self, c: Children) -> syntax.Let:
        return syntax.Let(_at(c), tuple(c[1]), c[3])

    def output(self, c: Children) -> syntax.Output:
        return syntax.Output(_at(c), self._label(c[1]), _one(c, syntax.Chain))

    def auxiliary(self, c: Children) -> syntax.Auxiliary:
        return syntax.Auxiliary(_at(c), self._label(c[1]), c[2])

    def preprocess(self, c: Children) -> syntax.Preprocess:
        return syntax.Preprocess(_at(c), _all(c, syntax.Call))

    def variant(self, c: Children) -> syntax.Variant:
        return syntax.Variant(_at(c), c[1].text, tuple(c[2]), _one(c, syntax.Expect))

    def expect(self, c: Children) -> syntax.Expect:
        return syntax.Expect(_at(c), _all(c, syntax.Claim))

    def claim(self, c: Children) -> syntax.Claim:
        return syntax.Claim(_at(c), c[0], c[2] if len(c) > 2 else None)

    def names(self, c: Children) -> _Names:
        built = _Names(_names(c))
        built.at = _at(c)
        return built

    def _label(self, token: Token) -> syntax.Label:
        """`layer{i + 1}:` in parts; a token of plain text is one part."""
        start = token.at[0]
        text = token.text.rstrip(": \t") if token.type == "LABEL" else token.text
        parts: list[str | syntax.Expression] = []
        position = 0
        for match in _PLACEHOLDER.finditer(text):
            if match.start() > position:
                parts.append(text[position : match.start()])
            parts.append(self._parse_expression(start + match.start(1), start + match.end(1)))
            position = match.end()
        if position < len(text):
            parts.append(text[position:])
        return syntax.Label((start, start + len(text)), tuple(parts))

    # -------------------------------------------------------------------------------------------------- expressions

    def choice(self, c: Children) -> syntax.Choice:
        return syntax.Choice(_at(c), c[0], c[2], c[4])

    def binary(self, c: Children) -> syntax.Binary:
        return syntax.Binary(_at(c), c[1].text, c[0], c[2])

    either = both = binary

    def compare(self, c: Children) -> syntax.Binary:
        return self._comparison(_at(c), c[1].text, c[0], c[2])

    contains = compare

    def lacks(self, c: Children) -> syntax.Binary:
        return self._comparison(_at(c), "not in", c[0], c[3])

    def _comparison(self, at: syntax.At, operator: str, left: Any, right: Any) -> syntax.Binary:
        """`a < b < c` is `a < b and b < c`, as in Python, with one node for both b."""
        last = left.right if isinstance(left, syntax.Binary) and left.operator == "and" else left
        if isinstance(last, syntax.Binary) and last.operator in _COMPARISONS:
            middle = last.right
            right = syntax.Binary((middle.at[0], at[1]), operator, middle, right)
            return syntax.Binary(at, "and", left, right)
        return syntax.Binary(at, operator, left, right)

    def unary(self, c: Children) -> syntax.Unary:
        return syntax.Unary(_at(c), c[0].text, c[1])

    negate = unary

    def attribute(self, c: Children) -> syntax.Attribute:
        return syntax.Attribute(_at(c), c[0], c[2].text)

    def index(self, c: Children) -> syntax.Index:
        return syntax.Index(_at(c), c[0], c[2])

    def slice(self, c: Children) -> syntax.Slice:
        colon = next(i for i, child in enumerate(c) if isinstance(child, Token) and child.type == "COLON")
        start = c[2] if colon > 2 else None
        stop = c[colon + 1] if colon + 1 < len(c) - 1 else None
        return syntax.Slice(_at(c), c[0], start, stop)

    def apply(self, c: Children) -> syntax.Apply:
        return syntax.Apply(_at(c), c[0], tuple(c[1]))

    def number(self, c: Children) -> syntax.Constant:
        text = c[0].text
        if len(text) > MAX_DIGITS:
            raise self._error("E0105", f"this number has {len(text):,} characters, at most {MAX_DIGITS}", _at(c))
        digits = text.replace("_", "")
        value: int | float
        if digits.isdigit():
            value = int(digits)
        elif digits[-1] == "%":
            value = float(digits[:-1]) / 100
        elif digits[-1] in SUFFIXES:
            scale = SUFFIXES[digits[-1]]
            value = float(digits[:-1]) * scale
            # Whole where it is whole as it is written: 4.1 * 10**9 is not, in floating point.
            exact = Decimal(digits[:-1]) * scale if "e" not in digits.lower() else Decimal(value)
            if value < MAX_EXACT and exact == int(exact):
                value = int(exact)
        else:
            value = float(digits)
        if value == inf:
            raise self._error("E0503", f"`{text}` is larger than any floating-point number", _at(c))
        return syntax.Constant(_at(c), value, text)

    def shape(self, c: Children) -> syntax.ShapeLiteral:
        text = c[0].text
        if len(text) > MAX_DIGITS:
            raise self._error("E0105", f"this shape has {len(text):,} characters, at most {MAX_DIGITS}", _at(c))
        extents = tuple(None if part == "?" else int(part) for part in text.split("x"))
        return syntax.ShapeLiteral(_at(c), extents)

    def unknown(self, c: Children) -> syntax.UnknownLiteral:
        return syntax.UnknownLiteral(_at(c))

    def string(self, c: Children) -> syntax.Constant:
        value = "".join(re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(0)), t.text[1:-1]) for t in c)
        return syntax.Constant(_at(c), value, " ".join(t.text for t in c))

    def true(self, c: Children) -> syntax.Constant:
        return syntax.Constant(_at(c), True, "true")

    def false(self, c: Children) -> syntax.Constant:
        return syntax.Constant(_at(c), False, "false")

    def none(self, c: Children) -> syntax.Constant:
        return syntax.Constant(_at(c), None, "none")

    def name(self, c: Children) -> syntax.Name:
        return syntax.Name(_at(c), c[0].text)

    def parenthesis(self, c: Children) -> syntax.Parenthesis:
        return syntax.Parenthesis(_at(c), c[1])

    def tuple(self, c: Children) -> syntax.Tuple:
        return syntax.Tuple(_at(c), _all(c, syntax.Expression))

    def list(self, c: Children) -> syntax.List:
        return syntax.List(_at(c), _all(c, syntax.Expression))

    def comprehension(self, c: Children) -> syntax.Comprehension:
        found = _all(c, syntax.Expression)
        names = _one(c, _Names) or _Names()
        return syntax.Comprehension(_at(c), found[0], tuple(names), found[1], found[2] if len(found) > 2 else None)

    def arguments(self, c: Children) -> _Arguments:
        built = _Arguments(_all(c, syntax.Argument))
        built.at = _at(c)
        return built

    def argument(self, c: Children) -> syntax.Argument:
        name = c[0].text if isinstance(c[0], Token) else None
        return syntax.Argument(_at(c), name, c[-1])

    # ------------------------------------------------------------------------------------------------------ recipes

    def recipe(self, c: Children) -> syntax.Recipe:
        names = _names(c)
        arguments = _one(c, _Arguments)
        return syntax.Recipe(_at(c), names[0], names[1], None if arguments is None else tuple(arguments), c[-1].items)

    def recipe_body(self, c: Children) -> syntax.Phase:
        return syntax.Phase(_at(c), "", tuple(x for x in c if isinstance(x, syntax.Entry | syntax.Phase)))

    def phase(self, c: Children) -> syntax.Phase:
        return syntax.Phase(_at(c), c[1].text, c[-1].items)

    def entry(self, c: Children) -> syntax.Entry:
        operands: list[syntax.Call | syntax.Expression] = []
        marks: list[str] = []
        mark = ""
        for child in c[1:]:
            if isinstance(child, Token):
                mark = child.text
            else:
                operands.append(child)
                marks.append(mark)
                mark = ""
        return syntax.Entry(_at(c), c[0].text, tuple(operands), tuple(marks))

    def path(self, c: Children) -> syntax.Path:
        return syntax.Path(_at(c), c[0].text)


# `import` is a word of Python too, so its method has another name.
setattr(Builder, "import", Builder.import_)


def _plain(values: _Parameters | None) -> tuple[syntax.Parameter, ...] | None:
    return None if values is None else tuple(values)
