"""The grammar is LALR(1) without conflicts, and the stored tables are those of the grammar."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from lark import Lark, Token, Tree
from lark.exceptions import GrammarError, LarkError

from netdsl.language import tables
from netdsl.language.automaton import Automaton, UnexpectedTokenError
from netdsl.language.lexer import Lexer, Scanners
from netdsl.language.lexer import Token as OurToken
from netdsl.resources import grammar_path, library_path

GRAMMAR = grammar_path().read_text(encoding="utf-8")
SPECS = sorted(library_path().rglob("*.net"))


class DropNewlines:
    """What the language says about newlines, for Lark's own lexer."""

    always_accept = ("_NEWLINE",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        opened: list[str] = []
        previous = ""
        for token in stream:
            if token.type == "_NEWLINE":
                after_nothing = previous in {
                    "",
                    "_NEWLINE",
                    "SEMICOLON",
                    "COMMA",
                    "ARROW",
                    "PIPE",
                    "LBRACE",
                    "LABEL",
                    "EXPECT",
                }
                if after_nothing or (opened and opened[-1] in "(["):
                    continue
            if token in {"(", "[", "{"}:
                opened.append(str(token))
            elif token in {")", "]", "}"} and opened:
                opened.pop()
            previous = token.type
            yield token


def lark(grammar: str = GRAMMAR, **options: Any) -> Lark:
    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        start=list(tables.STARTS),
        keep_all_tokens=True,
        maybe_placeholders=False,
        postlex=DropNewlines(),  # type: ignore[arg-type]
        **options,
    )


def test_lark_in_strict_mode_finds_no_conflict_and_no_ambiguous_terminals() -> None:
    """Strict mode refuses shift/reduce conflicts as well as terminals of one priority that match the same text."""
    pytest.importorskip("interegular")
    lark(strict=True)


def test_tables_are_refused_for_a_grammar_with_a_conflict() -> None:
    ambiguous = GRAMMAR.replace("?sum:        product | sum SUM product", "?sum:        product | sum SUM sum")
    assert ambiguous != GRAMMAR
    with pytest.raises(GrammarError, match="Shift/Reduce"):
        tables.compute(ambiguous)


def test_stored_tables_are_those_of_the_grammar() -> None:
    stored = tables.stored().read_text(encoding="utf-8")
    assert stored == tables.dump(tables.compute(GRAMMAR), GRAMMAR), "run `python -m netdsl.language.tables`"
    assert tables.load(stored, GRAMMAR) == tables.compute(GRAMMAR)


def test_tables_of_another_grammar_are_not_used() -> None:
    stored = tables.stored().read_text(encoding="utf-8")
    assert tables.load(stored, GRAMMAR + "\n") is None


def test_layer_names_are_not_in_the_grammar() -> None:
    from netdsl.layers.vocabulary import LAYERS

    words = {terminal.pattern for terminal in tables.tables().terminals if terminal.word}
    assert words & LAYERS.keys() == {"input"}, "an input is a statement of its own"


def test_parsing_imports_no_lark() -> None:
    program = (
        "import sys; from netdsl.language.parser import parse; from netdsl.language.source import Source; "
        "parse(Source('network n { relu }')); sys.exit('lark' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ------------------------------------------------------------------------- the automaton, against Lark's own parser


class Recorder:
    """A builder that only notes which rule was applied to what."""

    def __getattr__(self, name: str) -> Any:
        return lambda children: (name, children)


def ours(text: str) -> Any:
    def plain(node: Any) -> Any:
        if isinstance(node, OurToken):
            return (node.type, node.text)
        name, children = node
        return (name, [plain(child) for child in children])

    automaton = Automaton(tables.tables())
    lexer = Lexer(tables.tables(), Scanners(tables.tables()), text, 0, len(text), 200)
    return plain(automaton.run(lexer, "module", Recorder()))


def larks(text: str, parser: Lark) -> Any:
    def plain(node: Any) -> Any:
        if isinstance(node, Tree):
            return (str(node.data).replace("import_", "import"), [plain(child) for child in node.children])
        return (node.type, str(node))

    return plain(parser.parse(text, start="module"))


@pytest.fixture(scope="module")
def reference() -> Lark:
    return lark()


@pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])
def test_the_library_is_read_as_lark_reads_it(path: Any, reference: Lark) -> None:
    text = path.read_text(encoding="utf-8")
    assert ours(text) == larks(text, reference)


@pytest.mark.parametrize(
    "text",
    [
        "network n { relu relu }",
        "network n { conv(3 }",
        "network n { add { | relu",
        "const a = 1 + not 2",
        "const a = [1, 2",
        "block b { output x }",
        "network n { if a { relu } else }",
        "from a.b import c d",
        "recipe a for b { phase { } }",
        "x",
    ],
)
def test_what_lark_refuses_is_refused(text: str, reference: Lark) -> None:
    with pytest.raises(LarkError):
        larks(text, reference)
    with pytest.raises(UnexpectedTokenError):
        ours(text)
