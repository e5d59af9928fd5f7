"""The syntax tree: what a `.net` file says, before anything is known about what it means.

Every node carries `at`, the offsets of its first character and of the one behind its last; equality ignores it, so two
trees are equal when they say the same. Comments are kept beside the tree, by offset.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import NamedTuple

from netdsl.language.source import Source, Span

At = tuple[int, int]


@dataclass(slots=True, eq=False, repr=False)
class Syntax:
    """Base of all nodes. Equality and text are written once: generating them for fifty classes takes longer than
    reading a spec. Nodes are not changed once they are made."""

    at: At = field(compare=False)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, part.name) == getattr(other, part.name) for part in fields(self) if part.compare)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = ", ".join(f"{part.name}={getattr(self, part.name)!r}" for part in fields(self) if part.compare)
        return f"{type(self).__name__}({parts})"


# -------------------------------------------------------------------------------------------------------- expressions


@dataclass(slots=True, eq=False, repr=False)
class Expression(Syntax):
    pass


@dataclass(slots=True, eq=False, repr=False)
class Constant(Expression):
    """A number, string, truth value or none. `text` is how it was written."""

    value: int | float | str | bool | None
    text: str = field(compare=False)


@dataclass(slots=True, eq=False, repr=False)
class ShapeLiteral(Expression):
    """`3x224x224`; None stands for `?`."""

    extents: tuple[int | None, ...]


@dataclass(slots=True, eq=False, repr=False)
class UnknownLiteral(Expression):
    """`?`"""


@dataclass(slots=True, eq=False, repr=False)
class Name(Expression):
    name: str


@dataclass(slots=True, eq=False, repr=False)
class Tuple(Expression):
    items: tuple[Expression, ...]


@dataclass(slots=True, eq=False, repr=False)
class List(Expression):
    items: tuple[Expression, ...]


@dataclass(slots=True, eq=False, repr=False)
class Comprehension(Expression):
    item: Expression
    names: tuple[str, ...]
    iterable: Expression
    condition: Expression | None


@dataclass(slots=True, eq=False, repr=False)
class Parenthesis(Expression):
    inner: Expression


@dataclass(slots=True, eq=False, repr=False)
class Attribute(Expression):
    target: Expression
    name: str


@dataclass(slots=True, eq=False, repr=False)
class Index(Expression):
    target: Expression
    index: Expression


@dataclass(slots=True, eq=False, repr=False)
class Slice(Expression):
    target: Expression
    start: Expression | None
    stop: Expression | None


@dataclass(slots=True, eq=False, repr=False)
class Apply(Expression):
    """A call inside an expression: a function, or a layer or block with some of its arguments bound."""

    target: Expression
    arguments: tuple[Argument, ...]


@dataclass(slots=True, eq=False, repr=False)
class Unary(Expression):
    operator: str
    operand: Expression


@dataclass(slots=True, eq=False, repr=False)
class Binary(Expression):
    """Arithmetic, comparison, `in`, `not in`, `and`, `or`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(slots=True, eq=False, repr=False)
class Choice(Expression):
    """`then if condition else otherwise`"""

    then: Expression
    condition: Expression
    otherwise: Expression


@dataclass(slots=True, eq=False, repr=False)
class Argument(Syntax):
    name: str | None
    value: Expression


# --------------------------------------------------------------------------------------------------------- statements


@dataclass(slots=True, eq=False, repr=False)
class Statement(Syntax):
    pass


@dataclass(slots=True, eq=False, repr=False)
class Label(Syntax):
    """`layer{i + 1}:`. `parts` are literal text and expressions in turn."""

    parts: tuple[str | Expression, ...]


@dataclass(slots=True, eq=False, repr=False)
class Body(Syntax):
    """Statements between braces. `lanes` is set where the body holds lanes: each lane is the statements behind one
    "|", and `statements` are then those in front of the first lane."""

    statements: tuple[Statement, ...]
    lanes: tuple[Lane, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Lane(Syntax):
    statements: tuple[Statement, ...]


@dataclass(slots=True, eq=False, repr=False)
class Action(Syntax):
    pass


@dataclass(slots=True, eq=False, repr=False)
class Step(Syntax):
    label: Label | None
    action: Action


@dataclass(slots=True, eq=False, repr=False)
class Chain(Statement):
    """Steps joined by `->`."""

    links: tuple[Step | Input, ...]


@dataclass(slots=True, eq=False, repr=False)
class Call(Action):
    """A layer, a block, or whatever a parameter of that name holds. Without parentheses `arguments` is None."""

    name: str
    arguments: tuple[Argument, ...] | None


@dataclass(slots=True, eq=False, repr=False)
class Group(Action):
    body: Body


@dataclass(slots=True, eq=False, repr=False)
class If(Action):
    condition: Expression
    then: Body
    otherwise: Body | If | None


@dataclass(slots=True, eq=False, repr=False)
class For(Action):
    names: tuple[str, ...]
    iterable: Expression
    body: Body


@dataclass(slots=True, eq=False, repr=False)
class Repeat(Action):
    count: Expression
    name: str | None
    body: Body


@dataclass(slots=True, eq=False, repr=False)
class Join(Action):
    """`add { | ... | ... }`, `concat split 2 { | ... | ... }`"""

    name: str
    arguments: tuple[Argument, ...] | None
    split: Expression | None
    body: Body


@dataclass(slots=True, eq=False, repr=False)
class Residual(Action):
    condition: Expression | None
    body: Body


@dataclass(slots=True, eq=False, repr=False)
class From(Action):
    """Starts from a named tensor, `from layer1.0`, or from the value of an expression, `from (skips[i])`."""

    path: Label | None
    value: Expression | None


@dataclass(slots=True, eq=False, repr=False)
class Share(Action):
    """Runs a step or scope again with the same weights."""

    path: Label


@dataclass(slots=True, eq=False, repr=False)
class Input(Syntax):
    label: Label | None
    shape: Expression


@dataclass(slots=True, eq=False, repr=False)
class Let(Statement):
    names: tuple[str, ...]
    value: Expression


@dataclass(slots=True, eq=False, repr=False)
class Claim(Syntax):
    """One expectation: a comparison, a shape for `x`, or `left ~ right`."""

    left: Expression
    about: Expression | None


@dataclass(slots=True, eq=False, repr=False)
class Expect(Statement):
    claims: tuple[Claim, ...]


@dataclass(slots=True, eq=False, repr=False)
class Output(Statement):
    label: Label
    chain: Chain | None


@dataclass(slots=True, eq=False, repr=False)
class Auxiliary(Statement):
    label: Label
    chain: Chain


@dataclass(slots=True, eq=False, repr=False)
class Preprocess(Statement):
    calls: tuple[Call, ...]


@dataclass(slots=True, eq=False, repr=False)
class Variant(Statement):
    name: str
    arguments: tuple[Argument, ...]
    expect: Expect | None


# ------------------------------------------------------------------------------------------------------- declarations


@dataclass(slots=True, eq=False, repr=False)
class Parameter(Syntax):
    name: str
    default: Expression | None


@dataclass(slots=True, eq=False, repr=False)
class Declaration(Syntax):
    name: str


@dataclass(slots=True, eq=False, repr=False)
class Network(Declaration):
    parameters: tuple[Parameter, ...] | None
    body: Body

    def variants(self) -> tuple[Variant, ...]:
        return tuple(statement for statement in self.body.statements if isinstance(statement, Variant))


@dataclass(slots=True, eq=False, repr=False)
class Block(Declaration):
    parameters: tuple[Parameter, ...] | None
    body: Body


@dataclass(slots=True, eq=False, repr=False)
class Function(Declaration):
    parameters: tuple[Parameter, ...]
    value: Expression


@dataclass(slots=True, eq=False, repr=False)
class Const(Declaration):
    value: Expression


@dataclass(slots=True, eq=False, repr=False)
class Imported(Syntax):
    name: str
    alias: str | None


@dataclass(slots=True, eq=False, repr=False)
class Import(Declaration):
    """`from NAME import ...`; `name` is the module."""

    names: tuple[Imported, ...]


@dataclass(slots=True, eq=False, repr=False)
class Path(Expression):
    """A dotted name in a recipe, `layer4.0`."""

    path: str


@dataclass(slots=True, eq=False, repr=False)
class Entry(Syntax):
    """One line of a recipe: a keyword, then operands, with the punctuation that stood in front of each."""

    name: str
    operands: tuple[Call | Expression, ...]
    marks: tuple[str, ...]


@dataclass(slots=True, eq=False, repr=False)
class Phase(Syntax):
    name: str
    items: tuple[Entry | Phase, ...]


@dataclass(slots=True, eq=False, repr=False)
class Recipe(Declaration):
    network: str
    arguments: tuple[Argument, ...] | None
    items: tuple[Entry | Phase, ...]


# ------------------------------------------------------------------------------------------------------------- module


class Comment(NamedTuple):
    """A comment, its text from the "#" on. `own_line` is false for one that stands behind something."""

    offset: int
    text: str
    own_line: bool


@dataclass(frozen=True)
class Module:
    """One file."""

    source: Source
    declarations: tuple[Declaration, ...]
    comments: tuple[Comment, ...]

    def span(self, node: Syntax) -> Span:
        return Span(self.source, *node.at)

    def documentation(self, node: Declaration) -> str:
        """The comment block right above a declaration, without its marks; empty where there is none."""
        lines: list[str] = []
        line = self.source.position(node.at[0])[0]
        for comment in reversed(self.comments):
            if comment.offset >= node.at[0]:
                continue
            if not comment.own_line or self.source.position(comment.offset)[0] != line - 1:
                break
            line -= 1
            lines.append(comment.text[1:].removeprefix(" "))
        return "\n".join(reversed(lines)).strip()

    def find(self, name: str) -> Declaration | None:
        return next((node for node in self.declarations if node.name == name and not isinstance(node, Import)), None)
