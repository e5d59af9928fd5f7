"""Binding of arguments to the parameters of a block, a function or a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netdsl.elaborate.context import Context
from netdsl.elaborate.values import BlockValue, Bound, LayerValue, Tensor, Value
from netdsl.language import syntax
from netdsl.language.diagnostics import did_you_mean, fail


def bind(
    callee: str,
    parameters: Sequence[syntax.Parameter],
    arguments: Sequence[Bound],
    call: syntax.Syntax,
    caller: Context,
    inner: Context,
    evaluate: Callable[[syntax.Expression, Context], Value],
) -> dict[str, Value]:
    """Parameter name -> value. Defaults are evaluated where the parameter was declared, and see those before them.

    Raises SpecError for an argument too many, an unknown one, one given twice, or one that is missing.
    """
    names = [parameter.name for parameter in parameters]
    given: dict[str, Value] = {}
    positional = 0
    for bound in arguments:
        span = caller.module.syntax.span(bound.node)
        if bound.name is None:
            if positional >= len(names):
                takes = f"takes {len(names)} ({', '.join(names)})" if names else "takes no arguments"
                raise fail("E0206", f"`{callee}` {takes}, found one more", span)
            name = names[positional]
            positional += 1
        else:
            name = bound.name
            if name not in names:
                help = did_you_mean(name, names) or (f"it has {', '.join(names)}" if names else "it has none")
                raise fail("E0202", f"`{callee}` has no parameter `{name}`", span, help)
        if name in given:
            raise fail("E0206", f"`{name}` of `{callee}` is given twice", span)
        given[name] = bound.value
    values: dict[str, Value] = {}
    inner.names = values
    for parameter in parameters:
        if parameter.name in given:
            values[parameter.name] = given[parameter.name]
        elif parameter.default is not None:
            values[parameter.name] = evaluate(parameter.default, inner)
        else:
            message = f"`{callee}` needs a value for `{parameter.name}`"
            raise fail("E0203", message, caller.module.syntax.span(call), f"write `{parameter.name} = ...`")
    return values


def rebind(target: BlockValue | LayerValue, first: Sequence[Bound], second: Sequence[Bound]) -> tuple[Bound, ...]:
    """The arguments of a value that was bound to `first` and is now called with `second`."""
    if isinstance(target, LayerValue):
        # Tensors by position are a layer's inputs, not its attributes.
        inputs = tuple(bound for bound in (*first, *second) if bound.name is None and _holds_tensors(bound.value))
        rest = [[bound for bound in bounds if bound not in inputs] for bounds in (first, second)]
        return (*inputs, *merge(target.layer.positional, *rest))
    return merge([parameter.name for parameter in target.declaration.parameters or ()], first, second)


def _holds_tensors(value: Value) -> bool:
    if isinstance(value, list | tuple) and value:
        return all(isinstance(item, Tensor) for item in value)
    return isinstance(value, Tensor)


def merge(names: Sequence[str], first: Sequence[Bound], second: Sequence[Bound]) -> tuple[Bound, ...]:
    """Arguments with later ones, which replace them by name and go on behind them by position."""
    kept = _named(names, first, set())
    later = _named(names, second, {bound.name for bound in kept})
    again = {bound.name for bound in later if bound.name is not None}
    merged = [bound for bound in kept if bound.name not in again] + later
    return tuple(sorted(merged, key=lambda bound: bound.name is not None))


def _named(names: Sequence[str], arguments: Sequence[Bound], taken: set[str | None]) -> list[Bound]:
    """Arguments by position under the names they stand for; what is too many stays as it is."""
    free = iter([name for name in names if name not in taken])
    return [bound if bound.name is not None else bound._replace(name=next(free, None)) for bound in arguments]
