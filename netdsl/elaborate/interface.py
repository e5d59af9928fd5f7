"""What a network shows to the outside: inputs, outputs, auxiliary heads, preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netdsl.elaborate.assembly import Assembly
from netdsl.elaborate.context import Context, Flow
from netdsl.elaborate.places import head
from netdsl.elaborate.values import POISON, Poison, Tensor, Unknown, Value, show
from netdsl.images.steps import PREPROCESS
from netdsl.ir import Extent, TensorType
from netdsl.language import syntax
from netdsl.language.diagnostics import did_you_mean
from netdsl.layers.sizes import MAX_EXTENT, MAX_SPATIAL
from netdsl.layers.vocabulary import LAYERS

Links = Callable[..., None]
"""Runs the links of a chain in a context; a label, where there is one, names the first step."""


@dataclass(frozen=True)
class Overrides:
    """What the caller sets from outside: parameters by name, shapes by the name of the input ("" for the only one)."""

    parameters: Mapping[str, Value]
    shapes: Mapping[str, tuple[Extent, ...]]

    def __bool__(self) -> bool:
        return bool(self.parameters or self.shapes)


class Interface:
    """Runs the statements `input`, `output`, `auxiliary`, `preprocess` and `variant`."""

    def __init__(self, core: Assembly, links: Links, overrides: Overrides) -> None:
        self.core = core
        self._links = links
        self._overrides = overrides
        self._used_shapes: set[str] = set()

    def variant(self, node: syntax.Variant, context: Context) -> None:
        if context.outer is not None or context.calls:
            raise self.core.error("E0208", "`variant` stands in the body of a network, at its top", node, context)

    def preprocess(self, node: syntax.Preprocess, context: Context) -> None:
        steps = []
        for call in node.calls:
            kind = PREPROCESS.get(call.name)
            if kind is None:
                help = did_you_mean(call.name, PREPROCESS) or "there are " + ", ".join(sorted(PREPROCESS))
                raise self.core.error("E0201", f"unknown preprocessing step `{call.name}`", call, context, help)
            arguments = self.core.evaluator.arguments(call.arguments or (), context, kind)
            if not any(isinstance(bound.value, Poison) for bound in arguments):
                steps.append(self.core.models.build(kind, call.name, arguments, call, context))
        self.core.result.preprocess = tuple(steps)

    def input(self, node: syntax.Input, context: Context) -> None:
        name = self.core.declared(node.label, context) if node.label is not None else f"{context.scope.prefix}input"
        if context.calls:
            raise self.core.error("E0208", "`input` stands in a network, not in a block", node, context)
        if name in self.core.result.table:
            raise self.core.error("E0205", f"there are two inputs called `{name}`", node, context, "give them labels")
        context.flow.current = POISON
        if name in self._overrides.shapes:
            self._used_shapes.add(name)
            shape = self._extents(self._overrides.shapes[name], node.shape, context)
        elif "" in self._overrides.shapes and not self.core.result.inputs:
            self._used_shapes.add("")
            shape = self._extents(self._overrides.shapes[""], node.shape, context)
        else:
            if "" in self._overrides.shapes:
                self._used_shapes.discard("")
            value = self.core.evaluator.evaluate(node.shape, context)
            if isinstance(value, Poison):
                self.core.tensors[name] = POISON
                return
            shape = self._extents(value, node.shape, context)
        layer = LAYERS["input"](shape=shape)  # type: ignore[call-arg]
        self.core.result.inputs.append(name)
        self.core.place(layer, name, (), TensorType(shape), node, context)

    def _extents(self, value: Value, node: syntax.Expression, context: Context) -> tuple[Extent, ...]:
        """A value as the shape of an input. Raises SpecError."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = (value,)
        if not isinstance(value, tuple | list) or not value:
            message = f"a shape is written channels x height x width, as `3x224x224`, found {show(value)}"
            raise self.core.error("E0204", message, node, context)
        if len(value) > 1 + MAX_SPATIAL:
            message = f"a shape has channels and at most {MAX_SPATIAL} spatial extents, found {len(value)} extents"
            raise self.core.error("E0204", message, node, context)
        extents: list[Extent] = []
        for extent in value:
            if extent is None or isinstance(extent, Unknown):
                extents.append(None)
            elif isinstance(extent, int) and not isinstance(extent, bool) and 0 < extent <= MAX_EXTENT:
                extents.append(extent)
            else:
                message = f"an extent is a whole number from 1 to {MAX_EXTENT:,} or `?`, found {show(extent)}"
                raise self.core.error("E0204", message, node, context)
        return tuple(extents)

    def output(self, node: syntax.Output, context: Context) -> None:
        name = self._head_of(node.label, node.chain, context)
        current = context.flow.current
        if current is None:
            raise self.core.error("E0212", "there is no tensor yet to be the output", node, context)
        if isinstance(current, Tensor):
            self.core.result.outputs[name] = current.node
            self.core.tensors.setdefault(name, current)

    def auxiliary(self, node: syntax.Auxiliary, context: Context) -> None:
        side = context.inner(context.names, Flow(context.flow.current))
        name = self._head_of(node.label, node.chain, side)
        if isinstance(side.flow.current, Tensor):
            self.core.result.auxiliary[name] = side.flow.current.node
            self.core.tensors.setdefault(name, side.flow.current)

    def _head_of(self, label: syntax.Label, chain: syntax.Chain | None, context: Context) -> str:
        """Runs the chain of an output. One step takes the label as its own, several get it as a scope."""
        if context.calls:
            message = "outputs stand in a network, not in a block"
            raise self.core.error("E0208", message, label, context)
        name = context.scope.prefix + self.core.text(label, context)
        if name in self.core.result.outputs or name in self.core.result.auxiliary:
            raise self.core.error("E0205", f"there are two outputs called `{name}`", label, context)
        if chain is None:
            return name
        steps = [link for link in chain.links if isinstance(link, syntax.Step) and not _passes(link.action)]
        if not steps:
            self._links(chain.links, context)
        elif len(steps) == 1:
            self._links(
                chain.links, context, None if steps[0].label is not None else self.core.declared(label, context)
            )
        else:
            name = self.core.declared(label, context)
            with self.core.scope(name, context) as inner:
                self._links(chain.links, inner)
        return name

    def finish(self, declaration: syntax.Network, context: Context) -> None:
        result = self.core.result
        current = context.flow.current
        if not result.inputs and not self.core.reporter.diagnostics:
            help = "begin with `input image: 3x224x224`"
            raise self.core.error(
                "E0212", f"the network `{result.name}` has no input", head(declaration), context, help
            )
        unused = set(self._overrides.shapes) - self._used_shapes
        if unused and not self.core.reporter.diagnostics:
            name = sorted(unused)[0]
            known = ", ".join(result.inputs)
            message = f"the network has no input `{name}`" if name else "the network has several inputs"
            raise self.core.error("E0202", message, head(declaration), context, f"its inputs are {known}")
        if isinstance(current, Tensor):
            read = any(current.node in node.inputs for node in result.nodes())
            heads = set(result.outputs.values()) | set(result.auxiliary.values())
            if not result.outputs or not (read or current.node in heads):
                name = current.node
                result.outputs[name if name not in result.outputs else f"{name}@output"] = name
        result.tensors = {
            name: tensor.node
            for name, tensor in self.core.tensors.items()
            if isinstance(tensor, Tensor) and name not in result.table
        }


def _passes(action: syntax.Action) -> bool:
    """Whether an action makes nothing by itself."""
    return isinstance(action, syntax.From)
