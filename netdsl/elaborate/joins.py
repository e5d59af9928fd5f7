"""Joins: lanes that start from the same tensor and come together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from netdsl.elaborate.assembly import Assembly
from netdsl.elaborate.bindings import rebind
from netdsl.elaborate.context import Context, Flow
from netdsl.elaborate.places import word
from netdsl.elaborate.values import POISON, BlockValue, LayerValue, Partial, Poison, Tensor, model_of, show
from netdsl.ir import Layer
from netdsl.language import syntax
from netdsl.layers.vocabulary import LAYERS

Statements = Callable[[Sequence[syntax.Statement], Context], None]
"""Runs statements in a context."""


class Joins:
    """Runs `add { | ... | ... }`, `concat split 2 { | ... | ... }` and `residual { ... }`."""

    def __init__(self, core: Assembly, statements: Statements) -> None:
        self.core = core
        self._statements = statements
        self._splits: dict[str, int] = {}

    def join(self, node: syntax.Join, name: str | None, context: Context) -> None:
        callee = self.core.callee(node.name, node, context)
        arguments = self.core.evaluator.arguments(node.arguments or (), context, model_of(callee))
        if isinstance(callee, Partial):
            arguments = rebind(callee.target, callee.arguments, arguments)
            callee = callee.target
        place = word(node, node.name)
        if isinstance(callee, BlockValue) or (isinstance(callee, LayerValue) and callee.layer.arity.most in (0, 1)):
            joins = ", ".join(sorted(kind for kind, layer in LAYERS.items() if layer.arity.most not in (0, 1)))
            raise self.core.error("E0208", f"`{node.name}` does not join lanes", place, context, f"these do: {joins}")
        if not node.body.lanes and not any(_makes_lanes(statement) for statement in node.body.statements):
            help = f"write `{node.name} {{ | ... | ... }}`"
            raise self.core.error("E0208", f"`{node.name}` has no lanes", place, context, help)
        if isinstance(callee, Poison) or any(isinstance(bound.value, Poison) for bound in arguments):
            self.core.failed(name, context)
            return
        layer = self.core.models.build(callee.layer, callee.name, arguments, place, context)
        with self.core.maybe_scope(name, context) as inner:
            self._lanes(layer, node.body, node.split, place, name, inner, context)

    def residual(self, node: syntax.Residual, name: str | None, context: Context) -> None:
        keeps = True if node.condition is None else self.core.evaluator.truth(node.condition, context)
        place = word(node, "residual")
        with self.core.maybe_scope(name, context) as inner:
            self.core.no_lanes(node.body, context)
            if isinstance(keeps, Poison):
                inner.flow.current = POISON
            if keeps is not True:
                self._statements(node.body.statements, inner)
                return
            lanes = (syntax.Lane(node.body.at, node.body.statements), syntax.Lane(node.body.at, ()))
            self._lanes(LAYERS["add"](), syntax.Body(node.body.at, (), lanes), None, place, name, inner, context)

    def _lanes(
        self,
        layer: Layer,
        body: syntax.Body,
        split: syntax.Expression | None,
        place: syntax.Syntax,
        name: str | None,
        inner: Context,
        context: Context,
    ) -> None:
        """Runs the lanes from the same tensor each, then joins what they made."""
        entry = context.flow.current
        if entry is None:
            raise self.core.error("E0212", "there is no tensor for the lanes to start from", place, context)
        lanes = list(self._lane_bodies(body, inner))
        entries: Sequence[Tensor | Poison] = [entry] * len(lanes)
        if split is not None:
            entries = self._split(entry, split, len(lanes), inner)
        made: list[Tensor | Poison | None] = []
        for (statements, around), start in zip(lanes, entries, strict=True):
            lane = around.inner(flow=Flow(start))
            self._statements(statements, lane)
            made.append(lane.flow.current)
        own = name if name is not None else inner.scope.next()
        tensors = tuple(tensor for tensor in made if isinstance(tensor, Tensor))
        if len(tensors) < len(made):
            self.core.tensors[own] = POISON
            inner.flow.current = context.flow.current = POISON
            return
        inner.flow.current = entry
        self.core.apply(layer, tensors, own, place, inner)
        context.flow.current = inner.flow.current

    def _lane_bodies(self, body: syntax.Body, context: Context) -> Iterator[tuple[Sequence[syntax.Statement], Context]]:
        """The lanes of a join; `for`, `if` and `repeat` whose bodies hold lanes make some."""
        yield from self._made_lanes(body.statements, context)
        for lane in body.lanes:
            first = next((i for i, statement in enumerate(lane.statements) if _makes_lanes(statement)), None)
            if first is None:
                yield lane.statements, context
            else:
                if first:
                    yield lane.statements[:first], context
                yield from self._made_lanes(lane.statements[first:], context)

    def _made_lanes(
        self, statements: Sequence[syntax.Statement], context: Context
    ) -> Iterator[tuple[Sequence[syntax.Statement], Context]]:
        for statement in statements:
            if isinstance(statement, syntax.Let):
                self.core.let(statement, context)
                continue
            action = _generator(statement)
            if action is None:
                help = "put a `|` in front of it"
                raise self.core.error("E0208", "this step of a join stands in no lane", statement, context, help)
            if isinstance(action, syntax.If):
                chosen = self.core.chosen(action, context)
                if chosen is not None:
                    yield from self._lane_bodies(chosen, context.inner())
            elif isinstance(action, syntax.For | syntax.Repeat):
                for inner in self.core.iterations(action, context):
                    yield from self._lane_bodies(action.body, inner)

    def _split(
        self, entry: Tensor | Poison, node: syntax.Expression, lanes: int, context: Context
    ) -> Sequence[Tensor | Poison]:
        """A slice of the channels for each lane."""
        value = self.core.evaluator.evaluate(node, context)
        if isinstance(entry, Poison) or isinstance(value, Poison):
            return [POISON] * lanes
        channels = entry.type.channels
        if channels is None:
            raise self.core.error("E0309", "the number of channels to split is not known", node, context)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            if channels % value:
                divisors = ", ".join(str(d) for d in range(1, min(channels, 64) + 1) if channels % d == 0)
                message = f"{channels} channels do not split into {value} equal parts"
                raise self.core.error("E0317", message, node, context, f"{channels} divides by {divisors}")
            sizes = [channels // value] * value if value == lanes else [0] * min(value, lanes + 1)
        elif isinstance(value, list | tuple) and all(isinstance(v, int) and v > 0 for v in value):
            sizes = list(value)
            if sum(sizes) != channels:
                message = f"the parts {show(value)} make {sum(sizes)} channels, and there are {channels}"
                raise self.core.error("E0317", message, node, context)
        else:
            message = f"`split` takes a number of parts or a list of sizes, found {show(value)}"
            raise self.core.error("E0204", message, node, context)
        if len(sizes) != lanes:
            count = value if isinstance(value, int) else len(sizes)
            raise self.core.error(
                "E0317", f"split into {count} parts for {lanes} lanes", node, context, "one lane for each part"
            )
        prefix = context.scope.prefix
        number = self._splits[prefix] = self._splits.get(prefix, -1) + 1
        parts: list[Tensor | Poison] = []
        start = 0
        for index, size in enumerate(sizes):
            lane = context.inner(flow=Flow(entry))
            layer = LAYERS["slice"](start=start, stop=start + size)  # type: ignore[call-arg]
            self.core.apply(layer, (entry,), f"{prefix}split{number}@{index}", node, lane)
            start += size
            current = lane.flow.current
            parts.append(current if isinstance(current, Tensor) else POISON)
        return parts


def _generator(statement: syntax.Statement) -> syntax.If | syntax.For | syntax.Repeat | None:
    """The `for`, `if` or `repeat` that a statement consists of."""
    if not isinstance(statement, syntax.Chain) or len(statement.links) != 1:
        return None
    link = statement.links[0]
    if not isinstance(link, syntax.Step) or link.label is not None:
        return None
    return link.action if isinstance(link.action, syntax.If | syntax.For | syntax.Repeat) else None


def _makes_lanes(statement: syntax.Statement) -> bool:
    """Whether a statement is a loop or condition whose body holds lanes."""
    action = _generator(statement)
    if action is None:
        return False
    bodies: list[syntax.Body | syntax.If | None] = [action.then if isinstance(action, syntax.If) else action.body]
    if isinstance(action, syntax.If):
        bodies.append(action.otherwise)
    while bodies:
        body = bodies.pop()
        if isinstance(body, syntax.If):
            bodies += [body.then, body.otherwise]
        elif body is not None and (body.lanes or any(_makes_lanes(inner) for inner in body.statements)):
            return True
    return False
