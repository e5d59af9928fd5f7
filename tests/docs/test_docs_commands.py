"""Every command in the documentation runs and prints what the documentation shows."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from pages import ROOT, of

PAGES = sorted({block.page for block in of("console")})


class Command(NamedTuple):
    place: str
    text: str
    shown: list[str]
    """The lines of output that the page shows."""


def commands(page: str) -> list[Command]:
    found: list[Command] = []
    for block in of("console"):
        if block.page != page:
            continue
        for number, line in enumerate(block.text.splitlines(), start=1):
            if line.startswith("$ "):
                found.append(Command(f"{page}:{block.line + number}", line.removeprefix("$ "), []))
            elif line.startswith("> ") and not found[-1].shown:
                found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line.removeprefix('> ')}")
            else:
                assert found, f"{block.name}: a console block begins with a command, `$ ...`"
                found[-1].shown.append(line.rstrip())
    return found


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One where `netdsl` and `python` are those that run this test."""
    scripts = tmp_path_factory.mktemp("bin")
    for name, call in (("netdsl", "-m netdsl"), ("python", "")):
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {call} "$@"\n', encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return kept | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def pattern(shown: list[str]) -> re.Pattern[str]:
    """What is shown, where `...` stands for any text and a line of nothing but `...` for any lines."""
    parts = [".*" if line == "..." else re.escape(line).replace(re.escape("..."), "[^\n]*") for line in shown]
    return re.compile("\n".join(parts), re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str, folder: Path, environment: dict[str, str]) -> None:
    for command in commands(page):
        if command.text.startswith("make "):
            # It would run this test. The targets are there, and .ci/run calls them.
            run = subprocess.run(
                ["make", "-n", *command.text.split()[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60
            )
            assert run.returncode == 0, f"{command.place}: {run.stderr}"
            continue
        run = subprocess.run(
            ["bash", "-c", command.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        printed = "\n".join(line.rstrip() for line in (run.stdout + run.stderr).splitlines())
        refused = any(line.startswith("error[") for line in command.shown)
        assert (run.returncode != 0) == refused, f"{command.place}: exit status {run.returncode}\n{printed}"
        shown = "\n".join(command.shown)
        matches = pattern(command.shown).search(printed)
        assert matches, f"{command.place}: this is shown\n{shown}\n\nand this is printed\n{printed}"


def test_the_readme_shows_the_two_commands() -> None:
    texts = [command.text for command in commands("README.md")]
    assert {"make demo", "make test"} <= set(texts)
