"""Elaboration: a network of the syntax tree becomes a graph of typed layers.

Statements are executed from top to bottom with the current tensor in hand. A statement that fails leaves POISON behind
instead of a tensor: it is reported once, what follows from it is not, and everything else is still checked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netdsl.collector import paused_collector
from netdsl.elaborate.assembly import Assembly
from netdsl.elaborate.bindings import bind, merge, rebind
from netdsl.elaborate.context import Context, Flow, Scope
from netdsl.elaborate.expectations import Expectations
from netdsl.elaborate.interface import Interface, Overrides
from netdsl.elaborate.joins import Joins
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.linked import LoadedModule
from netdsl.elaborate.places import head
from netdsl.elaborate.reporter import TooManyError
from netdsl.elaborate.sharing import Sharing
from netdsl.elaborate.values import (
    POISON,
    BlockValue,
    Bound,
    Partial,
    Poison,
    Tensor,
    Value,
    model_of,
    show,
)
from netdsl.ir import Call, Layer, Network
from netdsl.language import syntax
from netdsl.language.diagnostics import SpecError, did_you_mean, fail
from netdsl.layers.vocabulary import LAYERS

# Statements beside the flow: what goes wrong in them does not touch the current tensor.
_BESIDE = {syntax.Let, syntax.Expect, syntax.Preprocess, syntax.Variant}


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Nesting is bounded by limits of ours, which are beyond Python's default."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 20_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def elaborate(
    module: LoadedModule,
    declaration: syntax.Network,
    variant: syntax.Variant | None,
    overrides: Overrides,
    limits: Limits,
) -> Network:
    """The checked network of a declaration. Raises SpecError with everything that is wrong with it."""
    with _deep_recursion(), paused_collector():
        return Elaborator(module, limits, overrides).network(declaration, variant)


class Elaborator(Assembly):
    """Executes the statements of one network."""

    def __init__(self, module: LoadedModule, limits: Limits, overrides: Overrides) -> None:
        super().__init__(limits)
        self.module = module
        self.overrides = overrides
        self.active: list[syntax.Block] = []
        self.interface = Interface(self, self.links, overrides)
        self.expectations = Expectations(self.evaluator, self.result, bool(overrides))
        self._fixed: dict[int, Layer] = {}
        self._statements: dict[type[syntax.Statement], Callable[[Any, Context], None]] = {
            syntax.Chain: self._chain,
            syntax.Let: self.let,
            syntax.Expect: self.expectations.expect,
            syntax.Output: self.interface.output,
            syntax.Auxiliary: self.interface.auxiliary,
            syntax.Preprocess: self.interface.preprocess,
            syntax.Variant: self.interface.variant,
        }
        joins = Joins(self, self.statements)
        self._actions: dict[type[syntax.Action], Callable[[Any, str | None, Context], None]] = {
            syntax.Call: self._call,
            syntax.Group: self._group,
            syntax.If: self._if,
            syntax.For: self._for,
            syntax.Repeat: self._repeat,
            syntax.Join: joins.join,
            syntax.Residual: joins.residual,
            syntax.From: self._from,
            syntax.Share: Sharing(self).share,
        }

    # ------------------------------------------------------------------------------------------------- the network

    def network(self, declaration: syntax.Network, variant: syntax.Variant | None) -> Network:
        result = self.result
        result.name = variant.name if variant is not None else declaration.name
        result.doc = self.module.syntax.documentation(declaration)
        context = Context(self.module, {}, Flow(None), Scope(""))
        try:
            with self.reporter.collecting(context):
                result.parameters = self._parameters(declaration, variant, context)
                self.statements(declaration.body.statements, context)
                self.no_lanes(declaration.body, context)
                self.interface.finish(declaration, context)
            if all(found.code == "E0401" for found in self.reporter.diagnostics):
                with self.reporter.collecting(context):
                    self.expectations.settle(variant, context)
        except TooManyError:
            pass
        if self.reporter.diagnostics:
            raise SpecError(self.reporter.diagnostics)
        return result

    def _parameters(
        self, declaration: syntax.Network, variant: syntax.Variant | None, context: Context
    ) -> dict[str, Value]:
        outer = Context(self.module, {}, Flow(None), Scope(""))
        arguments = self.evaluator.arguments(variant.arguments, outer) if variant is not None else ()
        parameters = declaration.parameters or ()
        names = [parameter.name for parameter in parameters]
        for name, value in self.overrides.parameters.items():
            if name not in names:
                help = did_you_mean(name, names) or (f"it has {', '.join(names)}" if names else "it has none")
                message = f"the network `{self.result.name}` has no parameter `{name}`"
                raise fail("E0202", message, self.module.syntax.span(head(declaration)), help)
            node = syntax.Argument(declaration.at, name, syntax.Name(declaration.at, name))
            arguments = merge(names, arguments, (Bound(name, value, node),))
        return bind(declaration.name, parameters, arguments, head(declaration), outer, context, self.evaluator.evaluate)

    # -------------------------------------------------------------------------------------------------- statements

    def statements(self, statements: Sequence[syntax.Statement], context: Context) -> None:
        evaluator = self.evaluator
        for statement in statements:
            evaluator.work += 1
            if evaluator.work > self.limits.steps:
                evaluator.spend(0, statement, context)
            kind = type(statement)
            with self.reporter.collecting(context, keeps_tensor=kind in _BESIDE):
                self._statements[kind](statement, context)

    def _chain(self, chain: syntax.Chain, context: Context) -> None:
        self.links(chain.links, context)

    def links(self, links: Sequence[syntax.Step | syntax.Input], context: Context, label: str | None = None) -> None:
        """Runs the steps of a chain. `label` names the first that makes something."""
        last = len(links) - 1
        for index, link in enumerate(links):
            with self.reporter.collecting(context):
                if isinstance(link, syntax.Input):
                    self.interface.input(link, context)
                    continue
                if link.label is not None:
                    label = self.declared(link.label, context)
                following = links[index + 1] if index < last else None
                if (
                    isinstance(link.action, syntax.From)
                    and label is not None
                    and isinstance(following, syntax.Step)
                    and following.label is None
                ):
                    # A label in front of `from` names the step behind it.
                    self._from(link.action, None, context)
                    continue
                own, label = label, None
                try:
                    self._actions[type(link.action)](link.action, own, context)
                except SpecError:
                    if own is not None:
                        self.tensors.setdefault(own, POISON)
                    raise

    # ------------------------------------------------------------------------------------------------------- bodies

    def _body(self, body: syntax.Body, context: Context) -> None:
        self.no_lanes(body, context)
        self.statements(body.statements, context)

    def _group(self, node: syntax.Group, name: str | None, context: Context) -> None:
        with self.maybe_scope(name, context) as inner:
            self._body(node.body, inner)

    def _if(self, node: syntax.If, name: str | None, context: Context) -> None:
        with self.maybe_scope(name, context) as inner:
            body = self.chosen(node, inner)
            if body is not None:
                self._body(body, inner)

    def _for(self, node: syntax.For, name: str | None, context: Context) -> None:
        with self.maybe_scope(name, context) as scope:
            for inner in self.iterations(node, scope):
                self._body(node.body, inner)

    def _repeat(self, node: syntax.Repeat, name: str | None, context: Context) -> None:
        with self.maybe_scope(name, context) as scope:
            for inner in self.iterations(node, scope):
                self._body(node.body, inner)

    # ------------------------------------------------------------------------------------------------------ calls

    def _call(self, node: syntax.Call, name: str | None, context: Context) -> None:
        fixed = self._fixed.get(id(node))
        if fixed is not None:
            self._layer(fixed, (), node, name, context)
            return
        callee = self.callee(node.name, node, context)
        arguments = self.evaluator.arguments(node.arguments or (), context, model_of(callee))
        if isinstance(callee, Poison) or any(isinstance(bound.value, Poison) for bound in arguments):
            self.failed(name, context)
            return
        if isinstance(callee, Partial):
            arguments = rebind(callee.target, callee.arguments, arguments)
            callee = callee.target
        if isinstance(callee, BlockValue):
            self._block(callee, arguments, node, name, context)
            return
        tensors = 0
        while tensors < len(arguments) and arguments[tensors].name is None and _tensors(arguments[tensors].value):
            tensors += 1
        inputs = tuple(tensor for bound in arguments[:tensors] for tensor in _tensors(bound.value))
        layer = self.models.build(callee.layer, callee.name, arguments[tensors:], node, context)
        literal = all(_is_literal(argument.value) for argument in node.arguments or ())
        if literal and not tensors and node.name == callee.name and self.evaluator.local(node.name, context) is None:
            # The same literals give the same layer wherever this call is met again.
            self._fixed[id(node)] = layer
        self._layer(layer, inputs, node, name, context)

    def _block(
        self, block: BlockValue, arguments: tuple[Bound, ...], node: syntax.Call, name: str | None, context: Context
    ) -> None:
        declaration = block.declaration
        span = context.module.syntax.span(node)
        if any(active is declaration for active in self.active):
            chain = " -> ".join([active.name for active in self.active] + [declaration.name])
            raise self.error(
                "E0209", f"the block `{block.name}` calls itself: {chain}", node, context, "blocks may not recurse"
            )
        if len(self.active) >= self.limits.depth:
            raise self.error("E0505", f"blocks are nested deeper than {self.limits.depth}", node, context)
        name = context.scope.next() if name is None else name
        start, entry = len(self.order), context.flow.current
        calls = (*context.calls, Call(block.name, name, span))
        inner = Context(block.module, {}, Flow(entry), Scope(name + "."), name + ".", calls)
        inner.names = bind(
            block.name, declaration.parameters or (), arguments, node, context, inner, self.evaluator.evaluate
        )
        self.active.append(declaration)
        try:
            self._body(declaration.body, inner)
        finally:
            self.active.pop()
        context.flow.current = inner.flow.current
        if inner.flow.current is not None:
            self.tensors[name] = inner.flow.current
        self.segments[name] = (start, len(self.order), entry)

    def _layer(
        self, layer: Layer, inputs: tuple[Tensor, ...], node: syntax.Call, name: str | None, context: Context
    ) -> None:
        if not inputs:
            current = context.flow.current
            if isinstance(current, Poison):
                self.failed(name, context)
                return
            if current is None:
                help = "begin with `input image: 3x224x224`"
                raise self.error("E0212", f"`{node.name}` has no tensor to work on", node, context, help)
            if layer.arity.most is None and node.name in LAYERS and node.arguments is None:
                help = f"write `{node.name} {{ | ... | ... }}` or `{node.name}(a, b)`"
                raise self.error("E0208", f"`{node.name}` joins several tensors", node, context, help)
            inputs = (current,)
        self.apply(layer, inputs, name or context.scope.next(), node, context)

    def _from(self, node: syntax.From, name: str | None, context: Context) -> None:
        value: Value
        if node.path is not None:
            path = self.text(node.path, context)
            found = self.tensor(path, context)
            local = self.evaluator.local(path, context) if found is None else None
            if found is None and local is None and path != "x":
                raise self.unknown_tensor(path, node.path, context)
            value = found if found is not None else local[0] if local is not None else context.flow.current
        elif node.value is not None:
            value = self.evaluator.evaluate(node.value, context)
        else:
            value = None
        if not isinstance(value, Tensor | Poison):
            raise self.error("E0211", f"`from` takes a tensor, found {show(value)}", node, context)
        context.flow.current = value
        if name is not None:
            self.tensors[name] = value


def _tensors(value: Value) -> tuple[Tensor, ...]:
    """A tensor, or each of a list of tensors, as inputs of a layer; nothing where the value is anything else."""
    if isinstance(value, Tensor):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(item, Tensor) for item in value):
        return tuple(value)
    return ()


def _is_literal(node: syntax.Expression) -> bool:
    return isinstance(node, syntax.Constant | syntax.ShapeLiteral)
