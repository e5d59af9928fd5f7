"""Expressions mean what Python means, within bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netdsl
from netdsl.elaborate import Limits, value_of


def evaluate(text: str) -> object:
    return value_of(text, "test")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000), ("1e-3", 0.001), ("20%", 0.2), ("4.09G", 4_090_000_000), ("1.5K", 1500), ("7 % 4", 3), ("7%4", 3),
        ("2 ** 3 ** 2", 512), ("-2 ** 2", -4), ("7 // 2", 3), ("-7 // 2", -4), ("1 / 4", 0.25), ("'a' + \"b\"", "ab"),
        ("3x224x224", (3, 224, 224)), ("[1, 2, 3][-1]", 3), ("[1, 2, 3][1:]", [2, 3]),
        ("[1, 2, 3][:-1]", [1, 2]), ("1 if false else 2", 2), ("not true or 1 < 2", True), ("2 in [1, 2]", True),
        ("3 not in [1, 2]", True), ("none", None), ("[i * i for i in range(4) if i != 2]", [0, 1, 9]),
        ("[a + b for a, b in zip([1, 2], [3, 4])]", [4, 6]), ("sum([1, 2, 3])", 6), ("round(2.5)", 2), ("int(-1.9)", -1),
        ("ceil(1.1)", 2), ("floor(-1.1)", -2), ("max(1, 5, 3)", 5), ("min([4, 2])", 2), ("len(\"abc\")", 3),
        ("sqrt(16)", 4.0), ("log2(8)", 3.0), ("enumerate([5])", [(0, 5)]), ("transpose([[1, 2], [3, 4]])", [[1, 3], [2, 4]]),
        ("sorted([3, 1])", [1, 3]), ("any([false, true])", True), ("(1,)", (1,)), ("()", ()), ("\"\\n\"", "\n"),
    ],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
    assert evaluate(text) == value
    assert type(evaluate(text)) is type(value)


@pytest.mark.parametrize(
    ("value", "divisor", "expected"),
    # The MobileNet authors' rule: nearest multiple of 8, never more than 10 % below.
    [
        (32 * 0.75, 8, 24),
        (16 * 1.3, 8, 24),
        (24 * 0.35, 8, 8),
        (33, 8, 32),
        (44, 8, 48),
        (10, 8, 16),
        (96 * 1.4, 8, 136),
    ],
)
def test_make_divisible(value: float, divisor: int, expected: int) -> None:
    assert evaluate(f"make_divisible({value}, {divisor})") == expected


INTEGERS = st.integers(-50, 50)


@st.composite
def arithmetic(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.booleans()):
        number = draw(INTEGERS)
        return f"({number})"
    left, right = draw(arithmetic(depth=depth - 1)), draw(arithmetic(depth=depth - 1))
    sign = draw(st.sampled_from(["+", "-", "*", "//", "%", "==", "<", "and"]))
    if sign in {"+", "-", "*", "//", "%"}:
        return f"{left} {sign} {right}" if draw(st.booleans()) else f"({left} {sign} {right})"
    condition = f"{left} > 0 and {right} > 0" if sign == "and" else f"({left}) {sign} ({right})"
    return f"({left} if {condition} else {right})"


@given(arithmetic())
def test_arithmetic_is_pythons(text: str) -> None:
    try:
        expected = eval(text)
    except ZeroDivisionError:
        with pytest.raises(netdsl.SpecError, match="E0207.*division by zero"):
            evaluate(text)
        return
    assert evaluate(text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("9 ** 9 ** 9", "E0503"), ("2 ** 64", "E0503"), ("[0] * 10 ** 9", "E0504"), ("range(10 ** 12)", "E0504"),
        ("[i for i in range(10 ** 9)]", "E0504"), ("\"a\" * 10 ** 9", "E0504"), ("1 / 0", "E0207"), ("[1][5]", "E0207"),
        ("1 + none", "E0207"), ("len(3)", "E0207"), ("sqrt(-1)", "E0207"), ("int(\"x\")", "E0207"), ("3(4)", "E0208"),
        ("(-8) ** 0.5", "E0207"), ("1e308 * 10", None), ("2.0 ** 5000", "E0503"), ("\"%s\" % 3", "E0207"),
        ("1(2)(3)", "E0208"), ("relu.x", "E0207"), ("[1, 2].x", "E0207"), ("lenn([1])", "E0201"), ("?+1", "E0210"),
        ("max(?, 3)", "E0210"), ("\"a\" < 3", "E0207"), ("zip(3)", "E0207"), ("[x for x in 5]", "E0207"),
        ("[a for a, b in [1]]", "E0207"), ("str([1])", "E0207"), ("sorted([1, \"a\"])", "E0207"),
    ],
)  # fmt: skip
def test_errors(text: str, code: str | None) -> None:
    if code is None:
        assert evaluate(text) == math.inf
        return
    with pytest.raises(netdsl.SpecError) as error:
        evaluate(text)
    assert [diagnostic.code for diagnostic in error.value.diagnostics] == [code]


def test_doubling_lists_end() -> None:
    lines = ["fn f0(a) = [a, a]"] + [f"fn f{i}(a) = f{i - 1}(f{i - 1}(a))" for i in range(1, 25)]
    text = "\n".join(lines) + "\nnetwork n { input 3x8x8\n let a = f24(1)\n relu }"
    with pytest.raises(netdsl.SpecError, match=r"E050[245]"):
        netdsl.loads(text, limits=Limits(steps=100_000))


def test_shared_structure_is_not_expanded_without_bound() -> None:
    lets = "\n".join(f"let a{i} = [a{i - 1}, a{i - 1}]" for i in range(1, 60))
    with pytest.raises(netdsl.SpecError, match="E0504"):
        netdsl.loads(f"network n {{ input 3x8x8\n let a0 = 1\n {lets}\n conv(3, 3x3, weight = a59) }}")
    with pytest.raises(netdsl.SpecError, match="E0504"):
        netdsl.loads(f"network n {{ input 3x8x8\n let a0 = 1\n {lets}\n expect a59 == a58\n relu }}")


@given(st.text(max_size=60))
def test_any_text_gives_a_value_or_a_diagnostic(text: str) -> None:
    try:
        evaluate(text)
    except netdsl.SpecError as error:
        assert all(diagnostic.code.startswith("E") for diagnostic in error.diagnostics)
