"""Elaboration ends, with a network or with diagnostics, whatever it is given."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netdsl
from netdsl.elaborate import Limits, Loader, build, choose
from netdsl.language.source import Source
from netdsl.resources import library_path

LIMITS = Limits(nodes=3_000, steps=20_000, items=10_000, depth=12, diagnostics=10)
FILES = sorted(library_path().rglob("*.net"))
TOKEN = re.compile(r"\s+|\w+|->|\*\*|//|[^\w\s]")


def attempt(text: str, folder: Path | None = None) -> str:
    """What became of a spec. Anything but a netdsl error is a defect, and fails the test."""
    try:
        module = Loader().source(Source(text, "hostile.net"), folder)
        for name in module.networks():
            build(choose(module, name), limits=LIMITS)
    except netdsl.NetdslError as error:
        assert str(error)
        return "refused"
    return "accepted"


VOCABULARY = """
network block fn const input output auxiliary let if else for in repeat as add concat residual split from share expect
variant preprocess conv dense relu batch_norm max_pool flatten x n a b { } ( ) [ ] | , = -> : ; . + - * ** / // % == ~ <
0 1 2 3 64 1e3 3x8x8 3x? ? true none half 'w' #c
"""
WORDS = st.sampled_from([*VOCABULARY.split(), "\n"])


@given(st.lists(WORDS, max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_sequence_of_words(words: list[str]) -> None:
    attempt(" ".join(words))
    attempt(f"network n(a = 2) {{ input 3x8x8\n {' '.join(words)} }}")


@pytest.mark.parametrize("seed", range(150))
def test_a_spec_of_the_library_with_a_few_words_changed(seed: int) -> None:
    chance = random.Random(seed)
    path = chance.choice(FILES)
    tokens = TOKEN.findall(path.read_text(encoding="utf-8"))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(tokens))
        kind = chance.randrange(4)
        if kind == 0:
            del tokens[place]
        elif kind == 1:
            tokens.insert(place, tokens[chance.randrange(len(tokens))])
        elif kind == 2:
            tokens[place] = tokens[chance.randrange(len(tokens))]
        else:
            tokens[place] = chance.choice(["0", "-1", "10 ** 9", "?", "none", "x", "3.5", "[]", "1e400", "99999999999"])
    attempt("".join(tokens), path.parent)


COUNTS = st.sampled_from(["0", "1", "3", "1000", "10 ** 6", "10 ** 12", "-1", "2.5", "none", "x.channels"])


@given(st.lists(COUNTS, min_size=1, max_size=6), st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nested_loops_end(counts: list[str], empty: bool) -> None:
    opening = " ".join(f"repeat {count} {{" for count in counts)
    attempt(f"network n {{ input 3x8x8\n {opening} {'' if empty else 'relu'} {'}' * len(counts)} }}")


@pytest.mark.parametrize(
    "text",
    [
        "block a(b) { b(b) }\nnetwork n { input 3x8x8 -> a(a) }",
        "block a(f) { f }\nblock b { a(b) }\nnetwork n { input 3x8x8 -> b }",
        "\n".join(f"block b{i} {{ b{i + 1} -> b{i + 1} }}" for i in range(11)) + "\nblock b11 { relu }\nnetwork n { input 3 -> b0 }",
        "\n".join(f"fn f{i}(a) = f{i + 1}(a) + f{i + 1}(a)" for i in range(11)) + "\nfn f11(a) = a\nnetwork n { input 3\n let a = f0(1)\n relu }",
        "fn f(g, n) = g(g, n)\nnetwork n { input 3\n let a = f(f, 1)\n relu }",
        "network n { input 3\n let a = " + "+".join(["1"] * 30_000) + "\n relu }",
        "network n { input 3\n let a = " + "not " * 5_000 + "true\n relu }",
        "network n { input 3\n let a = " + "(" * 5_000 + "1" + ")" * 5_000 + "\n relu }",
        "network n { input 3\n let a = " + " and ".join(["true"] * 30_000) + "\n relu }",
        "network n { input 3 -> " + "{ " * 10_000 + "relu" + " }" * 10_000 + " }",
        "network n { input 2147483647x2147483647x2147483647 -> conv(2147483647, 1x1) }",
        "network n { input 99999999999999999999x1x1 -> relu }",
        "network n { input " + "9" * 5_000 + " -> relu }",
        "network n { input " + "1x" * 5_000 + "1 -> relu }",
        "network n { input 1x1x1x1x1x1x1x1x1x1x1x1 -> relu }",
        "network n { input 3x8x8\n " + "let a = 1\n" * 20_000 + " relu }",
        "network n { input 3x8x8\n add { " + "| relu " * 2_000 + "} }",
    ],
    ids=range(17),
)  # fmt: skip
def test_hostile_specs(text: str) -> None:
    attempt(text)


def test_files_that_import_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.net").write_text("from b import f\nconst g = 1\n")
    (tmp_path / "b.net").write_text("from a import g\nconst f = 1\n")
    with pytest.raises(netdsl.SpecError, match=r"E0603.*a\.net -> b\.net -> a\.net"):
        netdsl.load(tmp_path / "a.net")


def test_imports_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "secret.net").write_text("const a = 1\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "spec.net").write_text("from ..secret import a\nnetwork n { input 3 -> relu }")
    with pytest.raises(netdsl.SpecError):
        netdsl.load(inner / "spec.net")
