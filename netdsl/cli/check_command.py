"""`netdsl check`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netdsl.cli.options import spec_options

if TYPE_CHECKING:
    from netdsl.elaborate import LoadedModule
    from netdsl.language.diagnostics import Diagnostic


@click.command("check")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@spec_options
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
def command(specs: tuple[str, ...], settings: tuple[str, ...], shapes: tuple[str, ...], form: str) -> int:
    """Check specs: syntax, names, attributes, shapes and expectations.

    A path without @name checks every network and variant of the file. Exit status 1 where anything is wrong.
    """
    from netdsl.language.diagnostics import render, to_json, to_sarif

    found: list[Diagnostic] = []
    checked = 0
    for spec in specs:
        count, diagnostics = _check(spec, settings, shapes)
        checked += count
        found += [diagnostic for diagnostic in diagnostics if diagnostic not in found]
    errors = sum(diagnostic.severity == "error" for diagnostic in found)
    if form == "json":
        click.echo(json.dumps({"ok": not errors, "networks": checked, "diagnostics": to_json(found)}, indent=2))
    elif form == "sarif":
        from netdsl import __version__
        from netdsl.language.codes import CODES

        click.echo(json.dumps(to_sarif(found, {code: CODES[code].title for code in CODES}, __version__), indent=2))
    elif found:
        from netdsl.cli.main import painted

        click.echo(painted(render(found)), err=True)
        if errors:
            click.echo(f"\n{errors} error{'s' * (errors != 1)}", err=True)
    if form == "text" and not errors:
        click.echo(f"{checked} network{'s' * (checked != 1)} checked, no errors")
    return 1 if errors else 0


def _check(spec: str, settings: tuple[str, ...], shapes: tuple[str, ...]) -> tuple[int, list[Diagnostic]]:
    """How many networks were checked, and what is wrong."""
    from netdsl.cli.options import load_net
    from netdsl.elaborate import Loader, index
    from netdsl.language.diagnostics import CodedError, SpecError
    from netdsl.train.find import check_recipes

    targets = [spec]
    found: list[Diagnostic] = []
    try:
        if spec not in index() and "@" not in spec and Path(spec).exists():
            module = Loader().file(Path(spec))
            found = check_recipes(module)
            if module.declarations and not settings and not shapes:
                targets = [f"{spec}@{name}" for name in _buildable(module)]
        for target in targets:
            try:
                load_net(target, settings, shapes)
            except SpecError as error:
                # What several variants share is reported once.
                places = {_place(diagnostic) for diagnostic in found}
                found += [diagnostic for diagnostic in error.diagnostics if _place(diagnostic) not in places]
    except SpecError as error:
        found += error.diagnostics
    except CodedError as error:
        found.append(error.diagnostic)
    return len(targets), found


def _place(diagnostic: Diagnostic) -> tuple[object, ...]:
    span = diagnostic.span
    return (diagnostic.code, span and (span.source.name, span.start))


def _buildable(module: LoadedModule) -> list[str]:
    """Every network that can be built from a file: each one with defaults for all its parameters, and each variant."""
    names: list[str] = []
    for network in module.networks().values():
        if all(parameter.default is not None for parameter in network.parameters or ()) or not network.variants():
            names.append(network.name)
        names += [variant.name for variant in network.variants() if variant.name != network.name]
    return names
