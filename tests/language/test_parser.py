"""What the text says: trees, spans, comments and documentation."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest
from contract import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from netdsl.language import syntax
from netdsl.language.parser import parse, parse_expression
from netdsl.language.source import Source

S = syntax


def tree(text: str) -> syntax.Module:
    return parse(Source(text))


def statements(text: str) -> tuple[syntax.Statement, ...]:
    """The statements of a network's body."""
    (network,) = tree(f"network n {{\n{text}\n}}\n").declarations
    assert isinstance(network, S.Network)
    return network.body.statements


def step(text: str) -> syntax.Action:
    (chain,) = statements(text)
    assert isinstance(chain, S.Chain)
    (link,) = chain.links
    assert isinstance(link, S.Step)
    return link.action


def shown(node: Any) -> str:
    """An expression with all parentheses."""
    match node:
        case S.Constant():
            return repr(node.value)
        case S.Name():
            return node.name
        case S.Parenthesis():
            return shown(node.inner)
        case S.Unary():
            return f"({node.operator} {shown(node.operand)})"
        case S.Binary():
            return f"({shown(node.left)} {node.operator} {shown(node.right)})"
        case S.Choice():
            return f"({shown(node.then)} if {shown(node.condition)} else {shown(node.otherwise)})"
        case S.Attribute():
            return f"{shown(node.target)}.{node.name}"
        case S.Index():
            return f"{shown(node.target)}[{shown(node.index)}]"
        case S.Slice():
            bounds = [shown(bound) if bound else "" for bound in (node.start, node.stop)]
            return f"{shown(node.target)}[{':'.join(bounds)}]"
        case S.Apply():
            return f"{shown(node.target)}({', '.join(shown(a.value) for a in node.arguments)})"
        case S.List():
            return "[" + ", ".join(map(shown, node.items)) + "]"
        case S.Tuple():
            return "(" + ", ".join(map(shown, node.items)) + ",)"
    raise AssertionError(node)


def expression(text: str) -> str:
    return shown(parse_expression(Source(text)))


# ------------------------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_language_parse(name: str) -> None:
    kinds, text = EXAMPLES[name]
    assert [type(node).__name__ for node in tree(text).declarations] == kinds


def test_lenet_is_read_as_it_looks() -> None:
    (lenet,) = tree(EXAMPLES["lenet"][1]).declarations
    assert isinstance(lenet, S.Network) and lenet.name == "lenet5"
    assert lenet.parameters is not None and [p.name for p in lenet.parameters] == ["classes"]
    image, conv1, pool, _, _, shape, flatten, *_, params = lenet.body.statements
    assert isinstance(image, S.Chain) and isinstance(image.links[0], S.Input)
    assert image.links[0].shape == S.ShapeLiteral((0, 0), (1, 32, 32))
    assert isinstance(conv1, S.Chain) and len(conv1.links) == 2 and isinstance(conv1.links[0], S.Step)
    assert conv1.links[0].label == S.Label((0, 0), ("conv1",))
    six, kernel = (
        S.Argument((0, 0), None, value) for value in (S.Constant((0, 0), 6, "6"), S.ShapeLiteral((0, 0), (5, 5)))
    )
    assert conv1.links[0].action == S.Call((0, 0), "conv", (six, kernel))
    assert isinstance(pool, S.Chain) and isinstance(flatten, S.Chain)
    assert flatten.links == (S.Step((0, 0), None, S.Call((0, 0), "flatten", None)),)
    assert isinstance(shape, S.Expect) and shape.claims[0].left == S.ShapeLiteral((0, 0), (16, 5, 5))
    assert isinstance(params, S.Expect)
    assert params.claims[0].left == S.Binary((0, 0), "==", S.Name((0, 0), "params"), S.Constant((0, 0), 61706, ""))


def test_lanes_hold_the_lines_below_their_bar() -> None:
    add = step("add {\n | a -> b\n   c\n |\n | d: if x { e\n   }\n}")
    assert isinstance(add, S.Join) and add.name == "add" and add.body.statements == ()
    assert [len(lane.statements) for lane in add.body.lanes] == [2, 0, 1]


def test_lanes_on_one_line() -> None:
    concat = step("concat split 2 { | relu | }")
    assert isinstance(concat, S.Join)
    assert concat.split == S.Constant((0, 0), 2, "2")
    assert [len(lane.statements) for lane in concat.body.lanes] == [1, 0]


def test_labels_hold_expressions_and_dashes() -> None:
    (chain,) = statements("block{i + 1}-{j}: relu")
    assert isinstance(chain, S.Chain) and isinstance(chain.links[0], S.Step)
    label = chain.links[0].label
    assert label is not None
    one = S.Binary((0, 0), "+", S.Name((0, 0), "i"), S.Constant((0, 0), 1, "1"))
    assert label.parts == ("block", one, "-", S.Name((0, 0), "j"))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a\nb", 2),
        ("a; b", 2),
        ("a ->\n b", 1),
        ("a\n -> b", 1),
        ("a # why\n\n # more\n -> b", 1),
        ("a\n\n\n; b\n", 2),
        ("fc:\n a", 1),
        ("conv(1,\n 2\n)\nb", 2),
        ("if x { a }\nelse { b }", 1),
        ("if x { a }\n# why\nelse if y { b }\nelse { c }", 1),
        ("expect\n a == 1,\n b == 2", 1),
        ("a\r\nb\rc\n", 3),
    ],
)
def test_what_separates_statements(text: str, count: int) -> None:
    assert len(statements(text)) == count


def test_keywords_are_names_where_no_keyword_can_stand() -> None:
    call = step("residual_unit(input, block = split, output = repeat)")
    assert isinstance(call, S.Call) and call.arguments is not None
    assert [a.name for a in call.arguments] == [None, "block", "output"]
    assert [shown(a.value) for a in call.arguments] == ["input", "split", "repeat"]


def test_from_takes_a_path_or_an_expression() -> None:
    assert step("from layer1.0") == S.From((0, 0), S.Label((0, 0), ("layer1.0",)), None)
    chosen = step("from (skips[i])")
    assert isinstance(chosen, S.From) and chosen.path is None and shown(chosen.value) == "skips[i]"
    (chain,) = statements("from a-> relu")
    assert isinstance(chain, S.Chain) and len(chain.links) == 2


# -------------------------------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1_000", 1000),
        ("61_706", 61706),
        ("1e-3", 0.001),
        ("2.", 2.0),
        ("4.1G", 4_100_000_000),
        ("568.7M", 568_700_000),
        ("60K", 60_000),
        ("2B", 2_000_000_000),
        ("1.5T", 1_500_000_000_000),
        ("2.675K", 2675),
        ("0.0015K", 1.5),
        ("35%", 0.35),
        ("1e3K", 1_000_000),
        ("1e30G", 1e30 * 1e9),
        ("20%", 0.2),
        ("0.1", 0.1),
        ('"a\\n\\"b\\""', 'a\n"b"'),
        ("'it\\'s' \"# b\"", "it's# b"),
        ("true", True),
        ("false", False),
        ("none", None),
    ],
)
def test_constants(text: str, value: object) -> None:
    node = parse_expression(Source(text))
    assert isinstance(node, S.Constant)
    assert node.value == value and type(node.value) is type(value)


@pytest.mark.parametrize(
    ("text", "extents"),
    [("3x224x224", (3, 224, 224)), ("3x?x?", (3, None, None)), ("5x5", (5, 5)), ("?x7", (None, 7)), ("0x1", (0, 1))],
)
def test_shapes(text: str, extents: tuple[int | None, ...]) -> None:
    assert parse_expression(Source(text)) == S.ShapeLiteral((0, 0), extents)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("7 % 3", "(7 % 3)"),
        ("7%3", "(7 % 3)"),
        ("a%b", "(a % b)"),
        ("20% if c else 10%", "(0.2 if c else 0.1)"),
        ("1 - 20%", "(1 - 0.2)"),
        ("a < b <= c", "((a < b) and (b <= c))"),
        ("a < b < c < d", "(((a < b) and (b < c)) and (c < d))"),
        ("(a < b) < c", "((a < b) < c)"),
        ("a not in b", "(a not in b)"),
        ("x.shape[1:]", "x.shape[1:]"),
        ("x[:-1]", "x[:(- 1)]"),
        ("f(x)(y).z[0]", "f(x)(y).z[0]"),
        ("(1,)", "(1,)"),
        ("()", "(,)"),
        ("(1)", "1"),
        ("[1, 2,]", "[1, 2]"),
    ],
)
def test_expressions(text: str, meaning: str) -> None:
    assert expression(text) == meaning


def test_a_chained_comparison_has_one_node_for_the_middle() -> None:
    node = parse_expression(Source("a < f(b) < c"))
    assert isinstance(node, S.Binary) and isinstance(node.left, S.Binary) and isinstance(node.right, S.Binary)
    assert node.left.right is node.right.left


atoms = st.sampled_from(["a", "b", "c", "1", "2.5", "f(a)", "a[0]", "b.c"])
INFIX = ["+", "-", "*", "/", "//", "%", "**", "and", "or", "==", "<", ">="]
operations = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(INFIX), inner).map(" ".join),
        st.tuples(st.sampled_from(["-", "+"]), inner).map("".join),
        inner.map("({})".format),
        inner.map("(not {})".format),
        st.tuples(inner, inner, inner).map(lambda parts: "({} if {} else {})".format(*parts)),
    ),
    max_leaves=12,
)


def pythons(node: ast.expr) -> str:
    """Python's reading of an expression with all parentheses."""
    signs: dict[type, str] = {
        ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
        ast.And: "and", ast.Or: "or", ast.Eq: "==", ast.Lt: "<", ast.GtE: ">=", ast.Not: "not", ast.USub: "-", ast.UAdd: "+",
    }  # fmt: skip
    match node:
        case ast.Constant():
            return repr(node.value)
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{pythons(node.value)}.{node.attr}"
        case ast.Subscript():
            return f"{pythons(node.value)}[{pythons(node.slice)}]"
        case ast.Call():
            return f"{pythons(node.func)}({', '.join(map(pythons, node.args))})"
        case ast.UnaryOp():
            return f"({signs[type(node.op)]} {pythons(node.operand)})"
        case ast.BinOp():
            return f"({pythons(node.left)} {signs[type(node.op)]} {pythons(node.right)})"
        case ast.IfExp():
            return f"({pythons(node.body)} if {pythons(node.test)} else {pythons(node.orelse)})"
        case ast.BoolOp():
            first, *rest = map(pythons, node.values)
            for value in rest:
                first = f"({first} {signs[type(node.op)]} {value})"
            return first
        case ast.Compare():
            values = [*map(pythons, [node.left, *node.comparators])]
            links = [f"({values[i]} {signs[type(op)]} {values[i + 1]})" for i, op in enumerate(node.ops)]
            text = links[0]
            for link in links[1:]:
                text = f"({text} and {link})"
            return text
    raise AssertionError(ast.dump(node))


@given(operations)
def test_operators_bind_as_in_python(text: str) -> None:
    assert expression(text) == pythons(ast.parse(text, mode="eval").body)


@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False))
def test_floats_are_read_to_the_last_bit(value: float) -> None:
    node = parse_expression(Source(repr(value)))
    assert isinstance(node, S.Constant) and isinstance(node.value, float | int)
    assert math.isclose(node.value, value, rel_tol=0, abs_tol=0)


# ---------------------------------------------------------------------------------------------------- spans, comments


def every(node: Any) -> list[syntax.Syntax]:
    found = [node] if isinstance(node, S.Syntax) else []
    if isinstance(node, tuple):
        for part in node:
            found += every(part)
    elif isinstance(node, S.Syntax):
        for name in node.__dataclass_fields__:
            found += every(getattr(node, name)) if name != "at" else []
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_spans_lie_within_those_around_them(name: str) -> None:
    module = tree(EXAMPLES[name][1])
    for outer in every(module.declarations):
        assert 0 <= outer.at[0] < outer.at[1] <= len(module.source.text)
        for inner in every(outer):
            assert outer.at[0] <= inner.at[0] and inner.at[1] <= outer.at[1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_spans_show_the_text_of_their_node(name: str) -> None:
    module = tree(EXAMPLES[name][1])
    for node in every(module.declarations):
        text = module.span(node).text
        assert text == text.strip()
        match node:
            case S.Name():
                assert text == node.name
            case S.Constant(value=str()):
                assert text[0] in "\"'" and text[0] == text[-1]
            case S.Constant() | S.ShapeLiteral() | S.UnknownLiteral() | S.List() | S.Tuple():
                assert parse_expression(Source(text)) == node
            case S.Call():
                assert text.startswith(node.name) and (text == node.name or text.endswith(")"))
            case S.Body():
                assert text[0] == "{" and text[-1] == "}"
            case S.Lane():
                assert text[0] == "|"
            case S.Argument() if node.name:
                assert text.startswith(node.name) and "=" in text
            case S.Step() if node.label:
                assert module.span(node.label).text == text[: node.label.at[1] - node.label.at[0]]


def test_a_span_inside_a_label_is_that_of_the_file() -> None:
    module = tree("network n {\n  layer{i + one}: relu\n}\n")
    names = [node for node in every(module.declarations) if isinstance(node, S.Name)]
    assert [module.span(node).text for node in names] == ["i", "one"]
    assert repr(module.span(names[1])) == "<text>:2:13"


def test_comments_are_kept_in_order_wherever_they_stand() -> None:
    text = (
        "# 1\nnetwork n( # 2\n  a, # 3\n) { # 4\n  # 5\n  conv(1, # 6\n    2) # 7\n  # 8\n  -> relu # 9\n  fc: # 10\n"
        "    relu\n  add { # 11\n    | # 12\n    # 13\n    | relu # 14\n  } # 15\n}\n# 16"
    )
    comments = tree(text).comments
    assert [comment.text for comment in comments] == [f"# {i}" for i in range(1, 17)]
    assert [i for i, c in enumerate(comments, 1) if c.own_line] == [1, 5, 8, 13, 16]
    assert all(text.startswith(comment.text, comment.offset) for comment in comments)


def test_a_hash_in_a_string_is_no_comment() -> None:
    assert tree('const a = "# b"  # c\n').comments[0].text == "# c"


def test_documentation_is_the_comment_block_right_above() -> None:
    module = tree(
        "# The story.\n\n# Two\n#   lines.\nnetwork a { relu }\nblock b { relu } # not this\nblock c { relu }\n\n#x\nconst d = 1\n"
    )
    assert [module.documentation(node) for node in module.declarations] == ["Two\n  lines.", "", "", "x"]


def test_equal_trees_say_the_same_whatever_their_layout() -> None:
    one = tree("network n(a = 1) {\n  conv(8, 3x3) -> relu # c\n}\n")
    other = tree("\n\nnetwork n(\n a=1,\n)\n{ conv( 8,3x3 )->relu }".replace(")\n{", ") {"))
    assert one.declarations == other.declarations


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way(ending: str) -> None:
    text = EXAMPLES["resnet"][1]
    other = parse(Source(text.replace("\n", ending), "resnet.net"))
    plain = parse(Source(text, "resnet.net"))
    assert other.declarations == plain.declarations
    assert [c.text for c in other.comments] == [c.text for c in plain.comments]
    assert [other.documentation(d) for d in other.declarations] == [plain.documentation(d) for d in plain.declarations]
    assert [repr(other.span(n)) for n in every(other.declarations)] == [
        repr(plain.span(n)) for n in every(plain.declarations)
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "\ufeff", "  \t\n", ";;\n;"])
def test_a_file_may_be_empty(text: str) -> None:
    assert tree(text).declarations == ()


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert tree("\ufeffconst a = 1\n").declarations == tree("const a = 1\n").declarations
