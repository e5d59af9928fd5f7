"""Formatter: one style for all specs, with the author's lines, comments and spellings.

What it keeps: which steps stand on a line, blank lines (one at a place), bodies on one line where they fit, the rows of
a list. What it settles: indentation, spacing, where a long line is broken, trailing commas, and the columns of
neighbouring variants and of a recipe.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from netdsl.language import syntax
from netdsl.language.diagnostics import NetdslError
from netdsl.language.parser import MAX_NESTING, parse
from netdsl.language.pretty import Document, Group, Indent, Row, render
from netdsl.language.sentences import COLUMNS, Columns, Sentences
from netdsl.language.source import Source

FRAMES_PER_LEVEL: Final = 16

MAX_PASSES: Final = 4

_LINE_BREAK: Final = re.compile(r"\r\n?|\n")


def format_source(source: Source) -> str:
    """The text of a spec in the one style. Raises SpecError where it does not parse.

    Lines end as the first one of the source does. What comes out says the same as what went in, with the same comments;
    this is checked each time. It is formatted again until nothing changes, since a line that had to be broken may take
    its place among neighbours with columns.
    """
    original = parse(source)
    module, text = original, source.text
    with _frames(FRAMES_PER_LEVEL * MAX_NESTING):
        for _ in range(MAX_PASSES):
            before, text = text, Formatter(module).text_of_module()
            if text == before:
                break
            module = parse(Source(text, source.name))
            same = module.declarations == original.declarations
            if not same or [c.text for c in module.comments] != [c.text for c in original.comments]:
                raise NetdslError(f"{source.name}: formatting would change what this file says; it is left as it is")
    ending = _LINE_BREAK.search(source.text)
    return text.replace("\n", "\r\n") if ending and ending.group() == "\r\n" else text


@contextmanager
def _frames(count: int) -> Iterator[None]:
    """Allows that many calls within calls: a body in a body takes a dozen, and Python's own limit is a thousand."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + count)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class Formatter(Sentences):
    """The statements and declarations of one module as documents."""

    def __init__(self, module: syntax.Module) -> None:
        super().__init__(module)
        self._module = module
        self._sentences |= {
            syntax.Network: self.network,
            syntax.Block: self.network,
            syntax.Function: self.function,
            syntax.Const: self.const,
            syntax.Import: self.import_names,
            syntax.Recipe: self.recipe,
            syntax.Entry: self.entry,
            syntax.Phase: self.phase,
        }

    # -------------------------------------------------------------------------------------------------------- lines

    def text_of_module(self) -> str:
        parts: list[Document] = []
        previous: syntax.Declaration | None = None
        for node in self._module.declarations:
            apart = previous is not None and (_is_large(previous) or _is_large(node))
            parts += [self.lines_before(node.at[0], first=previous is None, apart=apart), self.sentence(node)]
            previous = node
        parts.append(self.lines_before(len(self.text), first=previous is None, last=True))
        text = render(Row(*parts), COLUMNS).strip("\n")
        return text + "\n" if text else ""

    # ------------------------------------------------------------------------------------------------- declarations

    def network(self, node: syntax.Network | syntax.Block) -> Document:
        word = "network" if isinstance(node, syntax.Network) else "block"
        return Row(word, " ", node.name, self.parameters(node, node.body.at[0]), " ", self.body(node.body))

    def parameters(self, node: syntax.Network | syntax.Block | syntax.Function, end: int) -> Document:
        if node.parameters is None:
            return ""
        start = self.find("(", node.at[0])
        return self.enclosed("(", node.parameters, ")", (start, end))

    def function(self, node: syntax.Function) -> Document:
        end = self.find(")", node.parameters[-1].at[1] if node.parameters else node.at[0]) + 1
        return Row("fn ", node.name, self.parameters(node, end), " = ", self.phrase(node.value))

    def const(self, node: syntax.Const) -> Document:
        return Row("const ", node.name, " = ", self.phrase(node.value))

    def import_names(self, node: syntax.Import) -> Document:
        parts: list[Document] = [f"from {node.name} import "]
        for index, name in enumerate(node.names):
            if index:
                parts += [",", self.gap(name.at[0])]
            parts += [self.behind(name.at[0]), name.name + (f" as {name.alias}" if name.alias else "")]
        return Group(Indent(*parts))

    # ------------------------------------------------------------------------------------------------------- recipes

    def recipe(self, node: syntax.Recipe) -> Document:
        start = node.at[0]
        if node.arguments:
            start = self.find(")", node.arguments[-1].at[1])
        start = self.find("{", start)
        arguments = self.optional_arguments(node.arguments, node.at[0], start)
        return Row(
            "recipe ", node.name, " for ", node.network, arguments, " ", self.braces((start, node.at[1]), node.items)
        )

    def phase(self, node: syntax.Phase) -> Document:
        start = self.find("{", node.at[0])
        return Row("phase ", node.name, " ", self.braces((start, node.at[1]), node.items))

    def entry(self, node: syntax.Entry) -> Document:
        parts: list[Document] = []
        for mark, operand in zip(node.marks, node.operands, strict=True):
            start = operand.at[0]
            if mark == ",":
                parts += [",", Group(self.gap(start))]
            elif mark:
                parts.append(Group(self.gap(start), "-> "))
            elif parts:
                parts.append(" ")
            parts.append(self.call(operand) if isinstance(operand, syntax.Call) else self.phrase(operand))
        return Columns(node.name, Row(Indent(*parts)))


def _is_large(node: syntax.Declaration) -> bool:
    return isinstance(node, syntax.Network | syntax.Block | syntax.Recipe)
