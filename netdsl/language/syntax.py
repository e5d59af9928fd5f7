"""The syntax tree: what a `.net` file says, before anything is known about what it means.

Every node carries `at`, the offsets of its first character and of the one behind its last; equality ignores it, so two
trees are equal when they say the same. Comments are kept beside the tree, by offset.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from netdsl.language.source import Source, Span

At = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Syntax:
    at: At = field(compare=False)


# -------------------------------------------------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True)
class Expression(Syntax):
    pass


@dataclass(frozen=True, slots=True)
class Constant(Expression):
    """A number, string, truth value or none. `text` is how it was written."""

    value: int | float | str | bool | None
    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class ShapeLiteral(Expression):
    """`3x224x224`; None stands for `?`."""

    extents: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class UnknownLiteral(Expression):
    """`?`"""


@dataclass(frozen=True, slots=True)
class Name(Expression):
    name: str


@dataclass(frozen=True, slots=True)
class Tuple(Expression):
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class List(Expression):
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Comprehension(Expression):
    item: Expression
    names: tuple[str, ...]
    iterable: Expression
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class Parenthesis(Expression):
    inner: Expression


@dataclass(frozen=True, slots=True)
class Attribute(Expression):
    target: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Index(Expression):
    target: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Slice(Expression):
    target: Expression
    start: Expression | None
    stop: Expression | None


@dataclass(frozen=True, slots=True)
class Apply(Expression):
    """A call inside an expression: a function, or a layer or block with some of its arguments bound."""

    target: Expression
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Unary(Expression):
    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """Arithmetic, comparison, `in`, `not in`, `and`, `or`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Choice(Expression):
    """`then if condition else otherwise`"""

    then: Expression
    condition: Expression
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class Argument(Syntax):
    name: str | None
    value: Expression


# --------------------------------------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True)
class Statement(Syntax):
    pass


@dataclass(frozen=True, slots=True)
class Label(Syntax):
    """`layer{i + 1}:`. `parts` are literal text and expressions in turn."""

    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class Body(Syntax):
    """Statements between braces. `lanes` is set where the body holds lanes: each lane is the statements behind one
    "|", and `statements` are then those in front of the first lane."""

    statements: tuple[Statement, ...]
    lanes: tuple[Lane, ...] = ()


@dataclass(frozen=True, slots=True)
class Lane(Syntax):
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Action(Syntax):
    pass


@dataclass(frozen=True, slots=True)
class Step(Syntax):
    label: Label | None
    action: Action


@dataclass(frozen=True, slots=True)
class Chain(Statement):
    """Steps joined by `->`."""

    links: tuple[Step | Input, ...]


@dataclass(frozen=True, slots=True)
class Call(Action):
    """A layer, a block, or whatever a parameter of that name holds. Without parentheses `arguments` is None."""

    name: str
    arguments: tuple[Argument, ...] | None


@dataclass(frozen=True, slots=True)
class Group(Action):
    body: Body


@dataclass(frozen=True, slots=True)
class If(Action):
    condition: Expression
    then: Body
    otherwise: Body | If | None


@dataclass(frozen=True, slots=True)
class For(Action):
    names: tuple[str, ...]
    iterable: Expression
    body: Body


@dataclass(frozen=True, slots=True)
class Repeat(Action):
    count: Expression
    name: str | None
    body: Body


@dataclass(frozen=True, slots=True)
class Join(Action):
    """`add { | ... | ... }`, `concat split 2 { | ... | ... }`"""

    name: str
    arguments: tuple[Argument, ...] | None
    split: Expression | None
    body: Body


@dataclass(frozen=True, slots=True)
class Residual(Action):
    condition: Expression | None
    body: Body


@dataclass(frozen=True, slots=True)
class From(Action):
    """Starts from a named tensor, `from layer1.0`, or from the value of an expression, `from (skips[i])`."""

    path: Label | None
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Share(Action):
    """Runs a step or scope again with the same weights."""

    path: Label


@dataclass(frozen=True, slots=True)
class Input(Syntax):
    label: Label | None
    shape: Expression


@dataclass(frozen=True, slots=True)
class Let(Statement):
    names: tuple[str, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Claim(Syntax):
    """One expectation: a comparison, a shape for `x`, or `left ~ right`."""

    left: Expression
    about: Expression | None


@dataclass(frozen=True, slots=True)
class Expect(Statement):
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Output(Statement):
    label: Label
    chain: Chain | None


@dataclass(frozen=True, slots=True)
class Auxiliary(Statement):
    label: Label
    chain: Chain


@dataclass(frozen=True, slots=True)
class Preprocess(Statement):
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Variant(Statement):
    name: str
    arguments: tuple[Argument, ...]
    expect: Expect | None


# ------------------------------------------------------------------------------------------------------- declarations


@dataclass(frozen=True, slots=True)
class Parameter(Syntax):
    name: str
    default: Expression | None


@dataclass(frozen=True, slots=True)
class Declaration(Syntax):
    name: str


@dataclass(frozen=True, slots=True)
class Network(Declaration):
    parameters: tuple[Parameter, ...] | None
    body: Body

    def variants(self) -> tuple[Variant, ...]:
        return tuple(statement for statement in self.body.statements if isinstance(statement, Variant))


@dataclass(frozen=True, slots=True)
class Block(Declaration):
    parameters: tuple[Parameter, ...] | None
    body: Body


@dataclass(frozen=True, slots=True)
class Function(Declaration):
    parameters: tuple[Parameter, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Const(Declaration):
    value: Expression


@dataclass(frozen=True, slots=True)
class Imported(Syntax):
    name: str
    alias: str | None


@dataclass(frozen=True, slots=True)
class Import(Declaration):
    """`from NAME import ...`; `name` is the module."""

    names: tuple[Imported, ...]


@dataclass(frozen=True, slots=True)
class Path(Expression):
    """A dotted name in a recipe, `layer4.0`."""

    path: str


@dataclass(frozen=True, slots=True)
class Entry(Syntax):
    """One line of a recipe: a keyword, then operands, with the punctuation that stood in front of each."""

    name: str
    operands: tuple[Call | Expression, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phase(Syntax):
    name: str
    items: tuple[Entry | Phase, ...]


@dataclass(frozen=True, slots=True)
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
