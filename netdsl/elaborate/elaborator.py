"""Elaboration: a network of the syntax tree becomes a graph of typed layers.

Statements are executed from top to bottom with the current tensor in hand. A statement that fails leaves POISON behind
instead of a tensor: it is reported once, what follows from it is not, and everything else is still checked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netdsl.collector import paused_collector
from netdsl.elaborate.bindings import bind, merge, rebind
from netdsl.elaborate.context import Context, Flow, Scope
from netdsl.elaborate.expectations import Expectations
from netdsl.elaborate.expressions import Evaluator
from netdsl.elaborate.interface import Interface, Overrides
from netdsl.elaborate.joins import Joins
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.models import Models
from netdsl.elaborate.modules import LoadedModule
from netdsl.elaborate.places import head, word
from netdsl.elaborate.reporter import Reporter, TooManyError
from netdsl.elaborate.sharing import Sharing
from netdsl.elaborate.values import (
    POISON,
    BlockValue,
    Bound,
    Callee,
    LayerValue,
    Partial,
    Poison,
    Tensor,
    Value,
    model_of,
    show,
)
from netdsl.ir import Call, Layer, LayerError, Network, Node, TensorType
from netdsl.language import syntax
from netdsl.language.diagnostics import SpecError, did_you_mean, fail
from netdsl.layers.vocabulary import LAYERS

# Statements beside the flow: what goes wrong in them does not touch the current tensor.
_BESIDE = {syntax.Let, syntax.Expect, syntax.Preprocess, syntax.Variant}

MAX_OUTPUT_EXTENT = 2**31 - 1
"""Largest extent along one axis that a layer may make: a flattened image is longer than any of its axes."""

_LABEL = re.compile(r"[\w-]+(?:\.[\w-]+)*")


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


class Elaborator:
    """Builds one network."""

    def __init__(self, module: LoadedModule, limits: Limits, overrides: Overrides) -> None:
        self.module = module
        self.limits = limits
        self.overrides = overrides
        self.evaluator = Evaluator(limits, self.tensor)
        self.models = Models(self.evaluator)
        self.result = Network("")
        self.tensors: dict[str, Tensor | Poison] = {}
        self.taken: dict[str, syntax.At] = {}
        self.order: list[str] = []
        self.segments: dict[str, tuple[int, int, Tensor | Poison | None]] = {}
        self.active: list[syntax.Block] = []
        self.reporter = Reporter(limits.diagnostics)
        self.interface = Interface(self, overrides)
        self.expectations = Expectations(self.evaluator, self.result, bool(overrides))
        self._types: dict[tuple[int, tuple[TensorType, ...]], TensorType] = {}
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
        joins = Joins(self)
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

    def error(
        self, code: str, message: str, node: syntax.Syntax, context: Context, help: str | None = None
    ) -> SpecError:
        return fail(code, message, context.module.syntax.span(node), help)

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

    def declared(self, label: syntax.Label, context: Context) -> str:
        """The full name that a label gives. Raises SpecError where it is in use."""
        name = context.scope.prefix + self.text(label, context)
        if name in self.taken:
            line, _ = context.module.syntax.source.position(self.taken[name][0])
            help = (
                f"it is used in line {line}; `share {name.rpartition('.')[2]}` runs a step again with the same weights"
            )
            raise self.error("E0205", f"the name `{name}` is used twice", label, context, help)
        self.taken[name] = label.at
        return name

    def text(self, label: syntax.Label, context: Context) -> str:
        text = ""
        for part in label.parts:
            if isinstance(part, str):
                text += part
                continue
            value = self.evaluator.evaluate(part, context)
            if isinstance(value, Poison):
                value = "unknown"
            if not isinstance(value, int | str) or isinstance(value, bool):
                message = f"a label is made of whole numbers and words, found {show(value)}"
                raise self.error("E0207", message, part, context)
            text += str(value)
        if not _LABEL.fullmatch(text):
            help = "letters, digits, `_` and `-`"
            raise self.error("E0207", f"`{text}` is not a name", label, context, help)
        return text

    def let(self, node: syntax.Let, context: Context) -> None:
        # A name whose value fails is known all the same, so that it is not reported again.
        context.names.update(dict.fromkeys(node.names, POISON))
        value = self.evaluator.evaluate(node.value, context)
        context.names.update(self.evaluator.unpack(node.names, value, node.value, context))

    # ----------------------------------------------------------------------------------------------------- scopes

    @contextmanager
    def scope(self, name: str, context: Context, flow: Flow | None = None) -> Iterator[Context]:
        """A scope called `name`; its last tensor can be named by it, and it can be shared."""
        start, entry = len(self.order), context.flow.current
        inner = context.inner(flow=flow, scope=Scope(name + "."))
        yield inner
        current = inner.flow.current
        if current is not None:
            self.tensors[name] = current
        self.segments[name] = (start, len(self.order), entry)

    @contextmanager
    def maybe_scope(self, name: str | None, context: Context) -> Iterator[Context]:
        """A scope where there is a label, else the body runs on in the scope it stands in."""
        if name is None:
            yield context.inner()
        else:
            with self.scope(name, context) as inner:
                yield inner

    def _body(self, body: syntax.Body, context: Context) -> None:
        self.no_lanes(body, context)
        self.statements(body.statements, context)

    def no_lanes(self, body: syntax.Body, context: Context) -> None:
        if body.lanes:
            help = "lanes stand inside a join: `add { | ... | ... }`"
            raise self.error("E0208", "a lane stands outside a join", body.lanes[0], context, help)

    def _group(self, node: syntax.Group, name: str | None, context: Context) -> None:
        with self.maybe_scope(name, context) as inner:
            self._body(node.body, inner)

    def _if(self, node: syntax.If, name: str | None, context: Context) -> None:
        with self.maybe_scope(name, context) as inner:
            body = self.chosen(node, inner)
            if body is not None:
                self._body(body, inner)

    def chosen(self, node: syntax.If, context: Context) -> syntax.Body | None:
        """The body that an `if` runs; the current tensor becomes POISON where the condition hangs on an error."""
        branch: syntax.Body | syntax.If | None = node
        while isinstance(branch, syntax.If):
            truth = self.evaluator.truth(branch.condition, context)
            if isinstance(truth, Poison):
                context.flow.current = POISON
                return None
            branch = branch.then if truth else branch.otherwise
        return branch

    def _for(self, node: syntax.For, name: str | None, context: Context) -> None:
        with self.maybe_scope(name, context) as scope:
            for inner in self.iterations(node, scope):
                self._body(node.body, inner)

    def _repeat(self, node: syntax.Repeat, name: str | None, context: Context) -> None:
        with self.maybe_scope(name, context) as scope:
            for inner in self.iterations(node, scope):
                self._body(node.body, inner)

    def iterations(self, node: syntax.For | syntax.Repeat, context: Context) -> Iterator[Context]:
        """A context for each turn of a loop."""
        if isinstance(node, syntax.For):
            items = self.evaluator.iterate(node.iterable, context)
            if isinstance(items, Poison):
                context.flow.current = POISON
                return
            for item in items:
                yield context.inner(self.evaluator.unpack(node.names, item, node.iterable, context))
            return
        count = self.evaluator.whole(node.count, context, "the count of a `repeat`")
        if isinstance(count, Poison):
            context.flow.current = POISON
            return
        if count > self.limits.steps:
            message = f"`repeat {show(count)}` is more than the {self.limits.steps:,} steps that a spec may take"
            help = "the caller can raise the limit `steps`"
            raise self.error("E0502", message, node.count, context, help)
        for index in range(count):
            yield context.inner({} if node.name is None else {node.name: index})

    # ------------------------------------------------------------------------------------------------------ calls

    def callee(self, name: str, node: syntax.Syntax, context: Context) -> Callee | Poison:
        """What a step runs: a parameter's value, a block, or a layer."""
        found = self.evaluator.local(name, context) or context.module.value(name, self.evaluator)
        value: Value
        if found is not None:
            value = found[0]
        elif name in LAYERS:
            value = LayerValue(LAYERS[name])
        else:
            names = self.evaluator.names(context) - set(self.evaluator.builtins)
            help = did_you_mean(name, names)
            raise self.error("E0201", f"there is no layer or block called `{name}`", word(node, name), context, help)
        if isinstance(value, BlockValue | LayerValue | Partial | Poison):
            return value
        help = f"to go on from it write `from {name}`" if isinstance(value, Tensor) else None
        if value is None:
            help = f"run it only where it is something: `if {name} != none {{ {name} }}`"
        raise self.error("E0208", f"`{name}` is {show(value)}, not a layer or a block", node, context, help)

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
        while tensors < len(arguments) and _is_tensor(arguments[tensors]):
            tensors += 1
        inputs = tuple(bound.value for bound in arguments[:tensors])
        layer = self.models.build(callee.layer, callee.name, arguments[tensors:], node, context)
        literal = all(_is_literal(argument.value) for argument in node.arguments or ())
        if literal and not tensors and node.name == callee.name and self.evaluator.local(node.name, context) is None:
            # The same literals give the same layer wherever this call is met again.
            self._fixed[id(node)] = layer
        self._layer(layer, inputs, node, name, context)

    def failed(self, name: str | None, context: Context) -> None:
        """A step that cannot be made because of an earlier error: its names are taken all the same."""
        self.tensors[name or context.scope.next()] = POISON
        context.flow.current = POISON

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

    def apply(self, layer: Layer, inputs: tuple[Tensor, ...], name: str, node: syntax.Syntax, context: Context) -> None:
        """Infers the type of a layer's output and puts it into the network."""
        least, most = layer.arity
        if len(inputs) < least or (most is not None and len(inputs) > most):
            takes = f"{least}" if least == most else f"at least {least}"
            message = f"`{layer.kind}` takes {takes} tensor{'s' * (least != 1)}, found {len(inputs)}"
            self.tensors[name] = POISON
            raise self.error("E0206", message, node, context)
        types = tuple([tensor.type for tensor in inputs])
        key = (id(layer), types)
        type = self._types.get(key)
        if type is None:
            try:
                type = layer.infer(*types)
                layer.weights(*types)
            except LayerError as error:
                self.tensors[name] = POISON
                raise self.error(error.code, f"`{name}`: {error.message}", node, context, error.help) from None
            too_large = [extent for extent in type.shape if extent is not None and not 0 < extent <= MAX_OUTPUT_EXTENT]
            if too_large:
                message = f"`{name}` makes {type}: an extent is from 1 to {MAX_OUTPUT_EXTENT:,}"
                raise self.error("E0503", message, node, context)
            self._types[key] = type
        self.place(layer, name, inputs, type, node, context)

    def place(
        self,
        layer: Layer,
        name: str,
        inputs: tuple[Tensor, ...],
        type: TensorType,
        node: syntax.Syntax,
        context: Context,
        address: str | None = None,
    ) -> None:
        if name in self.result.table:
            raise self.error("E0205", f"the name `{name}` is used twice", node, context, "give the step another label")
        if len(self.order) >= self.limits.nodes:
            message = f"the network has more than {self.limits.nodes:,} layers"
            raise self.error("E0501", message, node, context, "the caller can raise the limit `nodes`")
        self.result.add(
            Node(
                name,
                layer,
                tuple([tensor.node for tensor in inputs]),
                type,
                context.module.syntax.span(node),
                name if address is None else address,
                context.calls,
            )
        )
        tensor = Tensor(name, type)
        self.tensors[name] = tensor
        context.flow.current = tensor
        self.order.append(name)

    # ------------------------------------------------------------------------------------------- named tensors

    def tensor(self, path: str, context: Context) -> Tensor | Poison | None:
        """The tensor called `path` in this body: in the innermost scope first, not beyond the block."""
        found = self.full_name(path, context)
        return None if found is None else self.tensors[found]

    def full_name(self, path: str, context: Context) -> str | None:
        prefix = context.scope.prefix
        while True:
            if prefix + path in self.tensors:
                return prefix + path
            if len(prefix) <= len(context.boundary):
                return None
            prefix = prefix[:-1].rpartition(".")[0]
            prefix = prefix + "." if prefix else ""

    def unknown_tensor(self, path: str, node: syntax.Syntax, context: Context) -> SpecError:
        boundary = context.boundary
        near = [name.removeprefix(boundary) for name in self.tensors if name.startswith(boundary)]
        help = did_you_mean(path, near)
        if help is None and path in self.tensors:
            help = "a block sees its own tensors only: pass this one as an argument"
        return self.error("E0211", f"there is no tensor called `{path}` yet", node, context, help)

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


def _is_tensor(bound: Bound) -> bool:
    return bound.name is None and isinstance(bound.value, Tensor)


def _is_literal(node: syntax.Expression) -> bool:
    return isinstance(node, syntax.Constant | syntax.ShapeLiteral)
