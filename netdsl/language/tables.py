"""The parsing tables of `grammars/netdsl.lark`.

Lark reads the grammar, checks that it is LALR(1) and computes its automaton. The tables lie beside the grammar, so
that a run of netdsl need not compute them again (nor import Lark); `python -m netdsl.language.tables` writes them
after a change of the grammar. Where they do not belong to the grammar as it is, they are computed on the spot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from netdsl.resources import grammar_path

STARTS = ("module", "expression")
"""What can be parsed by itself."""

END = "$END"
"""The terminal behind the last token."""


class Terminal(NamedTuple):
    """`pattern` is a regular expression, unless it is a `word` that stands for itself."""

    name: str
    pattern: str
    priority: int
    word: bool
    ignored: bool


class Rule(NamedTuple):
    """`size` symbols become one `origin`. `build` is the method of the builder that makes its node: without one, the
    children themselves are passed on, as a list. `inline` says which children are such lists."""

    origin: str
    size: int
    build: str | None
    inline: tuple[bool, ...] | None
    unit: bool
    """The one child stands for the whole."""


class Tables(NamedTuple):
    """An LALR(1) automaton. In a state, a terminal leads to a state (from 0 on), or to a rule, as its complement;
    behind a rule its origin leads to the next state."""

    terminals: tuple[Terminal, ...]
    """In the order in which the lexer tries them."""
    rules: tuple[Rule, ...]
    actions: tuple[dict[str, int], ...]
    follow: tuple[dict[str, int], ...]
    starts: dict[str, int]
    ends: dict[str, int]


def compute(grammar: str) -> Tables:
    """The tables of a grammar. Raises lark.GrammarError where it is not LALR(1)."""
    from lark import Lark
    from lark.lexer import PatternStr
    from lark.parsers.lalr_analysis import LALR_Analyzer

    lark = Lark(
        grammar, parser="lalr", lexer="basic", start=list(STARTS), keep_all_tokens=True, maybe_placeholders=False
    )
    analysis = LALR_Analyzer(lark.parser.parser_conf, strict=True)
    analysis.compute_lalr()  # type: ignore[no-untyped-call]
    table = analysis.parse_table

    ordered = sorted(lark.terminals, key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name))
    terminals = tuple(
        Terminal(
            str(t.name),
            t.pattern.value if isinstance(t.pattern, PatternStr) else t.pattern.to_regexp(),
            t.priority,
            isinstance(t.pattern, PatternStr),
            t.name in lark.ignore_tokens,
        )
        for t in ordered
    )

    # States and rules are numbered in the order in which a walk from the starts meets them.
    states = [table.start_states[start] for start in STARTS]
    rules: list[Any] = []
    actions: list[dict[str, int]] = []
    follow: list[dict[str, int]] = []
    for state in states:
        actions.append({})
        follow.append({})
        for symbol, (action, argument) in sorted(table.states[state].items()):
            known = states if action.name == "Shift" else rules
            if argument not in known:
                known.append(argument)
            number = known.index(argument)
            target = follow if symbol in {rule.origin.name for rule in lark.rules} else actions
            target[-1][str(symbol)] = number if known is states else ~number
    return Tables(
        terminals,
        tuple(map(_rule, rules)),
        tuple(actions),
        tuple(follow),
        {start: states.index(table.start_states[start]) for start in STARTS},
        {start: states.index(table.end_states[start]) for start in STARTS},
    )


def _rule(rule: Any) -> Rule:
    """Lark's conventions: a rule `_name` is spliced into its parent, and `?name` gives way to an only child."""
    name = str(rule.origin.name)
    inline = tuple(not symbol.is_term and symbol.name.startswith("_") for symbol in rule.expansion)
    unit = bool(rule.options.expand1) and not rule.alias
    if unit and (len(inline) != 1 or inline[0]):
        raise ValueError(f"`?{name}` has an alternative of {len(inline)} symbols that is not named")
    build = None if unit or name.startswith("_") else str(rule.alias or name)
    return Rule(name, len(inline), build, inline if any(inline) else None, unit)


def _digest(grammar: str) -> str:
    return hashlib.sha256(grammar.encode()).hexdigest()


def dump(tables: Tables, grammar: str) -> str:
    """The tables as JSON, a state a line."""

    def rows(items: Iterable[object]) -> str:
        return "[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in items) + "\n]"

    parts: Sequence[tuple[str, str]] = [
        ("grammar", json.dumps(_digest(grammar))),
        ("terminals", rows(tables.terminals)),
        ("rules", rows(tables.rules)),
        ("actions", rows(tables.actions)),
        ("follow", rows(tables.follow)),
        ("starts", json.dumps(tables.starts)),
        ("ends", json.dumps(tables.ends)),
    ]
    return "{\n" + ",\n".join(f'"{name}": {text}' for name, text in parts) + "\n}\n"


def load(text: str, grammar: str) -> Tables | None:
    """The tables in a JSON text, or None where they are those of another grammar."""
    data = json.loads(text)
    if data["grammar"] != _digest(grammar):
        return None
    rules = (
        Rule(origin, size, build, inline and tuple(inline), unit) for origin, size, build, inline, unit in data["rules"]
    )
    return Tables(
        tuple(Terminal(*row) for row in data["terminals"]),
        tuple(rules),
        tuple(data["actions"]),
        tuple(data["follow"]),
        data["starts"],
        data["ends"],
    )


def stored() -> Path:
    """Where the tables lie."""
    return grammar_path().with_suffix(".tables.json")


@cache
def tables() -> Tables:
    """The tables of the language."""
    grammar = grammar_path().read_text(encoding="utf-8")
    path = stored()
    found = load(path.read_text(encoding="utf-8"), grammar) if path.is_file() else None
    return found or compute(grammar)


if __name__ == "__main__":
    text = grammar_path().read_text(encoding="utf-8")
    stored().write_text(dump(compute(text), text), encoding="utf-8", newline="\n")
