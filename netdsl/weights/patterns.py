"""Patterns of `except`, and the names that they cover."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from netdsl.language.diagnostics import did_you_mean
from netdsl.weights.errors import WeightError

Patterns = str | Sequence[str]


def excepted(names: Iterable[str], except_: Patterns) -> set[str]:
    """The names that a pattern covers, by themselves or through a scope around them.

    Patterns are as in a shell (`*`, `?`, `[ab]`); each names weights or whole scopes, `fc` as well as
    `layer4.*.conv1`. Raises WeightError for a pattern that names nothing.
    """
    patterns = [except_] if isinstance(except_, str) else list(except_)
    if not patterns:
        return set()
    used: set[str] = set()
    covered: set[str] = set()
    scopes: set[str] = set()
    for name in names:
        around = list(_with_scopes(name))
        scopes.update(around)
        for pattern in patterns:
            if any(fnmatchcase(scope, pattern) for scope in around):
                used.add(pattern)
                covered.add(name)
                break
    # A pattern may be hidden behind an earlier one that covers the same names, so it is asked once more by itself.
    for pattern in patterns:
        if pattern not in used and not any(fnmatchcase(scope, pattern) for scope in scopes):
            raise WeightError(
                "E0708",
                f"except `{pattern}` names no weight and no scope, neither in the network nor in the file",
                did_you_mean(pattern, scopes),
            )
    return covered


def _with_scopes(name: str) -> Iterator[str]:
    yield name
    scope = name.rpartition(".")[0]
    while scope:
        yield scope
        scope = scope.rpartition(".")[0]
