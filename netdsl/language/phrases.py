"""Expressions as documents for the formatter: the author's spelling, one style of spacing, breaks inside brackets only.

Documents are built in the order of the source, since each comment is placed where it is met on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from netdsl.language import syntax
from netdsl.language.pretty import HARD, LINE, SOFT, Document, Group, IfBroken, Indent, Row, Trailing, joined

_BLANK: Final = " \t\f\ufeff"
_STRING: Final = re.compile(r"#[^\r\n]*|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_LEVELS: Final = (
    ("or",),
    ("and",),
    ("==", "!=", "<", "<=", ">", ">=", "in", "not in"),
    ("+", "-"),
    ("*", "/", "//", "%"),
)
_LEVEL: Final = {operator: level for level, operators in enumerate(_LEVELS) for operator in operators} | {"**": 5}
_COMPARISON: Final = _LEVEL["=="]
_BRACKETED: Final = (syntax.List, syntax.Tuple, syntax.Comprehension, syntax.Apply)


class Phrases:
    def __init__(self, module: syntax.Module) -> None:
        self.source = module.source
        self.text = module.source.text
        self._comments = list(reversed(module.comments))
        self._brackets = 0
        """How many are open: lines may be broken where there is one."""
        self._phrases: dict[type, Callable[..., Document]] = {
            syntax.Constant: self.constant,
            syntax.ShapeLiteral: self.literal,
            syntax.UnknownLiteral: self.literal,
            syntax.Name: self.literal,
            syntax.Path: self.literal,
            syntax.Tuple: self.tuple,
            syntax.List: self.list,
            syntax.Comprehension: self.comprehension,
            syntax.Parenthesis: self.parenthesis,
            syntax.Attribute: self.attribute,
            syntax.Index: self.index,
            syntax.Slice: self.slice,
            syntax.Apply: self.apply,
            syntax.Unary: self.unary,
            syntax.Binary: self.binary,
            syntax.Choice: self.choice,
            syntax.Argument: self.argument,
            syntax.Parameter: self.parameter,
        }

    # ------------------------------------------------------------------------------------------- comments and lines

    def comments(self, end: int) -> list[syntax.Comment]:
        """The comments before an offset that have not been printed yet."""
        found = []
        while self._comments and self._comments[-1].offset < end:
            found.append(self._comments.pop())
        return found

    def has_newline(self, start: int, end: int) -> bool:
        return self.text.find("\n", start, end) >= 0 or self.text.find("\r", start, end) >= 0

    def has_comments(self, end: int) -> bool:
        return bool(self._comments) and self._comments[-1].offset < end

    def is_apart(self, offset: int) -> bool:
        """Whether a line begins at this offset and the line above it is empty."""
        line, column = self.source.position(offset)
        above, before = self.source.line(line - 1) if line > 1 else "#", self.source.line(line)[: column - 1]
        return not above.strip(_BLANK) and not before.strip(_BLANK)

    def find(self, character: str, start: int) -> int:
        """Where a character comes next, outside of comments and strings."""
        for match in re.compile(f"{_STRING.pattern}|(?P<found>{re.escape(character)})").finditer(self.text, start):
            if match.lastgroup:
                return match.start()
        raise ValueError(f"there is no {character} behind {start}")

    def behind(self, end: int) -> Document:
        """The comments before an offset, at the end of the line that is being printed."""
        return Row(*(Trailing(comment.text) for comment in self.comments(end)))

    def trailing(self, end: int) -> tuple[list[Document], list[syntax.Comment]]:
        """The comment at the end of the line that is being printed, and those before an offset that need lines of
        their own."""
        found = self.comments(end)
        if found and not found[0].own_line:
            return [Trailing(found[0].text)], found[1:]
        return [], found

    def gap(self, end: int, line: Document = LINE, blanks: bool = False) -> Document:
        """A line break, in front of what begins at `end`, with the comments that stand there; with empty lines as the
        author has them, but no more than one at a place, if `blanks` are wanted."""
        parts, found = self.trailing(end)
        hard = bool(parts or found)
        for comment in found:
            if blanks and self.is_apart(comment.offset):
                parts.append(HARD)
            parts += [HARD, comment.text]
        if blanks and self.is_apart(end):
            parts.append(HARD)
            hard = True
        parts.append(HARD if hard else line)
        return Row(*parts)

    # ------------------------------------------------------------------------------------------------------ brackets

    def enclosed(
        self,
        opening: str,
        items: Sequence[syntax.Expression | syntax.Argument | syntax.Parameter],
        closing: str,
        at: syntax.At,
        lone_comma: bool = False,
    ) -> Document:
        """Items in brackets; `at` is where the brackets begin and end.

        The author's lines are kept where there are several; a single one that is too long is broken behind each comma.
        """
        if not items:
            return Group(opening, Indent(self._last_comments(at[1])), SOFT, closing)
        self._brackets += 1
        if len(items) == 1 and not lone_comma and self._hugs(items[0], at):
            document: Document = Row(opening, self.phrase(items[0]), closing)
        else:
            parts = [*self._rows(items, at[0] + 1), "," if lone_comma and len(items) == 1 else IfBroken(",")]
            document = Group(opening, Indent(*parts, self._last_comments(at[1])), SOFT, closing)
        self._brackets -= 1
        return document

    def _rows(self, items: Sequence[syntax.Syntax], start: int) -> list[Document]:
        """Items with commas between them, in the lines in which the author has them."""
        ends = [start, *(item.at[1] for item in items)]
        breaks = [self.has_newline(end, item.at[0]) for end, item in zip(ends, items, strict=False)]
        if not any(breaks):
            return [self.gap(items[0].at[0], SOFT), joined(Row(",", LINE), map(self.phrase, items))]
        parts: list[Document] = []
        row: list[Document] = []
        for item, is_broken in zip(items, breaks, strict=True):
            if is_broken and row:
                parts += [Group(joined(Row(",", LINE), row)), ",", self.gap(item.at[0], HARD, blanks=True)]
                row = []
            elif not row:
                parts.append(self.gap(item.at[0], HARD))
            row.append(self.phrase(item))
        return [*parts, Group(joined(Row(",", LINE), row))]

    def _hugs(self, item: syntax.Syntax, at: syntax.At) -> bool:
        """Whether an only item is a bracket itself, so that the two close together: `normalize([...])`."""
        value = item.value if isinstance(item, syntax.Argument) else item
        apart = self.has_newline(at[0], item.at[0]) or "#" in self.text[item.at[1] : at[1]]
        return isinstance(value, _BRACKETED) and not apart

    def _last_comments(self, end: int) -> Document:
        """The comments in front of a closing bracket."""
        parts, found = self.trailing(end)
        return Row(*parts, *(part for comment in found for part in (HARD, comment.text)))

    def around(self, opening: str, build: Callable[[], Document], closing: str, start: int, end: int) -> Document:
        """One phrase in brackets, the content of which lies between two offsets."""
        self._brackets += 1
        document = Group(opening, Indent(self.gap(start, SOFT), build(), self._last_comments(end)), SOFT, closing)
        self._brackets -= 1
        return document

    def line(self, end: int) -> Document:
        """A place inside a phrase where a line can be broken, if it stands in brackets."""
        return self.gap(end) if self._brackets else " "

    # ------------------------------------------------------------------------------------------------------- phrases

    def phrase(self, node: syntax.Syntax) -> Document:
        return self._phrases[type(node)](node)

    def literal(self, node: syntax.Syntax) -> Document:
        return Row(self.behind(node.at[0]), self.text[node.at[0] : node.at[1]])

    def constant(self, node: syntax.Constant) -> Document:
        """A string may be written in several pieces, on several lines."""
        if not isinstance(node.value, str):
            return self.literal(node)
        start, end = node.at
        pieces: list[Document] = []
        for match in _STRING.finditer(self.text, start, end):
            if match.group()[0] != "#":
                if pieces and not self._brackets:
                    pieces.append(" ")
                elif pieces:
                    pieces.append(self.gap(match.start(), HARD if self.has_newline(start, match.start()) else LINE))
                pieces += [self.behind(match.start()), match.group()]
                start = match.end()
        return Group(*pieces) if self._brackets else Row(*pieces)

    def tuple(self, node: syntax.Tuple) -> Document:
        return self.enclosed("(", node.items, ")", node.at, lone_comma=True)

    def list(self, node: syntax.List) -> Document:
        return self.enclosed("[", node.items, "]", node.at)

    def comprehension(self, node: syntax.Comprehension) -> Document:
        def build() -> Document:
            parts = [self.phrase(node.item), self.line(node.iterable.at[0]), f"for {', '.join(node.names)} in "]
            parts.append(self.phrase(node.iterable))
            if node.condition is not None:
                parts += [self.line(node.condition.at[0]), "if ", self.phrase(node.condition)]
            return Row(*parts)

        return self.around("[", build, "]", node.item.at[0], node.at[1])

    def parenthesis(self, node: syntax.Parenthesis) -> Document:
        return self.around("(", lambda: self.phrase(node.inner), ")", node.inner.at[0], node.at[1])

    def attribute(self, node: syntax.Attribute) -> Document:
        return Row(self.phrase(node.target), ".", node.name)

    def index(self, node: syntax.Index) -> Document:
        target = self.phrase(node.target)
        return Row(target, self.around("[", lambda: self.phrase(node.index), "]", node.index.at[0], node.at[1]))

    def slice(self, node: syntax.Slice) -> Document:
        def build() -> Document:
            start = self.phrase(node.start) if node.start is not None else ""
            return Row(start, ":", self.phrase(node.stop) if node.stop is not None else "")

        first = node.start or node.stop
        target = self.phrase(node.target)
        return Row(target, self.around("[", build, "]", first.at[0] if first else node.at[1], node.at[1]))

    def apply(self, node: syntax.Apply) -> Document:
        return Row(self.phrase(node.target), self.arguments(node.arguments, node.target.at[1], node.at[1]))

    def arguments(self, items: Sequence[syntax.Argument], start: int, end: int) -> Document:
        """Arguments in the first parentheses behind `start`."""
        start = self.find("(", start)
        return Row(self.behind(start), self.enclosed("(", items, ")", (start, end)))

    def argument(self, node: syntax.Argument) -> Document:
        return Row(f"{node.name} = " if node.name else "", self.phrase(node.value))

    def parameter(self, node: syntax.Parameter) -> Document:
        if node.default is None:
            return Row(self.behind(node.at[0]), node.name)
        return Row(self.behind(node.at[0]), f"{node.name} = ", self.phrase(node.default))

    def unary(self, node: syntax.Unary) -> Document:
        return Row(node.operator, " " if node.operator == "not" else "", self.phrase(node.operand))

    def binary(self, node: syntax.Binary) -> Document:
        """A row of operators that bind alike, broken in front of each."""
        tail = [_chained(node) or (node.operator, node.right)]
        level = _LEVEL[tail[0][0]]
        first = node.left
        while isinstance(first, syntax.Binary):
            link = _chained(first) or (first.operator, first.right)
            if _LEVEL[link[0]] != level:
                break
            tail.append(link)
            first = first.left
        parts: list[Document] = []
        head = self.phrase(first)
        for operator, operand in reversed(tail):
            parts += [self.line(operand.at[0]), operator, " ", self.phrase(operand)]
        return Group(head, Indent(*parts))

    def choice(self, node: syntax.Choice) -> Document:
        then = self.phrase(node.then)
        condition = Row(self.line(node.condition.at[0]), "if ", self.phrase(node.condition))
        otherwise = Row(self.line(node.otherwise.at[0]), "else ", self.phrase(node.otherwise))
        return Group(then, Indent(condition, otherwise))


def _chained(node: syntax.Binary) -> tuple[str, syntax.Expression] | None:
    """The last link of `a < b < c`, which the tree holds as `a < b and b < c` with one node for both b."""
    left, right = node.left, node.right
    if node.operator != "and" or not isinstance(left, syntax.Binary) or not isinstance(right, syntax.Binary):
        return None
    last = left.right if left.operator == "and" else left
    if isinstance(last, syntax.Binary) and _LEVEL[right.operator] == _COMPARISON and right.left is last.right:
        return right.operator, right.right
    return None
