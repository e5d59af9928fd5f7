"""`netdsl explain`"""

from __future__ import annotations

import json
import re

import click

from netdsl.cli.options import load_net, spec_options

_CODE = re.compile(r"[EeWw]\d{4}")


@click.command("explain")
@click.argument("subject", metavar="SPEC|CODE")
@click.argument("name", required=False)
@spec_options
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(subject: str, name: str | None, settings: tuple[str, ...], shapes: tuple[str, ...], form: str) -> None:
    """Show the arithmetic of one layer with its numbers, or the story of an error code.

    \b
    netdsl explain resnet50 conv1
    netdsl explain E0301
    """
    if name is None:
        if not _CODE.fullmatch(subject):
            raise click.UsageError(f"which layer of {subject}? `netdsl summary {subject}` lists them")
        _story(subject.upper(), form)
        return
    from netdsl.analysis.board import explain_layer
    from netdsl.analysis.names import help_with
    from netdsl.language.diagnostics import CodedError

    net = load_net(subject, settings, shapes)
    try:
        node = net.network.resolve(name)
    except KeyError:
        message = f"{net.name} has no layer called `{name}`"
        raise CodedError("E0211", message, help_with(name, net.network)) from None
    if name in net.network.tensors:
        click.echo(f"{name} is a scope; this is {node}, which makes its last tensor\n", err=True)
    board = explain_layer(net.network, node)
    click.echo(json.dumps(board.json(), indent=2) if form == "json" else str(board))


def _story(code: str, form: str) -> None:
    from netdsl.language.codes import CODES
    from netdsl.language.diagnostics import did_you_mean

    if code not in CODES:
        raise click.UsageError(f"there is no error code {code}. {did_you_mean(code, CODES) or ''}".rstrip())
    story = CODES[code]
    if form == "json":
        fields = {"code": code, "title": story.title, "story": story.story}
        click.echo(json.dumps(fields | {"example": story.example, "mended": story.mended}, indent=2))
        return
    click.echo(f"{click.style(code, bold=True)}: {story.title}\n\n{story.story.strip()}")
    for heading, text in (("For example", story.example), ("Mended", story.mended)):
        if text:
            click.echo(f"\n{heading}:\n")
            click.echo("\n".join(f"    {line}".rstrip() for line in text.strip("\n").split("\n")))
