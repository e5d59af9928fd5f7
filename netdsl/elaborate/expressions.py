"""Evaluation of expressions: Python's meaning, with bounds on the size of numbers and lists."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from netdsl.elaborate.bindings import bind, rebind
from netdsl.elaborate.context import Context, Flow, Scope
from netdsl.elaborate.functions import builtins
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.linked import LoadedModule
from netdsl.elaborate.values import (
    POISON,
    UNKNOWN,
    BlockValue,
    Bound,
    Builtin,
    FunctionValue,
    LayerValue,
    Partial,
    Poison,
    Tensor,
    Unknown,
    Value,
    show,
)
from netdsl.images import steps
from netdsl.ir import TensorType
from netdsl.language import syntax
from netdsl.language.diagnostics import SpecError, did_you_mean, fail
from netdsl.layers import vocabulary as layers
from netdsl.layers.vocabulary import LAYERS

QUANTITIES = (
    "params", "trainable", "auxiliary_params", "buffers", "macs", "flops", "connections", "layers",
)  # fmt: skip
"""What `expect` can ask of the whole network."""

TENSOR_ATTRIBUTES: dict[str, Callable[[TensorType], Any]] = {
    "channels": lambda type: type.channels,
    "height": lambda type: type.shape[-2] if type.rank >= 3 else _absent(type, "height"),
    "width": lambda type: type.shape[-1] if type.rank >= 3 else _absent(type, "width"),
    "length": lambda type: type.shape[-1] if type.rank == 2 else _absent(type, "length"),
    "shape": lambda type: type.shape,
    "rank": lambda type: type.rank,
    "elements": lambda type: type.elements,
}


def _absent(type: TensorType, name: str) -> Any:
    raise AttributeError(f"a tensor of shape {type} has no {name}")


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_JOINS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Evaluator:
    """Evaluates expressions in a context. `tensor` looks up a label of the body in hand."""

    def __init__(self, limits: Limits, tensor: Callable[[str, Context], Tensor | Poison | None]) -> None:
        self.limits = limits
        self.tensor = tensor
        self.quantities: Mapping[str, Value] = {}
        self._constants: dict[tuple[int, str], Value] = {}
        self._pending: list[tuple[int, str]] = []
        self.builtins = builtins(limits)
        self.work = 0
        self._calls: list[syntax.Function] = []
        self._dispatch: dict[type[syntax.Expression], Callable[[Any, Context], Value]] = {
            syntax.Constant: lambda node, context: node.value,
            syntax.ShapeLiteral: lambda node, context: node.extents,
            syntax.UnknownLiteral: lambda node, context: UNKNOWN,
            syntax.Name: self._name,
            syntax.Tuple: lambda node, context: self._items(node, context, tuple),
            syntax.List: lambda node, context: self._items(node, context, list),
            syntax.Comprehension: self._comprehension,
            syntax.Parenthesis: lambda node, context: self.evaluate(node.inner, context),
            syntax.Attribute: self._attribute,
            syntax.Index: self._index,
            syntax.Slice: self._slice,
            syntax.Apply: self._apply,
            syntax.Unary: self._unary,
            syntax.Binary: self._binary,
            syntax.Choice: self._choice,
        }

    def evaluate(self, node: syntax.Expression, context: Context) -> Value:
        """The value of an expression; POISON where it hangs on an error that has been reported. Raises SpecError."""
        return self._dispatch[type(node)](node, context)

    def whole(self, node: syntax.Expression, context: Context, what: str) -> int | Poison:
        """A whole number, not negative."""
        value = self.evaluate(node, context)
        if isinstance(value, Poison):
            return value
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error("E0207", f"{what} must be a whole number from 0 up, found {show(value)}", node, context)
        return value

    def truth(self, node: syntax.Expression, context: Context) -> bool | Poison:
        value = self.evaluate(node, context)
        if isinstance(value, Poison | bool):
            return value
        if isinstance(value, Unknown):
            raise self.open_extent(value, node, context)
        if isinstance(value, int | float | str | list | tuple) or value is None:
            return bool(value)
        raise self.error("E0207", f"a condition must be true or false, found {show(value)}", node, context)

    def error(
        self, code: str, message: str, node: syntax.Syntax, context: Context, help: str | None = None
    ) -> SpecError:
        return fail(code, message, context.module.syntax.span(node), help)

    def spend(self, amount: int, node: syntax.Syntax, context: Context) -> None:
        """Counts work, so that every spec ends."""
        self.work += amount
        if self.work > self.limits.steps:
            message = f"the spec takes more than {self.limits.steps:,} steps to expand"
            raise self.error("E0502", message, node, context, "the caller can raise the limit `steps`")

    # -------------------------------------------------------------------------------------------------------- names

    def local(self, name: str, context: Context) -> Value | None:
        """A parameter or let as a one-item tuple, None where there is none of this name."""
        place: Context | None = context
        while place is not None:
            if name in place.names:
                return (place.names[name],)
            place = place.outer
        return None

    def _name(self, node: syntax.Name, context: Context) -> Value:
        name = node.name
        found = self.local(name, context)
        if found is not None:
            return found[0]
        if name == "x" and context.flow.current is not None:
            return context.flow.current
        declared = self.declared(name, context.module)
        if declared is not None:
            return declared[0]
        tensor = self.tensor(name, context)
        if tensor is not None:
            return tensor
        if name in self.builtins:
            # Before the layers: in an expression `sqrt(2)` is a number. Where a layer is wanted, `sqrt` is the layer.
            return self.builtins[name]
        if name in LAYERS:
            return LayerValue(LAYERS[name])
        if name in self.quantities:
            return self.quantities[name]
        if name in self.words:
            return name
        if name == "x":
            raise self.error("E0212", "there is no tensor yet: `x` comes after the first `input`", node, context)
        raise self.unknown(name, node, context)

    @cached_property
    def words(self) -> frozenset[str]:
        """Option words, which need no quotes: `padding = same`."""
        return layers.option_words() | steps.option_words()

    def declared(self, name: str, module: LoadedModule) -> tuple[Value] | None:
        """The value of a declaration of a file, in a tuple; None where there is none of this name."""
        found = module.declarations.get(name)
        if found is None:
            return None
        declaration, home = found
        if isinstance(declaration, syntax.Block):
            return (BlockValue(declaration, home),)
        if isinstance(declaration, syntax.Function):
            return (FunctionValue(declaration, home),)
        if isinstance(declaration, syntax.Const):
            return (self._constant(declaration, home),)
        return None

    def _constant(self, declaration: syntax.Const, home: LoadedModule) -> Value:
        """The value of a constant, evaluated when it is first asked for."""
        key = (id(home), declaration.name)
        if key not in self._constants:
            if key in self._pending:
                chain = " -> ".join([*(name for _, name in self._pending), declaration.name])
                message = f"the constant `{declaration.name}` depends on itself: {chain}"
                raise fail("E0209", message, home.syntax.span(declaration))
            self._pending.append(key)
            try:
                place = Context(home, {}, Flow(None), Scope(""))
                self._constants[key] = self.evaluate(declaration.value, place)
            finally:
                self._pending.pop()
        return self._constants[key]

    def names(self, context: Context) -> set[str]:
        """Every name that means something here, for suggestions."""
        known = set(LAYERS) | set(self.builtins) | set(context.module.names())
        place: Context | None = context
        while place is not None:
            known |= set(place.names)
            place = place.outer
        return known

    def unknown(self, name: str, node: syntax.Syntax, context: Context) -> SpecError:
        known = self.names(context)
        help = did_you_mean(name, known | self.words | {"true", "false", "none"})
        if name in QUANTITIES:
            help = f"`{name}` is a quantity of the whole network and stands in `expect` only"
        return self.error("E0201", f"unknown name `{name}`", node, context, help)

    # -------------------------------------------------------------------------------------------------- collections

    def _items(self, node: syntax.Tuple | syntax.List, context: Context, kind: type[Any]) -> Value:
        values = [self.evaluate(item, context) for item in node.items]
        return POISON if any(value is POISON for value in values) else kind(values)

    def iterate(self, node: syntax.Expression, context: Context) -> list[Value] | tuple[Value, ...] | Poison:
        """The items to loop over."""
        value = self.evaluate(node, context)
        if isinstance(value, Poison):
            return value
        if not isinstance(value, list | tuple):
            help = f"write `range({show(value)})`" if isinstance(value, int) else None
            raise self.error("E0207", f"a loop runs over a list, found {show(value)}", node, context, help)
        self.spend(len(value), node, context)
        return value

    def unpack(self, names: tuple[str, ...], value: Value, node: syntax.Syntax, context: Context) -> dict[str, Value]:
        """Names bound to the parts of a value."""
        if len(names) == 1:
            return {names[0]: value}
        if isinstance(value, Poison):
            return dict.fromkeys(names, value)
        if not isinstance(value, list | tuple) or len(value) != len(names):
            size = f"{len(value)} values" if isinstance(value, list | tuple) else show(value)
            message = f"{len(names)} names ({', '.join(names)}) take {len(names)} values, found {size}"
            raise self.error("E0207", message, node, context)
        return dict(zip(names, value, strict=True))

    def _comprehension(self, node: syntax.Comprehension, context: Context) -> Value:
        items = self.iterate(node.iterable, context)
        if isinstance(items, Poison):
            return items
        values: list[Value] = []
        for item in items:
            inner = context.inner(self.unpack(node.names, item, node.iterable, context))
            if node.condition is not None:
                keep = self.truth(node.condition, inner)
                if isinstance(keep, Poison):
                    return keep
                if not keep:
                    continue
            values.append(self.evaluate(node.item, inner))
        return POISON if any(value is POISON for value in values) else values

    def _index(self, node: syntax.Index, context: Context) -> Value:
        target = self.evaluate(node.target, context)
        index = self.evaluate(node.index, context)
        if isinstance(target, Poison) or isinstance(index, Poison):
            return POISON
        if not isinstance(target, list | tuple | str):
            raise self.error("E0207", f"only a list can be indexed, found {show(target)}", node, context)
        if not isinstance(index, int) or isinstance(index, bool):
            raise self.error("E0207", f"an index is a whole number, found {show(index)}", node.index, context)
        if not -len(target) <= index < len(target):
            message = f"index {index} is out of range: the list has {len(target)} items, 0 to {len(target) - 1}"
            raise self.error("E0207", message, node, context)
        value = target[index]
        # Inside a shape None is an extent that is not known.
        return UNKNOWN if value is None and isinstance(node.target, syntax.Attribute) else value

    def _slice(self, node: syntax.Slice, context: Context) -> Value:
        parts = [node.target, node.start, node.stop]
        target, start, stop = (None if part is None else self.evaluate(part, context) for part in parts)
        if any(isinstance(part, Poison) for part in (target, start, stop)):
            return POISON
        if not isinstance(target, list | tuple | str):
            raise self.error("E0207", f"only a list can be sliced, found {show(target)}", node, context)
        for bound in (start, stop):
            if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool)):
                raise self.error("E0207", f"a slice is bounded by whole numbers, found {show(bound)}", node, context)
        return target[start:stop]

    # ---------------------------------------------------------------------------------------------------- operators

    def _attribute(self, node: syntax.Attribute, context: Context) -> Value:
        target = self.evaluate(node.target, context)
        if isinstance(target, Poison):
            return target
        if not isinstance(target, Tensor):
            message = f"only tensors have attributes, found {show(target)}"
            raise self.error("E0207", message, node.target, context)
        read = TENSOR_ATTRIBUTES.get(node.name)
        if read is None:
            help = did_you_mean(node.name, TENSOR_ATTRIBUTES) or "a tensor has " + ", ".join(TENSOR_ATTRIBUTES)
            raise self.error("E0202", f"a tensor has no `{node.name}`", node, context, help)
        try:
            value = read(target.type)
        except AttributeError as error:
            raise self.error("E0207", str(error), node, context) from None
        return Unknown(context.module.syntax.span(node).text) if value is None else value

    def _unary(self, node: syntax.Unary, context: Context) -> Value:
        if node.operator == "not":
            truth = self.truth(node.operand, context)
            return truth if isinstance(truth, Poison) else not truth
        value = self.evaluate(node.operand, context)
        if isinstance(value, Poison):
            return value
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._operands(node, f"`{node.operator}` takes a number", [value], context)
        return -value if node.operator == "-" else value

    def _choice(self, node: syntax.Choice, context: Context) -> Value:
        truth = self.truth(node.condition, context)
        if isinstance(truth, Poison):
            return truth
        return self.evaluate(node.then if truth else node.otherwise, context)

    def _binary(self, node: syntax.Binary, context: Context) -> Value:
        # A sum of many terms leans to the left: walk down it in a loop, not by recursion.
        pending = [node]
        left = node.left
        while isinstance(left, syntax.Binary) and left.operator not in {"and", "or"}:
            if pending[-1].operator in {"and", "or"}:
                break
            pending.append(left)
            left = left.left
        value = self._first(pending.pop(), context)
        while pending:
            step = pending.pop()
            value = self._combine(step, value, self.evaluate(step.right, context), context)
        return value

    def _first(self, node: syntax.Binary, context: Context) -> Value:
        if node.operator in {"and", "or"}:
            left = self.truth(node.left, context)
            if isinstance(left, Poison) or left == (node.operator == "or"):
                return left
            return self.truth(node.right, context)
        return self._combine(node, self.evaluate(node.left, context), self.evaluate(node.right, context), context)

    def _combine(self, node: syntax.Binary, left: Value, right: Value, context: Context) -> Value:
        sign = node.operator
        if isinstance(left, Poison) or isinstance(right, Poison):
            return POISON
        if sign in {"==", "!="} and isinstance(left, Unknown) == isinstance(right, Unknown):
            same = self._plain(left, node, context) == self._plain(right, node, context)
            return same == (sign == "==")
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            raise self.open_extent(left if isinstance(left, Unknown) else right, node, context)
        try:
            if sign in {"in", "not in"}:
                return (left in right) == (sign == "in")
            if sign in COMPARISONS:
                return COMPARISONS[sign](left, right)
            self._bound(node, left, right, context)
            value = _ARITHMETIC[sign](left, right)
        except ZeroDivisionError:
            raise self.error("E0207", f"division by zero: {show(left)} {sign} {show(right)}", node, context) from None
        except (TypeError, ValueError):
            help = None
            if sign in _JOINS and isinstance(left, Tensor) and isinstance(right, Tensor):
                help = f"tensors are joined by layers: `{_JOINS[sign]}(a, b)`"
            raise self._operands(node, f"`{sign}` does not take these", [left, right], context, help) from None
        except OverflowError:
            raise self.error("E0503", f"{show(left)} {sign} {show(right)} is too large", node, context) from None
        if isinstance(value, complex):
            raise self._operands(node, f"`{sign}` does not take these", [left, right], context)
        return self._checked(value, node, context)

    def _operands(
        self, node: syntax.Syntax, message: str, values: list[Value], context: Context, help: str | None = None
    ) -> SpecError:
        found = " and ".join(show(value) for value in values)
        return self.error("E0207", f"{message}: found {found}", node, context, help)

    def _bound(self, node: syntax.Binary, left: Value, right: Value, context: Context) -> None:
        """Refuses what would be too large before it is computed."""
        sign = node.operator
        if sign == "**" and isinstance(left, int) and isinstance(right, int) and right > 0:
            if abs(left).bit_length() * right > 2 * self.limits.number.bit_length():
                message = f"{show(left)} ** {show(right)} is larger than {self.limits.number:,}"
                raise self.error("E0503", message, node, context)
        elif sign == "*":
            for sequence, count in ((left, right), (right, left)):
                if isinstance(sequence, list | tuple | str) and isinstance(count, int):
                    self._length(len(sequence) * max(count, 0), node, context)
        elif sign == "+" and isinstance(left, list | tuple | str) and isinstance(right, list | tuple | str):
            self._length(len(left) + len(right), node, context)
        elif sign == "%" and isinstance(left, str):
            raise TypeError

    def _length(self, length: int, node: syntax.Syntax, context: Context) -> None:
        if length > self.limits.items:
            message = f"a list of {length:,} items: at most {self.limits.items:,}"
            raise self.error("E0504", message, node, context, "the caller can raise the limit `items`")
        self.spend(length, node, context)

    def _checked(self, value: Value, node: syntax.Syntax, context: Context) -> Value:
        if isinstance(value, int) and abs(value) > self.limits.number:
            raise self.error("E0503", f"the number is larger than {self.limits.number:,}", node, context)
        return value

    def _plain(self, value: Value, node: syntax.Syntax, context: Context) -> Value:
        """A value as it is compared: a tensor by its shape, lists and tuples alike."""
        if isinstance(value, Tensor):
            return value.type.shape
        if isinstance(value, list | tuple):
            return self.frozen(value, node, context)
        return value

    def open_extent(self, value: Unknown, node: syntax.Syntax, context: Context) -> SpecError:
        """What is said where something hangs on an extent that is not known yet."""
        message = f"`{value.of or '?'}` is only known when the network runs"
        return self.error("E0210", message, node, context, "give the input a fixed size, with `--shape` for example")

    def frozen(self, value: Value, node: syntax.Syntax, context: Context) -> Value:
        """Lists as tuples, all the way down. What is shared inside counts each time that it is met."""
        budget = self.limits.items

        def freeze(item: Value) -> Value:
            nonlocal budget
            budget -= 1
            if budget < 0:
                message = f"a nested list of more than {self.limits.items:,} items"
                raise self.error("E0504", message, node, context, "the caller can raise the limit `items`")
            if type(item) in (list, tuple):
                return tuple(freeze(part) for part in item)
            if isinstance(item, Unknown):
                if item.of:
                    raise self.open_extent(item, node, context)
                return None
            return item

        return freeze(value)

    # -------------------------------------------------------------------------------------------------------- calls

    def arguments(
        self, nodes: tuple[syntax.Argument, ...], context: Context, model: type[BaseModel] | None = None
    ) -> tuple[Bound, ...]:
        """The values of arguments. A word that the attribute of `model` takes stands for itself, whatever else has that
        name: with a `let channels` in sight, `axis = channels` is still the axis."""
        if model is None:
            return tuple([Bound(node.name, self.evaluate(node.value, context), node) for node in nodes])
        words = layers.option_words_of(model)
        positional: tuple[str, ...] = getattr(model, "positional", ())
        found: list[Bound] = []
        for place, node in enumerate(nodes):
            value = node.value
            attribute = node.name or (positional[place] if place < len(positional) else "")
            if isinstance(value, syntax.Name) and value.name in words.get(attribute, ()):
                found.append(Bound(node.name, value.name, node))
            else:
                found.append(Bound(node.name, self.evaluate(value, context), node))
        return tuple(found)

    def _apply(self, node: syntax.Apply, context: Context) -> Value:
        target = self.evaluate(node.target, context)
        arguments = self.arguments(node.arguments, context)
        if isinstance(target, Poison) or any(isinstance(bound.value, Poison) for bound in arguments):
            return POISON
        if isinstance(target, BlockValue | LayerValue):
            return Partial(target, arguments)
        if isinstance(target, Partial):
            return Partial(target.target, rebind(target.target, target.arguments, arguments))
        if isinstance(target, FunctionValue):
            return self._function(target, arguments, node, context)
        if isinstance(target, Builtin):
            return self._builtin(target, arguments, node, context)
        raise self.error("E0208", f"{show(target)} cannot be called", node, context)

    def _function(
        self, function: FunctionValue, arguments: tuple[Bound, ...], node: syntax.Apply, context: Context
    ) -> Value:
        declaration = function.declaration
        if any(active is declaration for active in self._calls):
            raise self.error("E0209", f"`{function.name}` calls itself", node, context, "functions may not recurse")
        if len(self._calls) >= self.limits.depth:
            raise self.error("E0505", f"calls are nested deeper than {self.limits.depth}", node, context)
        self.spend(1, node, context)
        inner = Context(function.module, {}, Flow(None), Scope(""))
        self._calls.append(declaration)
        try:
            inner.names = bind(declaration.name, declaration.parameters, arguments, node, context, inner, self.evaluate)
            return self.evaluate(declaration.value, inner)
        finally:
            self._calls.pop()

    def _named_tensor(self, path: Value, node: syntax.Apply, context: Context) -> Value:
        """`tensor("layer" + str(i))`: the tensor of that name, where the name is computed."""
        found = self.tensor(path, context) if isinstance(path, str) else None
        if found is None:
            raise self.error("E0211", f"there is no tensor called {show(path)} yet", node, context)
        return found

    def _builtin(self, function: Builtin, arguments: tuple[Bound, ...], node: syntax.Apply, context: Context) -> Value:
        self.spend(1, node, context)
        if any(isinstance(bound.value, Unknown) for bound in arguments):
            value = next(bound.value for bound in arguments if isinstance(bound.value, Unknown))
            raise self.open_extent(value, node, context)
        positional = [bound.value for bound in arguments if bound.name is None]
        named = {bound.name: bound.value for bound in arguments if bound.name is not None}
        shown = ", ".join(show(bound.value) for bound in arguments)
        wrong = function.misfit(len(positional), named)
        if wrong is not None:
            raise self.error("E0206", f"`{function.name}` {wrong}", node, context)
        if function.name == "tensor":
            return self._named_tensor(positional[0], node, context)
        try:
            value = function.call(*positional, **named)
        except OverflowError:
            message = f"`{function.name}({shown})` is larger than the limits allow"
            raise self.error("E0504", message, node, context) from None
        except (TypeError, ValueError, ArithmeticError) as error:
            message = f"`{function.name}` does not take ({shown}): {error}"
            raise self.error("E0207", message, node, context) from None
        return self._checked(value, node, context)
