"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_LIMITS = "netdsl.limits"

F = TypeVar("F", bound=Callable[..., Any])


def spec_options(function: F) -> F:
    """`--set`, `--shape` and `--limit`."""
    return _set_option("Bind a parameter of the network.")(_shape_and_limit(function))


def recipe_options(function: F) -> F:
    """The same, where `--set` takes entries of a recipe too."""
    text = "Replace an entry of the recipe (batch=32, head.epochs=1), or bind a parameter of the network."
    return _set_option(text)(_shape_and_limit(function))


def device_options(function: F) -> F:
    """`--precision`, `--device` and `--autotune`, for back-ends that run on a GPU."""
    options = [
        click.option(
            "--precision",
            type=click.Choice(["float32", "tf32", "float16", "bfloat16"]),
            help="In which numbers a GPU computes; default float32.",
        ),
        click.option("--device", type=click.IntRange(min=0), metavar="N", help="Which GPU, counted from 0."),
        click.option(
            "--autotune",
            type=click.Choice(["off", "quick", "full"]),
            help="Time kernels on the GPU first and keep the fastest; default off.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _set_option(help: str) -> Callable[[F], F]:
    return click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=help)


def _shape_and_limit(function: F) -> F:
    function = click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="[NAME=]SHAPE",
        help="Replace the shape of the input, e.g. 3x288x288; by name where there are several.",
    )(function)
    return click.option(
        "--limit",
        multiple=True,
        metavar="NAME=N",
        expose_value=False,
        callback=_keep_limits,
        help="Raise a bound on what a spec may ask for, e.g. nodes=1000000.",
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


def load_net(spec: str, settings: tuple[str, ...] = (), shapes: tuple[str, ...] = (), loader: Any = None) -> Any:
    """The network that the options ask for, as a `netdsl.Net`. `loader` is a `netdsl.elaborate.Loader`: a new one by
    default."""
    from netdsl.api import Net
    from netdsl.elaborate import build, find, value_of

    found = find(spec, loader)
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if not text.strip() or not name.strip().isidentifier():
            raise click.UsageError(f"--set takes NAME=VALUE, found {setting!r}")
        parameters[name.strip()] = value_of(text, f"--set {name.strip()}", found.module)
    return Net(build(found, parameters=parameters, shapes=given_shapes(shapes), limits=given_limits()), found)


def given_shapes(shapes: tuple[str, ...]) -> dict[str, tuple[int | None, ...]]:
    """What `--shape` asks for, by the name of the input ("" for the only one)."""
    from netdsl.elaborate import shape_of

    replaced: dict[str, tuple[int | None, ...]] = {}
    for given in shapes:
        name, _, text = given.rpartition("=")
        replaced[name.strip()] = shape_of(text.strip(), "--shape")
    return replaced


def given_limits() -> Any:
    """What `--limit` asks for, as `netdsl.Limits`."""
    from netdsl.elaborate import Limits

    context = click.get_current_context(silent=True)
    return Limits(**(context.meta.get(_LIMITS, {}) if context is not None else {}))
