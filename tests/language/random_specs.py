"""Random specs, laid out at random: every rule of the grammar, with blanks, newlines and comments wherever they may be."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Draw = st.DrawFn

# Random specs are large for Hypothesis, and explaining a failure takes longer than shrinking it.
relaxed = settings(
    suppress_health_check=list(HealthCheck),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)

NAMES = ["x", "conv", "relu", "stride", "enc1", "width", "a_b", "layer", "T"]
NUMBERS = ["0", "3", "1_000", "0.5", "1e-3", "2.", "4.1G", "20%", "61_706", "3.5M"]
SHAPES = ["3x3", "1x32x32", "3x?x?", "?x7"]
STRINGS = ['"a"', "'b c'", '"# no comment"', "'it\\'s'", '"{}"', '"\\\\"']
BINARY = ["+", "-", "*", "/", "//", "%", "**"]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">=", "in", "not in"]

# Inside brackets a newline is a blank.
LOOSE = ["", "", "", " ", "  ", "\n", "\n\n\n", " # why\n", "\n  # own line\n", "# a\n# b\n\n", "\t", "\r\n"]
TIGHT = ["", "", " ", "  ", "\t"]


class Page:
    """Draws text; `depth` bounds how deep it goes on."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.brackets = 0

    def one(self, choices: list[str]) -> str:
        return self.draw(st.sampled_from(choices))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def count(self, most: int, least: int = 0) -> int:
        return self.draw(st.integers(least, most))

    def blank(self) -> str:
        return self.one(LOOSE if self.brackets else TIGHT)

    def space(self) -> str:
        return " " + self.blank()

    # expressions

    def expression(self, depth: int) -> str:
        text = self.operation(depth)
        if depth > 0 and self.count(7) == 0:
            text += f"{self.space()}if {self.operation(depth - 1)}{self.space()}else{self.space()}{self.expression(depth - 1)}"
        return text

    def operation(self, depth: int) -> str:
        parts = [self.comparison(depth)]
        while depth > 0 and self.count(5) == 0:
            parts.append(f"{self.space()}{self.one(['and', 'or'])} {self.comparison(depth - 1)}")
        return "".join(parts)

    def comparison(self, depth: int) -> str:
        text = ("not " if self.count(9) == 0 else "") + self.sum(depth)
        while depth > 0 and self.count(5) == 0:
            text += f"{self.space()}{self.one(COMPARISONS)}{self.space()}{self.sum(depth - 1)}"
        return text

    def sum(self, depth: int) -> str:
        text = self.operand(depth)
        while depth > 0 and self.count(3) == 0:
            text += f"{self.space()}{self.one(BINARY)}{self.space()}{self.operand(depth - 1)}"
        return text

    def operand(self, depth: int) -> str:
        sign = self.one(["", "", "", "-", "+", "--"])
        kind = self.count(9)
        if kind < 2 or depth <= 0:
            return sign + self.one([*NUMBERS, *SHAPES, "?", "true", "false", "none", *NAMES])
        if kind < 3:
            return self.strings()
        return (
            sign + self.one(NAMES) + "".join(self.suffix(depth) for _ in range(self.count(2)))
            if kind < 7
            else self.bracket(depth)
        )

    def strings(self) -> str:
        return self.space().join(self.one(STRINGS) for _ in range(self.count(3, 1)))

    def suffix(self, depth: int) -> str:
        kind = self.count(3)
        if kind == 0:
            return f".{self.one(NAMES)}"
        if kind == 1:
            return self.arguments(depth - 1)
        self.brackets += 1
        inner = self.blank() + self.expression(depth - 1) + self.blank()
        if kind == 2:
            inner = self.one([f"{inner}:", f":{inner}", f"{inner}:{self.expression(depth - 1)}", ":"])
        self.brackets -= 1
        return f"[{inner}]"

    def bracket(self, depth: int) -> str:
        kind = self.count(4)
        self.brackets += 1
        if kind == 0:
            text = f"({self.blank()}{self.expression(depth - 1)}{self.blank()})"
        elif kind == 1:
            condition = f"{self.space()}if {self.expression(depth - 1)}" if self.flag() else ""
            loop = f"for {self.names()} in {self.operation(depth - 1)}"
            text = f"[{self.blank()}{self.expression(depth - 1)}{self.space()}{loop}{condition}{self.blank()}]"
        elif kind == 2:
            items = [self.expression(depth - 1) for _ in range(self.count(4))]
            text = f"({self.listed(items, lone=True)})"
        else:
            text = f"[{self.listed([self.expression(depth - 1) for _ in range(self.count(6))])}]"
        self.brackets -= 1
        return text

    def listed(self, items: list[str], lone: bool = False) -> str:
        """Items with commas; a lone item of a tuple needs one."""
        text = ""
        for index, item in enumerate(items):
            comma = index < len(items) - 1 or (lone and len(items) == 1) or self.count(3) == 0
            text += self.blank() + item + self.blank() + ("," if comma else "")
        return text + self.blank()

    def names(self) -> str:
        return ", ".join(self.one(NAMES) for _ in range(self.count(3, 1)))

    def arguments(self, depth: int) -> str:
        self.brackets += 1
        items = []
        for _ in range(self.count(5)):
            name = f"{self.one(NAMES)}{self.blank()}={self.blank()}" if self.flag() else ""
            items.append(name + self.expression(depth))
        text = f"({self.listed(items)})"
        self.brackets -= 1
        return text

    def parameters(self) -> str:
        if self.count(4) == 0:
            return ""
        self.brackets += 1
        items = [self.one(NAMES) + (f" = {self.expression(1)}" if self.flag() else "") for _ in range(self.count(5))]
        text = f"({self.listed(items)})"
        self.brackets -= 1
        return text

    # statements

    def label(self) -> str:
        brackets, self.brackets = self.brackets, 0
        text = (
            self.one(["fc", "layer1", "0", "a-b", f"l{{{self.one(NAMES)} + 1}}", "{i}-{j}", "b{x[0]}"])
            + self.one(["", " "])
            + ":"
        )
        self.brackets = brackets
        return text

    def after_label(self) -> str:
        return self.one(["", " ", " ", "\n", " # of a label\n", "\n\n# own\n"])

    def path(self) -> str:
        return self.one(["enc1", "layer1.0", "a{i}.b-c", "x"])

    def step(self, depth: int) -> str:
        label = self.label() + self.after_label() if self.count(3) == 0 else ""
        return label + self.action(depth)

    def action(self, depth: int) -> str:
        kind = self.count(20) if depth > 0 else 0
        if kind <= 8:
            return self.one(NAMES) + (self.arguments(1) if self.flag() else "")
        condition = self.expression(1)
        match kind:
            case 9:
                return self.body(depth - 1)
            case 10 | 11:
                text = f"if {condition} {self.body(depth - 1)}"
                while self.count(2) == 0:
                    text += f"{self.before_word()}else if {self.expression(1)} {self.body(depth - 1)}"
                return text + (f"{self.before_word()}else {self.body(depth - 1)}" if self.flag() else "")
            case 12 | 13:
                return f"for {self.names()} in {condition} {self.body(depth - 1)}"
            case 14:
                return f"repeat {condition}{self.one(['', ' as j'])} {self.body(depth - 1)}"
            case 15 | 16 | 17:
                split = f" split {self.expression(1)}" if self.count(3) == 0 else ""
                arguments = self.arguments(1) if self.count(3) == 0 else ""
                return f"{self.one(['add', 'concat'])}{arguments}{split} {self.body(depth - 1, lanes=True)}"
            case 18:
                return f"residual {'if ' + condition + ' ' if self.flag() else ''}{self.body(depth - 1)}"
            case 19:
                return f"share {self.path()}"
            case _:
                if self.flag():
                    return f"from {self.path()}"
                self.brackets += 1
                text = f"from ({self.blank()}{self.expression(1)}{self.blank()})"
                self.brackets -= 1
                return text

    def before_word(self) -> str:
        return self.one([" ", " ", "\n", "\n\n", " # c\n  ", "\n# own\n"])

    def arrow(self) -> str:
        return f"{self.before_word()}->{self.one([' ', ' ', chr(10), ' # d' + chr(10)])}"

    def chain(self, depth: int) -> str:
        links = [f"input {self.one(['', 'image: '])}{self.expression(1)}" if self.count(9) == 0 else self.step(depth)]
        links += [self.step(depth) for _ in range(self.count(3))]
        text = links[0]
        for link in links[1:]:
            text += self.arrow() + link
        return text

    def expect(self) -> str:
        claims = [
            self.expression(1) + (f" ~ {self.expression(1)}" if self.flag() else "") for _ in range(self.count(3, 1))
        ]
        return f"expect{self.one([' ', chr(10)])}" + self.one([", ", ",\n", ", # c\n"]).join(claims)

    def statement(self, depth: int) -> str:
        match self.count(14):
            case 0:
                return f"let {self.names()} = {self.expression(2)}"
            case 1:
                return self.expect()
            case 2:
                return f"output {self.label()} {self.chain(depth)}"
            case 3:
                return f"auxiliary {self.label()}{self.after_label()}{self.chain(depth)}"
            case 4 | 5:
                return f"variant {self.one(NAMES)}{self.arguments(1)}" + (" " + self.expect() if self.flag() else "")
            case 6:
                calls = [self.one(NAMES) + self.arguments(1) for _ in range(self.count(3, 1))]
                return "preprocess " + self.arrow().join(calls)
            case 7:
                return f"output {self.label()};"
            case _:
                return self.chain(depth)

    def separator(self) -> str:
        return self.one(["\n", "\n", "\n", "\n\n\n", "; ", ";\n", " # c\n", "\n  # own\n", "\n\n# a\n# b\n", "\r\n"])

    def statements(self, depth: int, most: int) -> str:
        return self.separator().join(self.statement(depth) for _ in range(self.count(most)))

    def body(self, depth: int, lanes: bool = False) -> str:
        if self.count(3) == 0:
            inner = "; ".join(self.step(depth) for _ in range(self.count(2)))
            return "{ " + (f"| {inner} |" if lanes else inner) + " }"
        text = "{" + self.one(["", " ", "\n", " # opens\n", "\n\n# own\n"]) + self.statements(depth, 3)
        if lanes:
            for _ in range(self.count(3)):
                text += (
                    self.separator() + "|" + self.one([" ", "\n", " # lane\n", "\n# own\n"]) + self.statements(depth, 2)
                )
        return text + self.one([" ", "\n", " # closes\n", "\n# own\n"]) + "}"

    # declarations

    def declaration(self) -> str:
        match self.count(7):
            case 0:
                return f"fn {self.one(NAMES)}{self.parameters() or '()'} = {self.expression(2)}"
            case 1:
                return f"const {self.one(NAMES)} = {self.expression(3)}"
            case 2:
                names = [self.one(NAMES) + self.one(["", " as other"]) for _ in range(self.count(4, 1))]
                return f"from common import {self.one([', ', ',' + chr(10)]).join(names)}"
            case 3:
                return f"recipe pets for resnet50{self.one(['', '(classes = 37)'])} {self.recipe_body(2)}"
            case 4:
                return f"block {self.one(NAMES)}{self.parameters()} {self.body(1)}"
            case _:
                return f"network {self.one(NAMES)}{self.parameters()} {self.body(2)}"

    def recipe_body(self, depth: int) -> str:
        parts = []
        for _ in range(self.count(4)):
            if depth > 0 and self.count(3) == 0:
                parts.append(f"phase tune {self.recipe_body(depth - 1)}")
            else:
                operands = [
                    self.one(["fc", "sgd(lr = 0.01)", "layer4.0", "64", "20%", '"a.b"', "224x224", "true"])
                    for _ in range(self.count(3, 1))
                ]
                parts.append(
                    self.one(["data", "epochs", "freeze"])
                    + "  "
                    + self.one([" ", ", ", " -> ", " ->\n"]).join(operands)
                )
        return "{" + self.one([" ", "\n"]) + self.separator().join(parts) + self.one([" ", "\n"]) + "}"

    def module(self) -> str:
        text = self.one(["", "# story\n", "\n\n# story\n# more\n\n"])
        for _ in range(self.count(2)):
            text += (
                self.one(["", "# documentation\n", "\n\n\n"])
                + self.declaration()
                + self.one(["\n", "\n\n\n", " # end\n", " ; "])
            )
        return text


@st.composite
def modules(draw: Draw) -> str:
    return Page(draw).module()


@st.composite
def expressions(draw: Draw) -> str:
    return Page(draw).expression(4)
