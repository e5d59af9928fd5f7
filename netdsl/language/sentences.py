"""Statements as documents for the formatter: steps and their bodies, in the lines in which the author has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from netdsl.language import syntax
from netdsl.language.phrases import Phrases
from netdsl.language.pretty import (
    HARD,
    LINE,
    Document,
    Group,
    IfBroken,
    Indent,
    Row,
    is_forced,
    joined,
    render,
    width,
)

COLUMNS: Final = 110
"""Lines are broken to be no longer than this, comments aside."""

MAX_PADDING: Final = 50
"""Widest gap that is left so that neighbouring lines have a column in common."""


class Columns(Group):
    """A line of two parts, the second of which may be moved to the right."""

    __slots__ = ("head", "tail")

    def __init__(self, head: Document, tail: Document, padding: int = 1) -> None:
        super().__init__(head, " " * padding, Group(tail) if is_forced(head) else tail)
        self.head = head
        self.tail = tail


@dataclass
class _Printed:
    """A line of statements, and what stands between it and the one before."""

    lead: Row
    document: Document
    node: syntax.Syntax


class Sentences(Phrases):
    def __init__(self, module: syntax.Module) -> None:
        super().__init__(module)
        self._indent = 0
        self._sentences: dict[type, Callable[..., Document]] = {
            syntax.Chain: self.chain,
            syntax.Let: self.let,
            syntax.Expect: self.expect,
            syntax.Output: self.output,
            syntax.Auxiliary: self.auxiliary,
            syntax.Preprocess: self.preprocess,
            syntax.Variant: self.variant,
            syntax.Step: self.step,
            syntax.Input: self.input,
            syntax.Call: self.call,
            syntax.Group: self.group,
            syntax.If: self.condition,
            syntax.For: self.loop,
            syntax.Repeat: self.repetition,
            syntax.Join: self.join,
            syntax.Residual: self.residual,
            syntax.From: self.from_step,
            syntax.Share: self.share,
        }

    def sentence(self, node: syntax.Syntax) -> Document:
        return self._sentences[type(node)](node)

    # -------------------------------------------------------------------------------------------------------- lines

    def lines_before(self, end: int, first: bool = False, apart: bool = False, last: bool = False) -> Row:
        """From the end of one statement to the beginning of the next: the comments between them, and blank lines where
        the author has them. With `apart` there is a blank line in any case, above the comments that belong to the next
        statement. `first` and `last` are the edges of a body, where there is none."""
        parts, found = self.trailing(end)
        offsets = [*(comment.offset for comment in found), *([] if last else [end])]
        blanks = [self.is_apart(offset) for offset in offsets]
        if apart and not any(blanks):
            blanks[0] = True
        for index, blank in enumerate(blanks):
            if blank and not (first and index == 0):
                parts.append(HARD)
            parts.append(HARD)
            if index < len(found):
                parts.append(found[index].text)
        return Row(*parts)

    def lines(self, nodes: Sequence[syntax.Syntax], first: bool = False) -> list[_Printed]:
        """Statements; those of one line of the author share a line if they fit. `first`: they begin a body."""
        printed: list[_Printed] = []
        index = 0
        while index < len(nodes):
            end = index + 1
            while end < len(nodes) and not self.has_newline(nodes[end - 1].at[1], nodes[end].at[0]):
                end += 1
            lead = self.lines_before(nodes[index].at[0], first=first and index == 0)
            documents = self.sequence(nodes[index:end], more=end < len(nodes))
            document = documents[0]
            if len(documents) > 1:
                row = Row(*documents)
                document = row if row.forced else Group(row)
            printed.append(_Printed(lead, document, nodes[index]))
            index = end
        _align(printed, self._indent)
        return printed

    def sequence(self, nodes: Sequence[syntax.Syntax], more: bool = False) -> list[Document]:
        """Statements with what separates them; `more` follow on other lines."""
        documents = [self.sentence(node) for node in nodes]
        on_lines = any(map(is_forced, documents))
        parts: list[Document] = []
        for index, (node, document) in enumerate(zip(nodes, documents, strict=True)):
            last = index == len(nodes) - 1
            parts.append(document)
            # A newline behind a label separates nothing, so an output without steps needs a semicolon.
            is_bare = isinstance(node, syntax.Output) and node.chain is None
            if is_bare and (more or not last):
                parts[-1] = Row(document, ";")
            if not last:
                parts.append(HARD if on_lines else IfBroken(HARD, " " if is_bare else "; "))
        return parts

    # ------------------------------------------------------------------------------------------------------- bodies

    def body(self, node: syntax.Body) -> Document:
        return self.braces(node.at, node.statements, node.lanes)

    def braces(self, at: syntax.At, nodes: Sequence[syntax.Syntax], lanes: Sequence[syntax.Lane] = ()) -> Document:
        """A body; on one line if the author has it so and if it fits."""
        if not nodes and not lanes and not self.has_comments(at[1]):
            return "{}"
        self._indent += 2
        if self.has_newline(*at):
            parts = [part for line in self.lines(nodes, first=True) for part in (line.lead, line.document)]
            for lane in lanes:
                parts.append(self.lines_before(lane.at[0], first=not parts))
                parts += self.lane(lane)
            parts.append(self.lines_before(at[1], first=not parts, last=True))
            document: Document = Row("{", Indent(*parts), HARD, "}")
        else:
            parts = self.sequence(nodes)
            for lane in lanes:
                parts += [LINE, *self.short_lane(lane)] if parts else self.short_lane(lane)
            document = Group("{", Indent(LINE, *parts), LINE, "}")
        self._indent -= 2
        return document

    def lane(self, node: syntax.Lane) -> list[Document]:
        """Steps stand behind the bar or two columns further right than it; what makes lanes of its own, below it."""
        self._indent += 2
        starts_apart = bool(node.statements) and self.has_comments(node.statements[0].at[0])
        lines = self.lines(node.statements)
        self._indent -= 2
        parts: list[Document] = ["|"]
        for index, line in enumerate(lines):
            if _makes_lanes(line.node):
                parts += [line.lead, line.document]
            elif index or starts_apart:
                parts.append(Indent(line.lead, line.document))
            else:
                parts.append(Indent(" ", line.document))
        return parts

    def short_lane(self, node: syntax.Lane) -> list[Document]:
        parts: list[Document] = ["|"]
        separator: Document = " "
        for index, document in enumerate(self.sequence(node.statements)):
            if index % 2:
                separator = document
            elif _makes_lanes(node.statements[index // 2]):
                parts += [IfBroken(HARD, " ") if index == 0 else separator, document]
            else:
                parts.append(Indent(separator, document))
        return parts

    # --------------------------------------------------------------------------------------------------- statements

    def chain(self, node: syntax.Chain) -> Document:
        return self.arrows(node.links)

    def arrows(self, links: Sequence[syntax.Syntax]) -> Document:
        """Steps joined by arrows, in the lines in which the author has them. A line that is too long is broken in front
        of an arrow, unless a body makes it several lines anyway."""
        rows: list[list[Document]] = [[self.sentence(links[0])]]
        leads: list[Document] = []
        for before, link in pairwise(links):
            if self.has_newline(before.at[1], link.at[0]):
                leads.append(Row(self.gap(link.at[0], HARD), "-> "))
                rows.append([])
            rows[-1].append(self.sentence(link))
        first, *rest = rows
        parts = [_arrows(first, indented=True)]
        parts += [Indent(lead, _arrows(row)) for lead, row in zip(leads, rest, strict=True)]
        return Row(*parts)

    def step(self, node: syntax.Step) -> Document:
        if node.label is None:
            return self.sentence(node.action)
        return self.labelled(node.label, node.action)

    def labelled(self, label: syntax.Label, node: syntax.Syntax) -> Document:
        start = node.at[0]
        if self.has_comments(start):
            return Row(self.label(label), ":", Indent(self.gap(start), self.sentence(node)))
        return Row(self.label(label), ": ", self.sentence(node))

    def label(self, node: syntax.Label) -> str:
        return "".join(
            part if isinstance(part, str) else "{" + render(Group(self.phrase(part)), 10**9) + "}"
            for part in node.parts
        )

    def let(self, node: syntax.Let) -> Document:
        return Row("let ", ", ".join(node.names), " = ", self.phrase(node.value))

    def expect(self, node: syntax.Expect) -> Document:
        """Claims in the author's lines; too long ones begin on the next line."""
        parts: list[Document] = []
        for before, claim in pairwise([None, *node.claims]):
            assert claim is not None
            if before is not None:
                breaks = self.has_newline(before.at[1], claim.at[0])
                parts += [",", self.gap(claim.at[0], HARD if breaks else LINE)]
            else:
                parts.append(self.gap(claim.at[0]))
            parts.append(self.phrase(claim.left))
            if claim.about is not None:
                parts += [" ~ ", self.phrase(claim.about)]
        return Group("expect", Indent(parts[0], Group(*parts[1:])))

    def variant(self, node: syntax.Variant) -> Document:
        end = node.expect.at[0] if node.expect else node.at[1]
        head = Row("variant ", node.name, self.arguments(node.arguments, node.at[0], end))
        return head if node.expect is None else Columns(head, self.expect(node.expect))

    def output(self, node: syntax.Output) -> Document:
        if node.chain is None:
            return Row("output ", self.label(node.label), ":")
        return Row("output ", self.labelled(node.label, node.chain))

    def auxiliary(self, node: syntax.Auxiliary) -> Document:
        return Row("auxiliary ", self.labelled(node.label, node.chain))

    def preprocess(self, node: syntax.Preprocess) -> Document:
        return Row("preprocess ", self.arrows(node.calls))

    def input(self, node: syntax.Input) -> Document:
        label = f"{self.label(node.label)}: " if node.label else ""
        return Row("input ", label, self.phrase(node.shape))

    # ------------------------------------------------------------------------------------------------------- actions

    def call(self, node: syntax.Call) -> Document:
        return Row(self.behind(node.at[0]), node.name, self.optional_arguments(node.arguments, *node.at))

    def optional_arguments(self, items: Sequence[syntax.Argument] | None, start: int, end: int) -> Document:
        return "" if items is None else self.arguments(items, start, end)

    def group(self, node: syntax.Group) -> Document:
        return self.body(node.body)

    def condition(self, node: syntax.If) -> Document:
        parts: list[Document] = []
        branch: syntax.If | syntax.Body | None = node
        while isinstance(branch, syntax.If):
            parts += ["if ", self.phrase(branch.condition), " ", self.body(branch.then)]
            branch = branch.otherwise
            if branch is not None:
                parts.append(Row(self.gap(branch.at[0]), "else ") if self.has_comments(branch.at[0]) else " else ")
        if branch is not None:
            parts.append(self.body(branch))
        return Row(*parts)

    def loop(self, node: syntax.For) -> Document:
        return Row("for ", ", ".join(node.names), " in ", self.phrase(node.iterable), " ", self.body(node.body))

    def repetition(self, node: syntax.Repeat) -> Document:
        name = f" as {node.name}" if node.name else ""
        return Row("repeat ", self.phrase(node.count), name, " ", self.body(node.body))

    def join(self, node: syntax.Join) -> Document:
        end = (node.split or node.body).at[0]
        parts = [node.name, self.optional_arguments(node.arguments, node.at[0], end), " "]
        if node.split is not None:
            parts += ["split ", self.phrase(node.split), " "]
        return Row(*parts, self.body(node.body))

    def residual(self, node: syntax.Residual) -> Document:
        if node.condition is None:
            return Row("residual ", self.body(node.body))
        return Row("residual if ", self.phrase(node.condition), " ", self.body(node.body))

    def from_step(self, node: syntax.From) -> Document:
        if node.value is None:
            assert node.path is not None
            return Row("from ", self.label(node.path))
        value = node.value
        return Row("from ", self.around("(", lambda: self.phrase(value), ")", value.at[0], node.at[1]))

    def share(self, node: syntax.Share) -> Document:
        return Row("share ", self.label(node.path))


def _arrows(documents: Sequence[Document], indented: bool = False) -> Document:
    """Steps joined by arrows, as many on a line as fit."""
    if any(map(is_forced, documents)):
        return joined(" -> ", documents)
    rest = [Group(LINE, "-> ", document) for document in documents[1:]]
    return Row(documents[0], Indent(*rest) if indented else Row(*rest))


def _makes_lanes(node: syntax.Syntax) -> bool:
    """Whether a statement of a join makes lanes of its own: a loop or a condition the body of which holds lanes."""
    if not isinstance(node, syntax.Chain) or len(node.links) != 1 or not isinstance(node.links[0], syntax.Step):
        return False
    action = node.links[0].action
    if isinstance(action, syntax.For | syntax.Repeat):
        return _holds_lanes(action.body)
    branch: syntax.Syntax | None = action
    while isinstance(branch, syntax.If):
        if _holds_lanes(branch.then):
            return True
        branch = branch.otherwise
    return isinstance(branch, syntax.Body) and _holds_lanes(branch)


def _holds_lanes(body: syntax.Body) -> bool:
    return bool(body.lanes) or any(map(_makes_lanes, body.statements))


def _align(lines: Sequence[_Printed], indent: int) -> None:
    """Neighbouring lines of two columns get their second column in one place, if all of them fit then."""
    run: list[_Printed] = []
    for line in lines:
        document = line.document
        is_next = not any(isinstance(part, str) for part in line.lead.parts) and line.lead.parts.count(HARD) == 1
        fits = isinstance(document, Columns) and not document.forced and indent + width(document) <= COLUMNS
        if not (fits and is_next):
            _align_run(run, indent)
            run = []
        if fits:
            run.append(line)
    _align_run(run, indent)


def _align_run(run: Sequence[_Printed], indent: int) -> None:
    parts = [line.document for line in run if isinstance(line.document, Columns)]
    heads = [width(part.head) for part in parts]
    column = max(heads, default=0) + 1
    fits = all(indent + column + width(part.tail) <= COLUMNS for part in parts)
    if len(parts) > 1 and fits and column - min(heads) <= MAX_PADDING:
        for line, part, head in zip(run, parts, heads, strict=True):
            line.document = Columns(part.head, part.tail, column - head)
