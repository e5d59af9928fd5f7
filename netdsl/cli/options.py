"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def spec_options(function: F) -> F:
    """`--set` and `--shape`."""
    function = click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="[NAME=]SHAPE",
        help="Replace the shape of the input, e.g. 3x288x288; by name where there are several.",
    )(function)
    return click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Bind a parameter of the network."
    )(function)


def load_net(spec: str, settings: tuple[str, ...] = (), shapes: tuple[str, ...] = ()) -> Any:
    """The network that the options ask for, as a `netdsl.Net`."""
    from netdsl.api import Net
    from netdsl.elaborate import build, find, shape_of, value_of

    found = find(spec)
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip().isidentifier():
            raise click.UsageError(f"--set takes NAME=VALUE, found {setting!r}")
        parameters[name.strip()] = value_of(text, f"--set {name.strip()}", found.module)
    replaced: dict[str, tuple[int | None, ...]] = {}
    for given in shapes:
        name, equals, text = given.rpartition("=")
        replaced[name.strip()] = shape_of(text.strip(), "--shape")
    return Net(build(found, parameters=parameters, shapes=replaced), found)
