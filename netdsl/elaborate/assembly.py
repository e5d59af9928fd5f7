"""What a network is put together from while its statements are executed: names, tensors, scopes, and the layers placed
so far. The executors of statements (`elaborator.py`, `interface.py`, `joins.py`, `sharing.py`) work on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from netdsl.elaborate.context import Context, Flow, Scope
from netdsl.elaborate.expressions import Evaluator
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.models import Models
from netdsl.elaborate.places import word
from netdsl.elaborate.reporter import Reporter
from netdsl.elaborate.values import (
    POISON,
    BlockValue,
    Builtin,
    Callee,
    LayerValue,
    Partial,
    Poison,
    Tensor,
    Value,
    show,
)
from netdsl.ir import Layer, LayerError, Network, Node, TensorType
from netdsl.language import syntax
from netdsl.language.diagnostics import SpecError, did_you_mean, fail
from netdsl.layers.vocabulary import LAYERS, OTHER_NAMES

MAX_OUTPUT_EXTENT = 2**31 - 1
"""Largest extent along one axis that a layer may make: a flattened image is longer than any of its axes."""

_LABEL = re.compile(r"[\w-]+(?:\.[\w-]+)*")


class Assembly:
    """The network in the making."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.evaluator = Evaluator(limits, self.tensor)
        self.models = Models(self.evaluator)
        self.reporter = Reporter(limits.diagnostics)
        self.result = Network("")
        self.tensors: dict[str, Tensor | Poison] = {}
        """Every tensor that can be named, by its full name."""
        self.taken: dict[str, syntax.At] = {}
        """Every label in use, and where it stands."""
        self.order: list[str] = []
        self.segments: dict[str, tuple[int, int, Tensor | Poison | None]] = {}
        """For each scope the stretch of `order` that it made, and the tensor that it started from."""
        self._types: dict[tuple[int, tuple[TensorType, ...]], TensorType] = {}

    def error(
        self, code: str, message: str, node: syntax.Syntax, context: Context, help: str | None = None
    ) -> SpecError:
        return fail(code, message, context.module.syntax.span(node), help)

    # ------------------------------------------------------------------------------------------------------- names

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

    def callee(self, name: str, node: syntax.Syntax, context: Context) -> Callee | Poison:
        """What a step runs: a parameter's value, a block, or a layer."""
        found = self.evaluator.local(name, context) or self.evaluator.declared(name, context.module)
        value: Value
        if found is not None:
            value = found[0]
            if isinstance(value, Builtin) and value.name in LAYERS:
                # A layer that has the name of a function, as an argument: `unit(act = abs)`.
                value = LayerValue(LAYERS[value.name])
        elif name in LAYERS:
            value = LayerValue(LAYERS[name])
        else:
            names = self.evaluator.names(context) - set(self.evaluator.builtins)
            meant = OTHER_NAMES.get(name.lower())
            help = f"it is called `{meant}` here" if meant else did_you_mean(name, names)
            raise self.error("E0201", f"there is no layer or block called `{name}`", word(node, name), context, help)
        if isinstance(value, BlockValue | LayerValue | Partial | Poison):
            return value
        help = f"to go on from it write `from {name}`" if isinstance(value, Tensor) else None
        if value is None:
            help = f"run it only where it is something: `if {name} != none {{ {name} }}`"
        raise self.error("E0208", f"`{name}` is {show(value)}, not a layer or a block", node, context, help)

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

    # ------------------------------------------------------------------------------------------------------- scopes

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

    def no_lanes(self, body: syntax.Body, context: Context) -> None:
        if body.lanes:
            help = "lanes stand inside a join: `add { | ... | ... }`"
            raise self.error("E0208", "a lane stands outside a join", body.lanes[0], context, help)

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

    # ------------------------------------------------------------------------------------------------------- layers

    def failed(self, name: str | None, context: Context) -> None:
        """A step that cannot be made because of an earlier error: its names are taken all the same."""
        self.tensors[name or context.scope.next()] = POISON
        context.flow.current = POISON

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
