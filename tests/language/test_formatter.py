"""The one style, by example."""

from __future__ import annotations

import pytest
from contract import EXAMPLES

from netdsl.language.diagnostics import SpecError
from netdsl.language.formatter import format_source
from netdsl.language.parser import MAX_NESTING
from netdsl.language.sentences import COLUMNS
from netdsl.language.source import Source


def formatted(text: str) -> str:
    return format_source(Source(text))


def body(text: str) -> str:
    """What becomes of the lines of a body, without the network around them."""
    lines = formatted(f"network n {{\n{text}\n}}\n").splitlines()
    assert lines[0] == "network n {" and lines[-1] == "}"
    return "\n".join(line.removeprefix("  ") for line in lines[1:-1])


def value(text: str) -> str:
    return formatted(f"const a = {text}\n").removeprefix("const a = ").rstrip("\n")


# ------------------------------------------------------------------------------------------------------------- spacing


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1+2*x**-y//3%4", "1 + 2 * x ** -y // 3 % 4"),
        ("not( a )", "not (a)"),
        ("- - x", "--x"),
        ("a<b  and b>=c or not d", "a < b and b >= c or not d"),
        ("a<b<c", "a < b < c"),
        ("a < b and b < c", "a < b and b < c"),
        ("a   not   in[1,2]", "a not in [1, 2]"),
        ("a if b  else(c)", "a if b else (c)"),
        ("f( a,b = 1,c=2 )", "f(a, b = 1, c = 2)"),
        ("x . shape [ 1 : ]", "x.shape[1:]"),
        ("x[ : ]", "x[:]"),
        ("x[a+1:b]", "x[a + 1:b]"),
        ("( 1 , )", "(1,)"),
        ("( 1,2, )", "(1, 2)"),
        ("( )", "()"),
        ("[ ]", "[]"),
        ("[ i*2  for i,j  in x  if i ]", "[i * 2 for i, j in x if i]"),
        ("((1))", "((1))"),
    ],
)
def test_expressions(before: str, after: str) -> None:
    assert value(before) == after


@pytest.mark.parametrize(
    "spelling", ["1_000", "1e-3", "2.", "4.10G", "20%", "03x224x?", "'it\\'s'", '"a" "b"', "0.50", "true", "none", "?"]
)
def test_numbers_strings_and_shapes_keep_their_spelling(spelling: str) -> None:
    assert value(spelling) == spelling


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("input   image :3x4x4", "input image: 3x4x4"),
        ("conv1 : conv( 8,3x3 )->relu", "conv1: conv(8, 3x3) -> relu"),
        ("layer{i+1}-{ j }: a", "layer{i + 1}-{j}: a"),
        ("let a,b=f( x )", "let a, b = f(x)"),
        ("expect params==3,macs~4.1G", "expect params == 3, macs ~ 4.1G"),
        ("output y :fc:dense( 3 )", "output y: fc: dense(3)"),
        ("auxiliary a:from b->c", "auxiliary a: from b -> c"),
        ("preprocess a( 1 )->b", "preprocess a(1) -> b"),
        ("repeat 3*n as j{a}", "repeat 3 * n as j { a }"),
        ("for i,n in enumerate( x ){a}", "for i, n in enumerate(x) { a }"),
        ("if a{b}else if c{d}else{e}", "if a { b } else if c { d } else { e }"),
        ("residual if a{b}", "residual if a { b }"),
        ("concat( axis=1 )split[1,2]{|a|}", "concat(axis = 1) split [1, 2] { | a | }"),
        ("add{||}", "add { | | }"),
        ("{}", "{}"),
        ("{\n\n}", "{}"),
        ("from( x[0] )", "from (x[0])"),
        ("from a.b->share c", "from a.b -> share c"),
        ("a;b ;; c;", "a; b; c"),
        ("norm()", "norm()"),
        ("variant v( a=1 )expect params==2", "variant v(a = 1) expect params == 2"),
    ],
)
def test_statements(before: str, after: str) -> None:
    assert body(before) == after


# --------------------------------------------------------------------------------------------------------------- lines


def test_the_authors_lines_stay() -> None:
    text = "a -> b\nc\nd\n  -> e -> f\n  -> g"
    assert body(text) == text


def test_an_arrow_at_the_end_of_a_line_moves_to_the_next() -> None:
    assert body("a ->\nb") == "a\n  -> b"


def test_indentation_and_blank_lines() -> None:
    before = "\n\n\na\n\n\n\nif b {\n\nc\n\n}\n\n\n"
    assert body(before) == "a\n\nif b {\n  c\n}"


def test_lanes_are_indented_by_their_bar() -> None:
    before = "add {\n|a -> b\nc\n| d: if x {\ne\n}\n|\n|f {\n|g\n}\n}"
    after = "add {\n  | a -> b\n    c\n  | d: if x {\n      e\n    }\n  |\n  | f {\n      | g\n    }\n}"
    assert body(before) == after


def test_what_makes_lanes_stands_under_their_bars() -> None:
    text = "concat {\n  | relu\n  for k in [3, 5] {\n    | conv(8, k)\n  }\n  if a {\n    | b\n  }\n}"
    assert body(text) == text


def test_a_body_on_one_line_stays_there_if_it_fits() -> None:
    short = "if a { " + "b -> " * 15 + "c }"
    assert body(short) == short
    long = "if a { " + "b -> " * 25 + "c }"
    lines = body(long).splitlines()
    assert (
        lines[0] == "if a {"
        and lines[-1] == "}"
        and lines[1].startswith("  b -> b")
        and lines[2].startswith("    -> b")
    )
    assert all(len(line) + 2 <= COLUMNS for line in lines)


def test_statements_on_one_line_stay_there_if_they_fit() -> None:
    assert body("a; b; c\nd") == "a; b; c\nd"
    long = "; ".join(["conv(8, 3x3)"] * 12)
    assert body(long) == "\n".join(["conv(8, 3x3)"] * 12)


def test_a_long_chain_is_broken_in_front_of_an_arrow() -> None:
    step = "conv(8, 3x3, padding = 1, bias = false)"
    assert body(" -> ".join([step] * 3)) == f"{step} -> {step}\n  -> {step}"


def test_long_arguments_stand_one_on_a_line() -> None:
    arguments = [f"attribute_{i} = {i}" for i in range(8)]
    expected = "conv(\n" + "".join(f"  {argument},\n" for argument in arguments) + ")"
    assert body(f"conv({', '.join(arguments)})") == expected
    assert body(expected) == expected


def test_rows_of_a_list_are_kept() -> None:
    text = "[\n  [1, 0, -1], [2, 0, -2],\n  [1, 0, -1],\n]"
    assert value(text) == text
    assert value("[[1, 0, -1],\n          [2, 0, -2]]") == "[\n  [1, 0, -1],\n  [2, 0, -2],\n]"


def test_a_matrix_on_one_line_stays_there_if_it_fits() -> None:
    short = "[[1, 0, -1], [2, 0, -2], [1, 0, -1]]"
    assert value(short) == short
    row = "[" + ", ".join(map(str, range(20))) + "]"
    assert value(f"[{row}, {row}]") == f"[\n  {row},\n  {row},\n]"


def test_an_only_argument_in_brackets_is_not_indented_twice() -> None:
    text = "normalize([\n  1,\n  2,\n])"
    assert value(text) == text


def test_a_long_expression_in_brackets_is_broken_in_front_of_operators() -> None:
    terms = [f"number_{i} * factor" for i in range(7)]
    assert value(f"({' + '.join(terms)})") == "(\n  " + "\n    + ".join(terms) + "\n)"


def test_a_long_comprehension_is_broken_in_front_of_its_words() -> None:
    item, source, condition = (" + ".join(["item"] * 8), "some_function(with_an_argument)", "item != something_else")
    before = f"[{item} for item in {source} if {condition}]"
    assert value(before) == f"[\n  {item}\n  for item in {source}\n  if {condition}\n]"


def test_long_expectations_begin_on_the_next_line() -> None:
    claims = "params == 25_028_904, macs == 4_230_479_872"
    head = "variant resnext50_32x4d([3, 4, 6, 3], bottleneck(groups = 32, group_width = 4)) expect"
    assert body(f"{head} {claims}") == f"{head}\n  {claims}"


def test_neighbouring_variants_have_a_column_in_common() -> None:
    before = "variant a() expect params == 1\nvariant bcd(e = 2)   expect params == 2\n\nvariant f() expect params == 3"
    after = (
        "variant a()        expect params == 1\nvariant bcd(e = 2) expect params == 2\n\nvariant f() expect params == 3"
    )
    assert body(before) == after


def test_variants_are_not_aligned_where_one_would_become_too_long() -> None:
    long = "variant b(" + "x" * 60 + ") expect params == 25_028_904"
    wide = "variant a() expect " + "params == 25_028_904, " * 3 + "layers == 3"
    assert body(f"{wide}\n{long}") == f"{wide}\n{long}"


def test_a_recipe_has_columns() -> None:
    before = "recipe r for n {\ndata folder( 'x',seed=7 )\nbatch   64\n\nphase p { freeze all except fc;epochs 3 }\n}\n"
    after = "recipe r for n {\n  data  folder('x', seed = 7)\n  batch 64\n\n  phase p { freeze all except fc; epochs 3 }\n}\n"
    assert formatted(before) == after


# --------------------------------------------------------------------------------------------------------- declarations


def test_a_blank_line_stands_around_what_has_a_body() -> None:
    before = "const a = 1\nconst b = 2\nblock c { d }\n# about e\nnetwork e { f }\nconst g = 3\nfn h() = 4\n"
    after = "const a = 1\nconst b = 2\n\nblock c { d }\n\n# about e\nnetwork e { f }\n\nconst g = 3\nfn h() = 4\n"
    assert formatted(before) == after


def test_documentation_stays_next_to_what_it_documents() -> None:
    text = "# The story.\n\n# About n.\nnetwork n { relu }\n"
    assert formatted(text) == text


def test_parameters_are_broken_where_they_do_not_fit() -> None:
    names = [f"parameter_{i} = {i}" for i in range(10)]
    expected = "network n(\n" + "".join(f"  {name},\n" for name in names) + ") {\n  relu\n}\n"
    assert formatted(f"network n({', '.join(names)}) {{\n  relu\n}}\n") == expected


def test_the_last_bracket_of_a_function_is_broken_first() -> None:
    terms = " + ".join(["width"] * 13)
    assert formatted(f"fn f(width) = [{terms}, 1]\n") == f"fn f(width) = [\n  {terms},\n  1,\n]\n"


def test_long_imports_are_broken_behind_commas() -> None:
    names = [f"something_{i}" for i in range(10)]
    text = formatted(f"from common import {', '.join(names)}\n")
    assert text == "from common import " + ",\n  ".join(names) + "\n"


# ------------------------------------------------------------------------------------------------------------- comments


def test_comments_stay_where_they_are() -> None:
    text = (
        "# story\n\n"
        "# documentation\n"
        "network n(  # of parameters\n"
        "  # of a\n"
        "  a = 1,  # behind a\n"
        "  b,\n"
        "  # behind all\n"
        ") {  # opens\n"
        "  # first\n"
        "  conv(8)  # of a step\n\n"
        "  # between\n"
        "  relu\n"
        "    # of a link\n"
        "    -> tanh  # behind a link\n"
        "  fc:  # of a label\n"
        "    dense(10)\n"
        "  if a {\n"
        "    b\n"
        "  }\n"
        "  # of the other branch\n"
        "  else {\n"
        "    c\n"
        "  }\n"
        "  add {\n"
        "    # of a lane\n"
        "    | a\n"
        "    |  # identity\n"
        "    |  # of what follows\n"
        "      b\n"
        "      # of c\n"
        "      c\n"
        "    # last\n"
        "  }\n"
        "  # end of the body\n"
        "}  # closes\n\n"
        "# end of the file\n"
    )  # fmt: skip
    assert formatted(text) == text


def test_comments_behind_a_line_do_not_count_for_its_width() -> None:
    text = "network n {\n  conv(8, 3x3)  # " + "long " * 40 + "end\n}\n"
    assert formatted(text) == text


def test_a_comment_within_a_short_body_breaks_it() -> None:
    assert body("if a { b # why\n}") == "if a {\n  b  # why\n}"


def test_comments_of_an_expression_stay_in_its_brackets() -> None:
    text = "[\n  1,  # one\n  # about two\n  2,\n\n  # about three\n  3,\n  # last\n]"
    assert value(text) == text


# ---------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("text", ["", "\n\n", "  \n\t\n", "\ufeff", ";\n;"])
def test_an_empty_file_becomes_empty(text: str) -> None:
    assert formatted(text) == ""


@pytest.mark.parametrize(
    "text", ["const a = 1", "\n\nconst a=1", "\ufeffconst a = 1\n", "\tconst a\t=\t1 \n\n\n", "const a = 1;;\n"]
)
def test_the_edges_of_a_file(text: str) -> None:
    assert formatted(text) == "const a = 1\n"


def test_line_endings_are_those_of_the_first_line() -> None:
    assert formatted("const a=1\r\nconst b=2\nconst c=3\r\n") == "const a = 1\r\nconst b = 2\r\nconst c = 3\r\n"
    assert formatted("const a=1\nconst b=2\r\n") == "const a = 1\nconst b = 2\n"
    assert formatted("const a=1\rconst b=2\r") == "const a = 1\nconst b = 2\n"


@pytest.mark.parametrize("text", ["network n {", "const a = 1 2\n", "\0", "{" * 1000])
def test_what_does_not_parse_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        formatted(text)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_language_keep_their_lines(name: str) -> None:
    """They are written in this style, but for the columns in which the contract sets some words."""
    before = [" ".join(line.split()) for line in EXAMPLES[name][1].splitlines() if line.strip()]
    after = [" ".join(line.split()) for line in formatted(EXAMPLES[name][1]).splitlines() if line.strip()]
    changed = [line for line in before if line not in after]
    assert all(len(line) > COLUMNS - 6 for line in changed), changed


def test_the_deepest_tree_can_be_formatted() -> None:
    for opening, closing in [("[", "]"), ("(", ")"), ("f(", ")"), ("x[", "]")]:
        text = "const a = " + opening * MAX_NESTING + "1" + closing * MAX_NESTING
        assert formatted(text)
    assert formatted("const a = " + "1 + " * MAX_NESTING + "1")
    assert formatted("const a = " + "not " * MAX_NESTING + "x")
    assert formatted("network n " + "{" * MAX_NESTING + "}" * MAX_NESTING)
    assert formatted("network n {\n" + "add {\n|\n" * (MAX_NESTING - 1) + "}\n" * MAX_NESTING)
    assert formatted("network n {\n" + "if a {\n" * (MAX_NESTING // 2 - 1) + "}\n" * (MAX_NESTING // 2))
