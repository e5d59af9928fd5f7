"""Weight sharing: the layers of a step or scope run again with the weights they have."""

from __future__ import annotations

from netdsl.elaborate.assembly import Assembly
from netdsl.elaborate.context import Context
from netdsl.elaborate.values import POISON, Poison, Tensor, show
from netdsl.ir import LayerError, Node
from netdsl.language import syntax


class Sharing:
    """Runs `share NAME`."""

    def __init__(self, core: Assembly) -> None:
        self.core = core
        self._times: dict[str, int] = {}

    def share(self, node: syntax.Share, name: str | None, context: Context) -> None:
        """Runs the layers of a step or scope again, on the current tensor, with the weights they have."""
        path = self.core.text(node.path, context)
        full = self.core.full_name(path, context)
        if full is None:
            raise self.core.unknown_tensor(path, node.path, context)
        current = context.flow.current
        if current is None:
            raise self.core.error("E0212", "there is no tensor yet to run it on", node, context)
        if isinstance(current, Poison) or isinstance(self.core.tensors[full], Poison):
            context.flow.current = POISON
            return
        if full in self.core.result.table and full not in self.core.segments:
            first = self.core.result.node(full)
            if len(first.inputs) != 1:
                raise self.core.error("E0208", f"`{path}` has no single input: it cannot be shared", node, context)
            names, entry = [full], first.inputs[0]
        elif full not in self.core.segments:
            help = f"share the step that makes it, `{self.core.tensors[full].node}`"  # type: ignore[union-attr]
            raise self.core.error("E0208", f"`{path}` is another name of a tensor, not a step", node, context, help)
        else:
            start, stop, before = self.core.segments[full]
            names, entry = self.core.order[start:stop], before.node if isinstance(before, Tensor) else ""
        begin = len(self.core.order)
        replaced: dict[str, Tensor] = {entry: current}
        for member in names:
            first = self.core.result.node(member)
            inputs = tuple(replaced.get(i) or Tensor(i, self.core.result.type_of(i)) for i in first.inputs)
            self._again(first, inputs, self._again_name(member), node, context)
            made = context.flow.current
            if isinstance(made, Tensor):
                replaced[member] = made
        last = self.core.tensors[full]
        if isinstance(last, Tensor):
            context.flow.current = replaced.get(last.node, last)
        if name is not None and context.flow.current is not None:
            self.core.tensors[name] = context.flow.current
            self.core.segments[name] = (begin, len(self.core.order), current)

    def _again_name(self, member: str) -> str:
        """`tower.0@1` for the first time that tower.0 runs again, by itself or as a part of what it stands in."""
        original = member.partition("@")[0]
        times = self._times[original] = self._times.get(original, 0) + 1
        return f"{original}@{times}"

    def _again(self, first: Node, inputs: tuple[Tensor, ...], name: str, node: syntax.Syntax, context: Context) -> None:
        types = tuple(tensor.type for tensor in inputs)
        try:
            type = first.layer.infer(*types)
            mine, theirs = first.layer.weights(*types), first.layer.weights(*self.core.result.types_of(first.inputs))
        except LayerError as error:
            raise self.core.error(error.code, f"`{name}`: {error.message}", node, context, error.help) from None
        if [weight.shape for weight in mine] != [weight.shape for weight in theirs]:
            here, there = next((a, b) for a, b in zip(mine, theirs, strict=True) if a.shape != b.shape)
            shapes = f"{show(there.shape)}, here it would need {show(here.shape)}"
            message = f"`{first.name}` has {there.name} of shape {shapes}"
            raise self.core.error("E0304", message, node, context, "shared weights need inputs of the same channels")
        self.core.place(first.layer, name, inputs, type, node, context, first.address)
