"""netdsl in a notebook: `%load_ext netdsl.notebook`, and then cells that are specs.

    %%net
    network tiny(classes = 10) {
      input image: 1x28x28
      conv(8, 5x5) -> relu -> max_pool(2x2)
      flatten -> dense(classes)
    }

Such a cell shows the network, its diagram and its table, and binds it to its name: `tiny.parameters` works in the next
one. What is wrong with it is shown at its line. Nothing of IPython is imported: it calls `load_ipython_extension` with
itself.
"""

from __future__ import annotations

import keyword
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import click

from netdsl.api import Net
from netdsl.elaborate import Loader, build, choose, shape_of, value_of
from netdsl.language.diagnostics import NetdslError
from netdsl.language.source import Source


class Shell(Protocol):
    """What is needed of IPython's InteractiveShell."""

    user_ns: dict[str, Any]

    def register_magic_function(
        self, func: Callable[..., Any], magic_kind: str = "line", magic_name: str | None = None
    ) -> None: ...


@click.command("%%net", add_help_option=False)
@click.argument("name", required=False)
@click.option("--as", "variable", metavar="VARIABLE", help="Bind the network to this, in place of its name.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Bind a parameter of the network.")
@click.option("--shape", "shapes", multiple=True, metavar="[NAME=]SHAPE", help="Replace the shape of the input.")
@click.option("--quiet", is_flag=True, help="Show nothing.")
def options(**given: Any) -> dict[str, Any]:
    """Compile the cell. NAME chooses one of several networks or variants in it."""
    return given


def load_ipython_extension(shell: Shell) -> None:
    """Registers `%%net`; IPython calls it for `%load_ext netdsl.notebook`."""

    def net(line: str, cell: str) -> Net | None:
        return run_cell(line, cell, shell.user_ns)

    net.__doc__ = options.get_help(click.Context(options, info_name="%%net"))
    shell.register_magic_function(net, magic_kind="cell", magic_name="net")


def run_cell(line: str, cell: str, names: dict[str, Any]) -> Net | None:
    """Compiles a cell and binds its network in `names`. Returns what is to be shown; None where something is wrong,
    which is said on the standard error."""
    try:
        given = options.main(shlex.split(line), prog_name="%%net", standalone_mode=False)
        found = choose(Loader().source(Source(cell, "<cell>"), Path.cwd()), given["name"])
        parameters = {}
        for setting in given["settings"]:
            name, sign, text = setting.partition("=")
            if not sign or not name.strip().isidentifier():
                raise click.UsageError(f"--set takes NAME=VALUE, found {setting!r}")
            parameters[name.strip()] = value_of(text, f"--set {name.strip()}", found.module)
        shapes = {}
        for shape in given["shapes"]:
            name, _, text = shape.rpartition("=")
            shapes[name.strip()] = shape_of(text.strip(), "--shape")
        net = Net(build(found, parameters=parameters, shapes=shapes), found)
        names[_variable(given["variable"] or net.name)] = net
    except click.ClickException as error:
        print(f"%%net: {error.format_message()}", file=sys.stderr)
        return None
    except (NetdslError, ValueError) as error:
        print(error, file=sys.stderr)
        return None
    return None if given["quiet"] else net


def _variable(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise click.UsageError(f"{name!r} is no name of a variable; --as VARIABLE gives one")
    return name
