"""Where layers come from: the sources of a network, and places in them, each once and named by its number."""

from __future__ import annotations

from netdsl.ir.network import Call
from netdsl.language.source import Source, Span


class Places:
    """Gives numbers to sources, to places in them, and to chains of block calls."""

    def __init__(self) -> None:
        self.sources: dict[int, Source] = {}
        self._numbers: dict[int, int] = {}
        self._spans: dict[tuple[int, int, int], int] = {}
        self.spans: list[list[int]] = []
        self._chains: dict[int, int] = {}
        self.chains: list[list[list[object]]] = []
        self._kept: list[tuple[Call, ...]] = []

    def source(self, source: Source) -> int:
        key = id(source)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self.sources[key] = source
        return self._numbers[key]

    def span(self, span: Span | None) -> int:
        """The number of a place: file, first line and column, last line and the column behind it, from 1; -1: none."""
        if span is None:
            return -1
        key = (id(span.source), span.start, span.end)
        if key not in self._spans:
            self._spans[key] = len(self.spans)
            first, last = span.source.position(span.start), span.source.position(max(span.start, span.end))
            self.spans.append([self.source(span.source), *first, *last])
        return self._spans[key]

    def chain(self, calls: tuple[Call, ...]) -> int:
        """The number of a chain of block calls: the block, its scope, the place, outermost first."""
        if id(calls) not in self._chains:
            self._kept.append(calls)  # Keeps its id from being given to another.
            self._chains[id(calls)] = len(self.chains)
            self.chains.append([[call.block, call.scope, self.span(call.span)] for call in calls])
        return self._chains[id(calls)]

    def files(self) -> list[dict[str, str]]:
        return [{"name": source.name, "text": source.text} for source in self.sources.values()]
