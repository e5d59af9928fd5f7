"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_LIMITS = "netdsl.limits"

F = TypeVar("F", bound=Callable[..., Any])


def spec_options(function: F) -> F:
    """`--set`, `--shape` and `--limit`."""
    function = click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="[NAME=]SHAPE",
        help="Replace the shape of the input, e.g. 3x288x288; by name where there are several.",
    )(function)
    function = click.option(
        "--limit",
        multiple=True,
        metavar="NAME=N",
        expose_value=False,
        callback=_keep_limits,
        help="Raise a bound on what a spec may ask for, e.g. nodes=1000000.",
    )(function)
    return click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Bind a parameter of the network."
    )(function)


def _keep_limits(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> None:
    """Reads `--limit` options; `load_net` takes them from the context."""
    if not given:
        return
    from netdsl.elaborate import Limits

    found: dict[str, int] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in Limits.__dataclass_fields__ or not number.isdecimal() or int(number) < 1:
            known = ", ".join(Limits.__dataclass_fields__)
            raise click.BadParameter(f"NAME=N is wanted, where NAME is one of {known}; found {text!r}")
        found[name] = int(number)
    context.meta[_LIMITS] = found


def load_net(spec: str, settings: tuple[str, ...] = (), shapes: tuple[str, ...] = ()) -> Any:
    """The network that the options ask for, as a `netdsl.Net`."""
    from netdsl.api import Net
    from netdsl.elaborate import Limits, build, find, shape_of, value_of

    found = find(spec)
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if not text.strip() or not name.strip().isidentifier():
            raise click.UsageError(f"--set takes NAME=VALUE, found {setting!r}")
        parameters[name.strip()] = value_of(text, f"--set {name.strip()}", found.module)
    replaced: dict[str, tuple[int | None, ...]] = {}
    for given in shapes:
        name, _, text = given.rpartition("=")
        replaced[name.strip()] = shape_of(text.strip(), "--shape")
    context = click.get_current_context(silent=True)
    limits = Limits(**(context.meta.get(_LIMITS, {}) if context is not None else {}))
    return Net(build(found, parameters=parameters, shapes=replaced, limits=limits), found)
