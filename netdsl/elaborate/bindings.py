"""Binding of arguments to the parameters of a block, a function or a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netdsl.elaborate.context import Context
from netdsl.elaborate.values import Bound, Value
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
