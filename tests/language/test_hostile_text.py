"""Text that nobody means well with: every input ends soon, in a tree or in a SpecError with a place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from contract import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from random_specs import modules, relaxed

from netdsl.language.diagnostics import Diagnostic, SpecError, render, to_json, to_sarif
from netdsl.language.parser import MAX_NESTING, parse
from netdsl.language.source import Source


def codes(text: str) -> list[str]:
    return [diagnostic.code for diagnostic in errors(text)]


def errors(text: str) -> list[Diagnostic]:
    """The findings, rendered in every form, so that rendering is tried as well."""
    source = Source(text, "hostile.net")
    try:
        parse(source)
    except SpecError as error:
        found = error.diagnostics
        assert found
        for diagnostic in found:
            assert diagnostic.span is not None
            assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
        shown = render(found)
        assert len(shown) < 1000 * len(found) and shown.encode("utf-8")
        assert len(to_json(found)) == len(found) and to_sarif(found, {}, "0")["runs"]
        return found
    return []


@contextmanager
def seconds(most: float) -> Iterator[None]:
    """Bounds the processor time: several times what linear work takes, a fraction of what quadratic work would."""
    start = time.process_time()
    yield
    assert time.process_time() - start < most


# -------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("text", ["\0", "\x00\x01\x02", "network n { \0 }", "\x89PNG\r\n\x1a\n\0"])
def test_binary_files_are_refused(text: str) -> None:
    assert codes(text) == ["E0102"]


@pytest.mark.parametrize("text", ["\ud800", "const a = '\udfff'", "# \udc00"])
def test_half_characters_are_refused(text: str) -> None:
    assert codes(text) == ["E0102"]


def test_files_are_bounded_before_they_are_read() -> None:
    with seconds(5):
        assert codes("x" * 50_000_000) == ["E0103"]
        assert codes("{" * 5_000_000) == ["E0103"]
        assert codes("\u00fc" * 2_500_000) == ["E0103"]


def test_the_bound_of_a_file_can_be_raised() -> None:
    text = "# " + "x" * 100
    with pytest.raises(SpecError):
        parse(Source(text), max_bytes=100)
    assert parse(Source(text), max_bytes=102).declarations == ()


# ------------------------------------------------------------------------------------------------------------ nesting

DEEP = {
    "braces": "network n " + "{" * 10_000,
    "braces that close": "network n " + "{" * 10_000 + "}" * 10_000,
    "parentheses": "const a = " + "(" * 10_000,
    "parentheses that close": "const a = " + "(" * 10_000 + "1" + ")" * 10_000,
    "brackets": "const a = " + "[" * 10_000 + "]" * 10_000,
    "sums": "const a = " + "1+" * 100_000 + "1",
    "products": "const a = " + "1 * " * 100_000 + "1",
    "powers": "const a = " + "1 ** " * 100_000 + "1",
    "negations": "const a = " + "not " * 100_000 + "x",
    "signs": "const a = " + "-" * 100_000 + "1",
    "conditions": "const a = " + "1 if x else " * 100_000 + "1",
    "and": "const a = " + "x and " * 100_000 + "x",
    "comparisons": "const a = " + "x < " * 100_000 + "x",
    "in": "const a = " + "x in " * 100_000 + "x",
    "not in": "const a = " + "x not in " * 100_000 + "x",
    "attributes": "const a = x" + ".b" * 100_000,
    "indices": "const a = x" + "[0]" * 100_000,
    "slices": "const a = x" + "[:]" * 100_000,
    "calls": "const a = x" + "()" * 100_000,
    "else if": "network n { if a { b }" + " else if a { b }" * 100_000 + " }",
    "blocks in lanes": "network n { " + "add { | " * 10_000,
    "calls in calls": "network n { " + "f(" * 10_000,
    "phases": "recipe r for n { " + "phase p { " * 10_000,
    "comprehensions": "const a = " + "[x for y in " * 10_000,
    "depth by turns": "const a = " + "(1 + [" * 5_000,
}


@pytest.mark.parametrize("case", DEEP)
def test_trees_deeper_than_the_limit_are_refused(case: str) -> None:
    with seconds(5):
        assert codes(DEEP[case]) == ["E0104"]


def depth(node: object) -> int:
    """Levels of tuples and nodes, without recursion."""
    deepest, level = 0, [node]
    while level:
        deepest += 1
        level = [
            part
            for node in level
            for part in (
                node
                if isinstance(node, tuple)
                else [getattr(node, name) for name in getattr(node, "__dataclass_fields__", ()) if name != "at"]
            )
        ]
    return deepest


@relaxed
@given(modules())
def test_the_tree_is_no_deeper_than_the_limit(text: str) -> None:
    try:
        module = parse(Source(text), max_nesting=20)
    except SpecError as error:
        assert {diagnostic.code for diagnostic in error.diagnostics} == {"E0104"}
    else:
        # A level of nesting is a node, or a few: body, statement, chain, step, action and the tuples that hold them.
        assert depth(module.declarations) <= 9 * 20


def test_what_is_long_is_not_deep() -> None:
    with seconds(20):
        assert codes("const a = [" + "[1, 2], " * 20_000 + "]") == []
        assert codes("network n {\n" + "f(x[0] + 1) -> g; h\n" * 10_000 + "}") == []
        assert codes("network n { " + "f(1) -> " * 10_000 + "g }") == []
        assert codes("network n { expect " + "params == 1, " * 5_000 + "macs == 2 }") == []


def test_the_limit_is_exact_for_brackets_and_can_be_raised() -> None:
    def nested(count: int) -> str:
        return "const a = " + "[" * count + "]" * count

    assert codes(nested(MAX_NESTING)) == [] and codes(nested(MAX_NESTING + 1)) == ["E0104"]
    assert parse(Source(nested(MAX_NESTING + 1)), max_nesting=MAX_NESTING + 1).declarations


# ------------------------------------------------------------------------------------- text that tempts a slow lexer

SIZE = 500_000
LONG = {
    "digits": ("const a = " + "1" * SIZE, ["E0105"]),
    "digits, then a letter": ("const a = " + "1" * SIZE + "z", ["E0101"]),
    "digits of a shape": ("const a = " + "3x" * (SIZE // 2) + "3", ["E0105"]),
    "a name": ("const a = " + "n" * SIZE, []),
    "a label without a colon": ("network n { " + "l-" * (SIZE // 2) + " }", ["E0101"]),
    "a string without an end": ('const a = "' + "s" * SIZE, ["E0101"]),
    "backslashes": ('const a = "' + "\\" * SIZE, ["E0101"]),
    "a string": ('const a = "' + "s" * SIZE + '"', []),
    "pieces of a string": ("const a = " + '"s" ' * (SIZE // 10), []),
    "empty comments": ("#\n" * (SIZE // 2), []),
    "comments in a body": ("network n {\n" + "relu\n#\n" * (SIZE // 20) + "}", []),
    "comments before a chain goes on": ("network n { a" + "\n#" * (SIZE // 2) + "\n-> b }", []),
    "comments before it does not": ("network n { a" + "\n#" * (SIZE // 2) + "\nb }", []),
    "blank lines": ("\n" * SIZE, []),
    "carriage returns": ("\r" * SIZE, []),
    "blanks": ("const a = " + " " * SIZE + "1", []),
    "blanks at the end": ("const a = 1" + " " * SIZE, []),
    "braces of labels": ("network n { " + "{a}" * (SIZE // 3) + " }", ["E0101"]),
    "groups": ("network n { " + "{a};" * (SIZE // 40) + " }", []),
    "labels with expressions": ("network n {\n" + "a{i}: b\n" * (SIZE // 80) + "}", []),
    "semicolons": (";" * (SIZE // 4), []),
    "dots": ("from " + "a." * (SIZE // 2) + "b import c", []),
    "percent signs": ("const a = 1" + "%" * (SIZE // 4), ["E0101"]),
    "question marks": ("const a = " + "?" * (SIZE // 4), ["E0101"]),
    "closing brackets": ("const a = 1" + ")" * (SIZE // 4), ["E0101"]),
    "arrows": ("network n { a " + "-> " * (SIZE // 4), ["E0101"]),
}


@pytest.mark.parametrize("case", LONG)
def test_long_text_takes_linear_time(case: str) -> None:
    text, expected = LONG[case]
    with seconds(10):
        assert codes(text)[:1] == expected


def test_many_errors_take_no_longer_than_a_few() -> None:
    with seconds(30):
        assert len(errors("network n {\n" + "relu relu\n" * 50_000 + "}")) >= 1
        assert len(errors("block b {\n" * 50_000)) >= 1
        assert len(errors("const a = (\n" * 50_000)) >= 1


# ------------------------------------------------------------------------------------------------------- random text


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    errors(text)


WORDS = """network block fn const from import recipe for in if else repeat as let expect output auxiliary variant preprocess
input share split residual phase not and or true none a conv x a: l{i}: {i} 3 3x3 20% 1e3 "s" ' " ( ) [ ] { } | -> , ; = ==
~ . : ? + - * ** / % \\ $ @ ! & é 😀"""
pieces = st.sampled_from([*WORDS.split(), "\n", "\n\n", "\r", "\r\n", " ", "\t", "\f", "# c\n", "\ufeff", "\u2028"])


@given(st.lists(pieces, max_size=40).map(" ".join) | st.lists(pieces, max_size=40).map("".join))
def test_any_words_parse_or_are_refused(text: str) -> None:
    errors(text)


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_a_spec_with_a_piece_changed_parses_or_is_refused(name: str, data: st.DataObject) -> None:
    text = EXAMPLES[name][1]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    errors(text[:start] + data.draw(pieces) + text[end:])


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_a_spec_cut_short_parses_or_is_refused(name: str, data: st.DataObject) -> None:
    text = EXAMPLES[name][1]
    errors(text[: data.draw(st.integers(0, len(text)))])
