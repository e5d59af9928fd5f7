"""Collects what is wrong with a spec, so that one run finds as much as it can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from netdsl.elaborate.context import Context
from netdsl.elaborate.values import POISON
from netdsl.language.diagnostics import Diagnostic, SpecError

# The same name may be unknown in many places, and one mend serves all of them.
_ONCE_FOR_ALL = {"E0201"}


class TooManyError(Exception):
    """Enough errors have been collected, or a limit was hit: there is no use in going on."""


class Reporter:
    """Each finding once, however often a block with an error in it is called."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: set[tuple[Any, ...]] = set()
        self.diagnostics: list[Diagnostic] = []

    @contextmanager
    def collecting(self, context: Context, keeps_tensor: bool = False) -> Iterator[None]:
        """Collects the diagnostics of what goes wrong inside. POISON becomes the current tensor then, unless what was
        tried has nothing to do with it. Raises TooManyError."""
        before = context.flow.current
        try:
            yield
        except SpecError as error:
            context.flow.current = before if keeps_tensor else POISON
            for diagnostic in error.diagnostics:
                self._add(diagnostic, context)

    def _add(self, diagnostic: Diagnostic, context: Context) -> None:
        span = diagnostic.span
        place = None if span is None else (span.source.name, span.start)
        key = (diagnostic.code, diagnostic.message if diagnostic.code in _ONCE_FOR_ALL else place)
        if key not in self._seen:
            self._seen.add(key)
            trace = tuple((f"`{call.block}` ({call.scope})", call.span) for call in context.calls)
            self.diagnostics.append(diagnostic if diagnostic.trace else replace(diagnostic, trace=trace))
        if diagnostic.code.startswith("E05") or len(self.diagnostics) >= self._most:
            raise TooManyError from None
