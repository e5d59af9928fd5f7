"""Lexer: text -> tokens, without what means nothing to the parser.

The terminals are those of the grammar. One of raised priority (a label, a path, a shape) would hide the plain ones, so
it is looked for only where the parser accepts it; a keyword is one only where the parser accepts it, too. What is not
a matter of the grammar happens here: newlines that separate nothing are dropped, comments are put aside, and the
nesting is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from netdsl.language.syntax import At, Comment
from netdsl.language.tables import END, Tables

_CLOSING: Final = {"RBRACE": "LBRACE", "RPAR": "LPAR", "RSQB": "LSQB"}
_OPENING: Final = frozenset(_CLOSING.values())
_SEPARATORS: Final = frozenset({"_NEWLINE", "SEMICOLON", "COMMA", "ARROW", "PIPE"})
# Behind these a newline means nothing, so that a body may begin on the next line.
_OPEN_ENDED: Final = _SEPARATORS | {"LBRACE", "LABEL", "EXPECT", ""}
# What follows one of these hangs one level deeper in the tree.
_DEEPENING: Final = frozenset({"SUM", "PRODUCT", "POWER", "COMPARE", "AND", "OR", "NOT", "IN", "IF", "ELSE", "DOT"})
_STRUCTURE: Final = _OPENING | _CLOSING.keys() | _SEPARATORS | _DEEPENING

_COMMENT: Final = re.compile(r"#[^\r\n]*")


class Token:
    """A piece of the text; `type` is the name of its terminal."""

    __slots__ = ("at", "text", "type")

    def __init__(self, type: str, text: str, at: At) -> None:
        self.type = type
        self.text = text
        self.at = at


class UnreadableError(Exception):
    """No token begins at this offset."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


class TooDeepError(Exception):
    """With this token the nesting passes its limit."""

    def __init__(self, token: Token) -> None:
        self.token = token


class Nesting:
    """An upper bound of the depth of the tree, kept while tokens go by.

    A bracket or an operator takes what comes next a level deeper, and a closed bracket leaves its depth to the row
    that it stands in, since a later operator hangs it below itself: `(a + b) * c`. A separator begins a new row.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open: list[Token] = []
        self.pairs: list[tuple[Token, Token]] = []
        self._outer: list[tuple[int, int]] = []
        self._depth = self._row = self._deepest = 0

    def feed(self, token: Token) -> None:
        kind = token.type
        if kind in _DEEPENING:
            self._row += 1
            self._depth += 1
        elif kind in _OPENING:
            self.open.append(token)
            self._outer.append((self._row, self._deepest))
            self._row = self._deepest = 0
            self._depth += 1
        elif kind in _SEPARATORS:
            self._deepest = max(self._deepest, self._row)
            self._depth -= self._row
            self._row = 0
        elif self.open and self.open[-1].type == _CLOSING[kind]:
            self.pairs.append((self.open.pop(), token))
            inside = max(self._deepest, self._row) + 1
            self._depth += inside - self._row - 1
            self._row, self._deepest = self._outer.pop()
            self._row += inside
        if self._depth > self.limit:
            raise TooDeepError(token)


_Scan = Callable[[str, int, int], "re.Match[str] | None"]


class Scanners(dict[int, _Scan]):
    """For each state of the parser a regular expression, made when it is first asked for; one for each set of raised
    terminals is enough."""

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self._tables = tables
        blank = next(t for t in tables.terminals if t.name == "BLANK")
        self.blank = re.compile(f"(?:{blank.pattern})?")
        self._raised = frozenset(t.name for t in tables.terminals if t.priority > 0 and not t.ignored)
        # Keywords that could be names are read as such and told apart behind.
        name = re.compile(next(t.pattern for t in tables.terminals if t.name == "NAME"))
        self.keywords = {t.pattern: t.name for t in tables.terminals if t.word and name.fullmatch(t.pattern)}
        self._skipped = {"BLANK", *self.keywords.values()}
        self._by_raised: dict[frozenset[str], _Scan] = {}
        self.all = self._build(self._raised)
        self.ignored = frozenset(t.name for t in tables.terminals if t.ignored)

    def __missing__(self, state: int) -> _Scan:
        raised = self._raised.intersection(self._tables.actions[state])
        if raised not in self._by_raised:
            self._by_raised[raised] = self._build(raised)
        self[state] = self._by_raised[raised]
        return self[state]

    def _build(self, raised: frozenset[str]) -> _Scan:
        parts = [
            f"(?P<{t.name}>{_literal(t.pattern) if t.word else t.pattern})"
            for t in self._tables.terminals
            if (t.name in raised or t.ignored or t.priority == 0) and t.name not in self._skipped
        ]
        return re.compile(f"{self.blank.pattern}(?:{'|'.join(parts)})").match


def _literal(word: str) -> str:
    return re.escape(word) + (r"(?!\w)" if word.isidentifier() else "")


class Lexer:
    """Reads `text` from `start` to `end`, and keeps what it meets beside the tokens."""

    def __init__(self, tables: Tables, scanners: Scanners, text: str, start: int, end: int, limit: int) -> None:
        self._tables = tables
        self._scanners = scanners
        self._text = text
        self._start = start
        self._end = end
        self.nesting = Nesting(limit)
        self.comments: list[Comment] = []

    def tokens(self, states: list[int]) -> Iterator[Token]:
        """The tokens; `states` is the parser's stack, whose top says what can come next.

        Raises UnreadableError and TooDeepError.
        """
        text, end = self._text, self._end
        scanners, keywords, ignored = self._scanners, self._scanners.keywords, self._scanners.ignored
        actions = self._tables.actions
        nesting = self.nesting
        opened = nesting.open
        position = self._start
        previous = ""
        while True:
            state = states[-1]
            match = scanners[state](text, position, end) or scanners.all(text, position, end)
            if match is None:
                blank = scanners.blank.match(text, position, end)
                position = blank.end() if blank else position
                if position < end:
                    raise UnreadableError(position)
                yield Token(END, "", (end, end))
                return
            kind = match.lastgroup or ""
            at = start, position = match.span(kind)
            value = text[start:position]
            if kind == "NAME":
                word = keywords.get(value)
                if word is not None and word in actions[state]:
                    kind = word
            elif kind in ignored or kind == "_NEWLINE":
                if "#" in value:
                    self._keep(start, value)
                if kind != "_NEWLINE" or previous in _OPEN_ENDED or (opened and opened[-1].type != "LBRACE"):
                    continue
            token = Token(kind, value, at)
            if kind in _STRUCTURE:
                nesting.feed(token)
            previous = kind
            yield token

    def _keep(self, start: int, text: str) -> None:
        for match in _COMMENT.finditer(text):
            offset = start + match.start()
            line = max(self._text.rfind("\n", 0, offset), self._text.rfind("\r", 0, offset)) + 1
            own_line = not self._text[line:offset].strip(" \t\f\ufeff")
            self.comments.append(Comment(offset, match.group().rstrip(), own_line))
