"""The `netdsl` command. Each command is a file of this folder, imported when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from netdsl import __version__

COMMANDS = {
    "list": "Show the library of networks.",
    "check": "Check specs and report everything that is wrong with them.",
    "summary": "Show the layers of a network with their shapes and costs.",
    "explain": "Show the arithmetic of one layer, or the story of an error code.",
    "draw": "Draw the architecture into a file (svg, png, pdf, html, dot).",
    "diff": "Show what differs between two networks.",
    "view": "Explore a network in the browser, drawn anew as its spec is saved.",
    "run": "Run a network on images or arrays.",
    "train": "Train a network by a recipe.",
    "augment": "Draw what the augmentation of a recipe makes of an image.",
    "evaluate": "Evaluate a network on images with labels.",
    "features": "Write the activations of a layer for every image of a dataset.",
    "plot": "Draw loss and accuracy of training runs.",
    "compile": "Show the steps that a network becomes, and where each tensor lies in memory.",
    "plan": "Show how much memory of a device a network takes, and the largest batch that fits.",
    "bench": "Time a network on the back-ends, and against other engines.",
    "export": "Write a network with its weights as an ONNX model.",
    "weights": "Look into files of weights, convert them, hold them against a network.",
    "fmt": "Format specs.",
    "cache": "Show or clear the machine code that is kept on disk.",
}


class Commands(click.Group):
    """Imports a command when it is needed, so that `--help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"netdsl.cli.{cmd_name}_command"), "command")  # noqa: B009
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from netdsl.language.diagnostics import did_you_mean

            help = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"{error.message} {help or ''}".rstrip(), ctx) from None


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="SPEC is a path, path@name for one network or variant in it, or a name from the library.",
)
@click.version_option(__version__, prog_name="netdsl")
def cli() -> None:
    """netdsl: one page of text becomes a checked network, exact counts, a diagram and an answer."""


def main() -> NoReturn:
    """Runs the command. Exit status: 0 well, 1 bad input, 2 bad usage, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    from netdsl.language.diagnostics import NetdslError

    try:
        status = cli.main(arguments, prog_name="netdsl", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except NetdslError as error:
        click.echo(painted(str(error)), err=True)
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "netdsl"):
            raise
        click.echo(painted(f"error: this needs the package {package}: pip install {package}"), err=True)
        return 1
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain once more while closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def painted(text: str) -> str:
    """Diagnostics with colour; click drops it where the output is no terminal."""
    lines = []
    for line in text.split("\n"):
        if line.startswith(("error[", "error:")):
            line = click.style(line, fg="red", bold=True)
        elif line.startswith("warning["):
            line = click.style(line, fg="yellow", bold=True)
        elif line.lstrip().startswith("= help:"):
            line = click.style(line, fg="cyan")
        lines.append(line)
    return "\n".join(lines)
