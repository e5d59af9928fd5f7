"""The automaton that the tables describe: shifts tokens, and builds a node where a rule is complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netdsl.language.lexer import Lexer, Token
from netdsl.language.tables import END, Tables

Children = list[Any]
Build = Callable[[Children], Any]


class UnexpectedTokenError(Exception):
    """The parser has no use for a token. `expected` are the terminals it would have taken."""

    def __init__(self, token: Token, expected: frozenset[str]) -> None:
        self.token = token
        self.expected = expected


class Automaton:
    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._landings: dict[tuple[int, str, str], int] = {}

    def run(self, lexer: Lexer, start: str, builder: object) -> Any:
        """What the builder makes of the tokens. Raises UnexpectedTokenError, and what lexer and builder raise."""
        tables = self.tables
        actions, rules, landings = tables.actions, tables.rules, self._landings
        builds: list[Build | None] = [getattr(builder, rule.build) if rule.build else None for rule in rules]
        last = tables.ends[start]
        states = [tables.starts[start]]
        values: list[Any] = []
        for token in lexer.tokens(states):
            kind = token.type
            while True:
                action = actions[states[-1]].get(kind)
                if action is None:
                    raise UnexpectedTokenError(token, self._expected(states))
                if action >= 0:
                    states.append(action)
                    values.append(token)
                    break
                origin, size, _, inline, unit = rules[~action]
                children = []
                if size:
                    children = values[-size:]
                    del values[-size:], states[-size:]
                if inline:
                    children = _spliced(children, inline)
                build = builds[~action]
                values.append(build(children) if build else children[0] if unit else children)
                # Behind a rule there are often others that only hand its node on; where those lead is remembered.
                key = (states[-1], origin, kind)
                landing = landings.get(key)
                if landing is None:
                    landing = landings[key] = self._land(*key)
                states.append(landing)
                if kind == END and landing == last:
                    return values[-1]
        raise AssertionError("the last token is the end")

    def _land(self, state: int, origin: str, kind: str) -> int:
        """The state behind `origin`, and behind the rules of one child that follow when `kind` comes next."""
        tables = self.tables
        while True:
            landing = tables.follow[state][origin]
            action = tables.actions[landing].get(kind, 0)
            if action >= 0 or not tables.rules[~action].unit:
                return landing
            origin = tables.rules[~action].origin

    def _expected(self, states: Sequence[int]) -> frozenset[str]:
        """The terminals that can be shifted, be it after some reductions."""
        return frozenset(kind for kind in self.tables.actions[states[-1]] if self._shifts(list(states), kind))

    def _shifts(self, states: list[int], kind: str) -> bool:
        while (action := self.tables.actions[states[-1]].get(kind)) is not None:
            if action >= 0:
                return True
            rule = self.tables.rules[~action]
            if rule.size:
                del states[-rule.size :]
            states.append(self.tables.follow[states[-1]][rule.origin])
            if kind == END and states[-1] in self.tables.ends.values():
                return True
        return False


def _spliced(children: Children, inline: tuple[bool, ...]) -> Children:
    """The children with the lists among them opened. A list at the front grows in place, so that long rows cost linear
    time."""
    flat: Children = children[0] if inline[0] else [children[0]]
    for child, is_list in zip(children[1:], inline[1:], strict=True):
        if is_list:
            flat += child
        else:
            flat.append(child)
    return flat
