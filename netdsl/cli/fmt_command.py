"""`netdsl fmt`"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click


@click.command("fmt")
@click.argument("paths", nargs=-1, required=True, metavar="SPEC...")
@click.option("--check", is_flag=True, help="Change nothing; exit status 1 where a file is not formatted.")
@click.option("--diff", is_flag=True, help="Change nothing; show what would change.")
def command(paths: tuple[str, ...], check: bool, diff: bool) -> int:
    """Format specs: files, folders (every .net file below), or - for standard input to standard output."""
    from netdsl.atomic import replacing
    from netdsl.elaborate.modules import read
    from netdsl.language.formatter import format_source
    from netdsl.language.source import Source

    changed = 0
    files = 0
    for path in _files(paths):
        files += 1
        source = Source(sys.stdin.read(), "-") if path is None else read(path)
        text = format_source(source)
        before = source.text if path is None else path.read_bytes().decode("utf-8")
        if path is None and not (check or diff):
            click.echo(text, nl=False)
            continue
        if text == before:
            continue
        changed += 1
        shown = str(path or "-")
        if diff:
            lines = difflib.unified_diff(
                before.splitlines(keepends=True), text.splitlines(keepends=True), shown, f"{shown} (formatted)"
            )
            click.echo("".join(lines), nl=False)
        elif check:
            click.echo(f"would format {shown}")
        elif path is not None:
            with replacing(path) as temporary:
                temporary.write_bytes(text.encode("utf-8"))
            click.echo(f"formatted {shown}")
    if not diff and not (paths == ("-",) and not check):
        click.echo(
            f"{files - changed} of {files} files are formatted" if check else f"{changed} of {files} files changed"
        )
    return 1 if changed and (check or diff) else 0


def _files(paths: tuple[str, ...]) -> list[Path | None]:
    files: list[Path | None] = []
    for text in paths:
        path = Path(text)
        if text == "-":
            files.append(None)
        elif path.is_dir():
            files += sorted(path.rglob("*.net"))
        else:
            files.append(path)
    return files
