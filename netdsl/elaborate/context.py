"""Where a statement stands: what names mean there, which tensor is current, which scope its weights go to."""

from __future__ import annotations

from netdsl.elaborate.linked import LoadedModule
from netdsl.elaborate.values import Poison, Tensor, Value
from netdsl.ir import Call


class Flow:
    """The tensor that flows down the page; each lane has its own."""

    __slots__ = ("current",)

    def __init__(self, current: Tensor | Poison | None) -> None:
        self.current = current


class Scope:
    """A prefix of weight names and the number that its next unlabelled step takes."""

    __slots__ = ("number", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.number = 0

    def next(self) -> str:
        name = f"{self.prefix}{self.number}"
        self.number += 1
        return name


class Context:
    """`names` are the parameters and lets of this body; `outer` is the body around it, None at the body of a block,
    network or function. `boundary` is the scope of the block: labels beyond it are not seen."""

    __slots__ = ("boundary", "calls", "flow", "module", "names", "outer", "scope")

    def __init__(
        self,
        module: LoadedModule,
        names: dict[str, Value],
        flow: Flow,
        scope: Scope,
        boundary: str = "",
        calls: tuple[Call, ...] = (),
        outer: Context | None = None,
    ) -> None:
        self.module = module
        self.names = names
        self.flow = flow
        self.scope = scope
        self.boundary = boundary
        self.calls = calls
        self.outer = outer

    def inner(
        self, names: dict[str, Value] | None = None, flow: Flow | None = None, scope: Scope | None = None
    ) -> Context:
        """A body within this one."""
        return Context(
            self.module, {} if names is None else names, flow or self.flow, scope or self.scope, self.boundary,
            self.calls, self,
        )  # fmt: skip
